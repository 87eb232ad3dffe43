use std::os::unix::fs::PermissionsExt;

use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::Signal,
};
use weir_tests::{
    control::Control,
    namespace::Namespace,
    web::{Answer, Server},
};

use super::*;

fn number(version: &Value) -> u64 {
    version["number"].as_u64().unwrap()
}

#[test]
fn applied_and_rolled_back_at_once() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    let (strict, lenient) = (config(&agent, ""), config(&agent, ALLOW));
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 10]);
    assert_eq!(history(&agent)[0]["how"], "start");
    let new = agent.write("new.yaml", &lenient).unwrap();
    let new = new.to_str().unwrap();

    let said = weir(&agent, &["policy", "diff", new]);
    for want in ["+allow: [198.51.100.0/24]", "198.51.100.7/32  feed bad -> allow, feed bad", "drop  allow"] {
        assert!(said.contains(want), "no `{want}` in\n{said}");
    }
    refused(&agent, &["policy", "diff", "--exit-code", new], 2);
    assert!(weir(&agent, &["policy", "diff"]).contains("no difference"));
    let dry = weir(&agent, &["policy", "apply", "--dry-run", new]);
    assert!(dry.contains("would take it"), "{dry}");
    assert_eq!((deliver(&pair, [LISTED]), history(&agent).len()), ([0], 1));

    let said = weir(&agent, &["policy", "apply", new, "--note", "a customer"]);
    assert!(said.contains("version 2 ("), "{said}");
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [10, 10]);
    assert_eq!(configured(&agent), lenient);
    // The same again changes nothing.
    assert!(weir(&agent, &["policy", "apply", new]).contains("nothing has changed"));
    assert_eq!(history(&agent).len(), 2);
    assert_eq!(weir(&agent, &["policy", "show"]), lenient);
    assert_eq!(weir(&agent, &["policy", "show", "1"]), strict);
    assert!(weir(&agent, &["policy", "diff", "2", "1"]).contains("allow  drop"));

    assert!(weir(&agent, &["policy", "rollback", "--note", "no"]).contains("version 3"));
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 10]);
    assert_eq!(configured(&agent), strict);
    let versions = history(&agent);
    let [newest, applied, _] = &versions[..] else { panic!("{versions:?}") };
    assert_eq!(
        (&newest["how"], &newest["returns_to"], &newest["by"]),
        (&"rollback".into(), &1.into(), &"root".into())
    );
    assert_eq!((&applied["note"], &applied["uid"]), (&"a customer".into(), &0.into()));

    // A reload of the same text is no version, of another it is one.
    agent.signal(Signal::SIGHUP).unwrap();
    agent.configure(&lenient).unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait_until(&agent, 10, "a version", || history(&agent).len() == 4);
    assert_eq!(history(&agent)[0]["by"], "SIGHUP");
    assert_eq!(deliver(&pair, [LISTED]), [10]);
    assert!(weir(&agent, &["policy", "rollback", "1"]).contains("version 5"));
    assert_eq!(deliver(&pair, [LISTED]), [0]);
    agent.stop().unwrap();
    // What was in force can be read without an agent.
    assert!(weir(&agent, &["policy", "history"]).contains("rollback to 1"));
    agent.start().unwrap();
    assert_eq!((deliver(&pair, [LISTED]), history(&agent).len()), ([0], 5));
}

#[test]
fn what_is_refused_changes_nothing() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let before = configured(&agent);
    let same = |what: &str| {
        assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 10], "{what}");
        assert_eq!((configured(&agent), history(&agent).len()), (before.clone(), 1), "{what}");
    };
    let path = agent.write("new.yaml", config(&agent, "allow: [198.51.100.7/24]\n")).unwrap();
    let path = path.to_str().unwrap();
    let said = refused(&agent, &["policy", "apply", path], 64);
    assert!(said.contains(&format!("{path}:8:")) && said.contains("write 198.51.100.0/24"), "{said}");
    let output = agent.weir(&["policy", "apply", path, "-o", "json"]).unwrap();
    let problem: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &problem["problems"][0]["line"]), (Some(64), &8.into()), "{problem}");
    let mut control = Control::connect(&agent.socket()).unwrap();
    let (status, body) = control.request("POST", "/v1/policies", r#"{"text": "colour: red\n"}"#).unwrap();
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &problem["problems"][0]["line"]), (422, &1.into()), "{body}");
    assert_eq!(control.request("POST", "/v1/policies", r#"{"text": "", "colour": 1}"#).unwrap().0, 400);
    same("an invalid one");
    agent.write("new.yaml", config(&agent, "").replace("eth0", "eth7")).unwrap();
    for how in [&["policy", "apply", path][..], &["policy", "apply", "--dry-run", path]] {
        let said = refused(&agent, how, 1);
        assert!(said.contains("eth7: no such interface"), "{said}");
    }
    same("one that cannot be put in force");
    assert!(refused(&agent, &["policy", "rollback"], 1).contains("no version before"));
    assert!(refused(&agent, &["policy", "show", "9"], 1).contains("no version 9"));
    same("a version that is not there");

    // A file on which another is mounted cannot be replaced: that is known only when it is tried.
    let file = config_path(&agent);
    let bind = || Ok(mount(Some(&file), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?);
    pair.server.run(bind).unwrap();
    agent.write("new.yaml", config(&agent, ALLOW)).unwrap();
    let said = refused(&agent, &["policy", "apply", path], 1);
    assert!(said.contains("cannot be replaced") && said.contains("--until-restart"), "{said}");
    same("a file that cannot be replaced");
    let said = weir(&agent, &["policy", "apply", path, "--until-restart"]);
    assert!(said.contains("version 2") && said.contains("next start"), "{said}");
    assert_eq!((deliver(&pair, [LISTED]), configured(&agent)), ([10], before.clone()));
    pair.server.run(|| Ok(umount(&file)?)).unwrap();
}

#[test]
fn what_may_not_be_meant_so_is_told() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    assert!(weir(&agent, &["throttle", "203.0.113.9"]).contains("no limit has a slower pace"));
    let new = config(&agent, "allow: [0.0.0.0/0]\n").replace("bad.netset", "typo.netset");
    let path = agent.write("new.yaml", new).unwrap();
    let said = weir(&agent, &["policy", "apply", path.to_str().unwrap()]);
    for want in ["any source in 0.0.0.0/0", "feed bad: ", "typo.netset", "nothing of it is in force"] {
        assert!(said.contains(want), "no `{want}` in {said}");
    }
    weir(&agent, &["policy", "rollback"]);
    assert_eq!(deliver(&pair, [LISTED]), [0]);
}

#[test]
fn only_who_may_change_does() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let socket = agent.socket();
    for path in [agent.directory(), socket.parent().unwrap(), &socket] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let program = agent.directory().join("weir");
    fs::copy(binary().unwrap(), &program).unwrap();
    let nobody = || {
        let mut setpriv = Namespace::command(&pair.server, "setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
        setpriv
    };
    let mut apply = nobody();
    apply.arg("--socket").arg(&socket).args(["policy", "apply"]).arg(config_path(&agent));
    let state = agent.directory().join("state");
    fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    let mut history = nobody();
    history.arg("--state").arg(state).args(["policy", "history"]);
    for (mut command, why) in [(apply, "may read here, not change"), (history, "who reads versions is root")]
    {
        let output = command.output().unwrap();
        assert!(!output.status.success() && text(&output).contains(why), "{}", text(&output));
    }
}

#[test]
fn a_change_that_is_not_in_force_is_kept_aside() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let new = agent.write("new.yaml", config(&agent, ALLOW)).unwrap();
    let edited = format!("{}# edited\n", configured(&agent));
    agent.configure(&edited).unwrap();
    let said = weir(&agent, &["policy", "apply", new.to_str().unwrap()]);
    assert!(said.contains("weir.yaml.replaced"), "{said}");
    assert_eq!(fs::read_to_string(agent.directory().join("weir.yaml.replaced")).unwrap(), edited);
    // The configuration file itself can be applied as well.
    agent.configure(&edited).unwrap();
    let path = config_path(&agent);
    assert!(weir(&agent, &["policy", "apply", path.to_str().unwrap()]).contains("version 3"));
    assert_eq!((deliver(&pair, [LISTED]), configured(&agent)), ([0], edited));
}

#[test]
fn an_agent_that_is_killed_in_the_middle_leaves_one_or_the_other() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    let texts = [config(&agent, ""), config(&agent, ALLOW)];
    let files = [("strict.yaml", &texts[0]), ("lenient.yaml", &texts[1])]
        .map(|(name, text)| agent.write(name, text).unwrap());
    let mut seen = [0; 2];
    for round in 0..10 {
        let mut apply = agent.command(&["policy", "apply"]);
        let mut apply = apply.arg(&files[(round + 1) % 2]).spawn().unwrap();
        thread::sleep(Duration::from_millis(6 * u64::try_from(round).unwrap()));
        agent.kill().unwrap();
        let answered = apply.wait().unwrap().success();
        let text = configured(&agent);
        let which = texts.iter().position(|whole| *whole == text).expect("the file is one of them, whole");
        assert!(!answered || which == (round + 1) % 2, "it was answered and is lost");
        agent.start().unwrap();
        assert_eq!(deliver(&pair, [LISTED, OTHER]), [if which == 0 { 0 } else { 10 }, 10]);
        let newest = number(&history(&agent)[0]);
        assert_eq!(weir(&agent, &["policy", "show", &newest.to_string()]), text);
        seen[which] += 1;
    }
    println!("strict and lenient after a kill: {seen:?}");
}

#[test]
fn a_rollback_has_the_list_of_a_feed_whose_server_is_gone() {
    let pair = Pair::new().unwrap();
    let server = Server::start(Some(&pair.server)).unwrap();
    server.answer("/list", Answer::ok(format!("{OTHER}\n")));
    let mut agent = agent(&pair);
    let url = server.url("/list");
    let http = "http: {insecure: true, private: true}";
    let feed = format!("  - {{name: web, url: '{url}', action: drop, interval: 1h, {http}}}\n");
    let (file, both) = (config(&agent, ""), config_with(&agent, &feed, ""));
    agent.configure(&both).unwrap();
    agent.start().unwrap();
    wait_until(&agent, 20, "a list", || deliver(&pair, [LISTED, OTHER]) == [0, 0]);
    let without = agent.write("without.yaml", &file).unwrap();
    weir(&agent, &["policy", "apply", without.to_str().unwrap()]);
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 10]);
    drop(server);
    // Also by another agent.
    agent.stop().unwrap();
    agent.start().unwrap();
    weir(&agent, &["policy", "rollback"]);
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 0]);
}
