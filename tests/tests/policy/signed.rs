use std::process::Command;

use nix::sys::signal::Signal;
use weir_tests::peers::{Program, missing};

use super::*;

/// Signs as an operator does, with minisign.
struct Signer<'p> {
    program: PathBuf,
    pair: &'p Pair,
    directory: PathBuf,
}

impl<'p> Signer<'p> {
    /// Makes a key; nothing where there is no minisign.
    fn new(pair: &'p Pair, agent: &Agent) -> Option<Self> {
        let program = Program::find("minisign")?;
        let signer = Self { program, pair, directory: agent.directory().to_owned() };
        signer.run(&["-G", "-W", "-p", "weir.pub", "-s", "weir.sec"]);
        Some(signer)
    }

    /// Signs a file of the agent's directory as of a time, in seconds since 1970.
    fn sign(&self, file: &str, time: u64) {
        self.run(&["-S", "-s", "weir.sec", "-m", file, "-t", &format!("timestamp:{time} file:{file}")]);
    }

    fn run(&self, arguments: &[&str]) {
        let mut command: Command = Program::command(&self.pair.server, &self.program, arguments);
        let output = command.current_dir(&self.directory).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn only_what_is_signed_is_put_in_force() {
    let pair = Pair::new().unwrap();
    let agent = agent(&pair);
    let Some(signer) = Signer::new(&pair, &agent) else {
        return missing("only_what_is_signed_is_put_in_force", "minisign");
    };
    let key = agent.directory().join("weir.pub").display().to_string();
    let mut agent = agent.with_variable("WEIR_POLICY_KEY", key);
    let said = refused(&agent, &["run"], 64);
    assert!(said.contains("is not signed") && said.contains("weir.yaml.minisig"), "{said}");
    signer.sign("weir.yaml", 1000);
    let (strict, lenient) = (config(&agent, ""), config(&agent, ALLOW));
    agent.configure(&lenient).unwrap();
    assert!(refused(&agent, &["run"], 64).contains("not valid"));
    agent.configure(&strict).unwrap();
    agent.start().unwrap();
    assert_eq!(history(&agent)[0]["signed"], 1000);

    let path = agent.write("new.yaml", &lenient).unwrap();
    let path = path.to_str().unwrap();
    assert!(refused(&agent, &["policy", "apply", path], 1).contains("is not signed"));
    signer.sign("new.yaml", 999);
    assert!(refused(&agent, &["policy", "apply", path], 1).contains("signed before"));
    signer.sign("new.yaml", 2000);
    weir(&agent, &["policy", "apply", path]);
    assert_eq!(deliver(&pair, [LISTED]), [10]);
    let signature = |name: &str| fs::read_to_string(agent.directory().join(name)).unwrap();
    assert_eq!(signature("weir.yaml.minisig"), signature("new.yaml.minisig"));

    // What was signed once is not put back by a reload.
    agent.write("old.yaml", &strict).unwrap();
    signer.sign("old.yaml", 1000);
    fs::copy(agent.directory().join("old.yaml.minisig"), agent.directory().join("weir.yaml.minisig"))
        .unwrap();
    agent.configure(&strict).unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait_until(&agent, 10, "a refusal", || agent.log().contains("signed before"));
    assert_eq!((deliver(&pair, [LISTED]), history(&agent).len()), ([10], 2));
    // A rollback says that it is meant, and a start takes what it has left.
    weir(&agent, &["policy", "rollback"]);
    assert_eq!(deliver(&pair, [LISTED]), [0]);
    agent.stop().unwrap();
    // Also where the signature beside the file is lost: the version has its own.
    fs::remove_file(agent.directory().join("weir.yaml.minisig")).unwrap();
    agent.start().unwrap();
    assert_eq!((deliver(&pair, [LISTED]), history(&agent).len()), ([0], 3));
}
