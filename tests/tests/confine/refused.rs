//! The attempts, in processes that are held by the agent's own code.

use std::{
    env, fs,
    os::linux::net::SocketAddrExt as _,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::{SocketAddr as UnixAddress, UnixListener},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::libc;
use weir::{
    app::Places,
    config::Config,
    confine::{self, Confinement, Reach},
    datapath::Pins,
};
use weir_tests::process::text;

use crate::attempts::{ALL, Attempt, End, Layer, Scene};

/// Names the attempt, the directory of the scene, and the process of somebody else.
const ATTEMPT: &str = "WEIR_TEST_ATTEMPT";
const DIRECTORY: &str = "WEIR_TEST_DIRECTORY";
const OTHER: &str = "WEIR_TEST_OTHER";
/// Set where nothing holds the process.
const FREE: &str = "WEIR_TEST_FREE";
const HELD: &str = "held: ";
const ERROR: &str = "errno: ";

#[test]
fn what_should_be_refused_is() {
    let directory = tempfile::tempdir().unwrap();
    let name = socket_of(directory.path());
    let _listener = UnixListener::bind_addr(&UnixAddress::from_abstract_name(name).unwrap()).unwrap();
    let (mut tried, mut missing) = (0, Vec::new());
    for attempt in ALL {
        let Attempt { name, layer, end, harmless, .. } = attempt;
        if *harmless {
            set_the_scene(directory.path());
            let output = try_it(name, directory.path(), true);
            assert!(output.status.success(), "{name} does not work for who is free: {}", text(&output));
        }
        set_the_scene(directory.path());
        let output = try_it(name, directory.path(), false);
        let text = text(&output);
        let held = text.lines().find_map(|line| line.strip_prefix(HELD));
        let held: Confinement =
            serde_json::from_str(held.unwrap_or_else(|| panic!("{name}: {text}"))).unwrap();
        if let Some(why) = lacks(&held, *layer) {
            missing.push(format!("{name}: {why}"));
            continue;
        }
        tried += 1;
        let want = match end {
            End::Killed => {
                assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{name}: {text}");
                continue;
            }
            End::Fails(errno) => format!("{ERROR}{errno}"),
        };
        assert!(text.lines().any(|line| line == want), "{name}: wanted {want}, {}: {text}", output.status);
    }
    println!("{tried} attempts were refused");
    for missing in missing {
        println!("NOT RUN: {missing}");
    }
}

/// Returns why this kernel cannot refuse it.
fn lacks(held: &Confinement, layer: Layer) -> Option<String> {
    let (name, since) = match layer {
        Layer::Capabilities => ("capabilities", 0),
        Layer::Seccomp => ("seccomp", 0),
        Layer::Landlock(since) => ("landlock", since),
    };
    let held = held.layers.iter().find(|held| held.layer == name).unwrap();
    if !held.applied {
        assert_eq!(name, "landlock", "{held:?}");
        return Some(held.detail.clone());
    }
    let version = || held.detail.split_once("version ")?.1.split(':').next()?.parse::<u32>().ok();
    let old = since > 1 && version().unwrap() < since;
    old.then(|| format!("Landlock {}, and it takes {since}", version().unwrap()))
}

fn socket_of(directory: &Path) -> &str {
    directory.file_name().unwrap().to_str().unwrap()
}

/// Makes all files as if nobody had tried anything.
fn set_the_scene(directory: &Path) {
    let (outside, inside) = (directory.join("outside"), directory.join("inside"));
    for directory in [&outside, &inside] {
        if directory.exists() {
            fs::remove_dir_all(directory).unwrap();
        }
    }
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(inside.join("state")).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::write(inside.join("state/own"), "own").unwrap();
    // Root has to pass over the permissions of this one.
    let foreign = inside.join("state/foreign");
    fs::write(&foreign, "").unwrap();
    chown(&foreign, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Has a process of its own try it: this program, with the one test that is not for others.
fn try_it(name: &str, directory: &Path, free: bool) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "refused::one_attempt", "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env(ATTEMPT, name).env(DIRECTORY, directory).env(OTHER, std::process::id().to_string());
    if free {
        command.env(FREE, "1");
    }
    command.output().unwrap()
}

#[test]
#[ignore = "what_should_be_refused_is runs it, in processes that it holds"]
fn one_attempt() {
    let variable = |name| env::var(name).unwrap();
    let (name, directory) = (variable(ATTEMPT), PathBuf::from(variable(DIRECTORY)));
    let attempt = ALL.iter().find(|attempt| attempt.name == name).unwrap();
    let inside = directory.join("inside");
    if env::var_os(FREE).is_none() {
        let places = Places {
            config: inside.join("weir.yaml"),
            pins: Pins::new(&inside.join("bpffs")),
            state: inside.join("state"),
            socket: Some(inside.join("run/weir.sock")),
            policy_key: None,
            watch: false,
        };
        let config = Config::parse(&places.config, "interfaces: [{name: eth0}]").unwrap();
        confine::begin();
        let held = confine::confine(&mut Reach::new(&places, &config));
        println!("\n{HELD}{}", serde_json::to_string(&held).unwrap());
    }
    let scene = Scene {
        outside: &directory.join("outside"),
        state: &inside.join("state"),
        socket: socket_of(&directory),
        other: variable(OTHER).parse().unwrap(),
    };
    if let Err(error) = (attempt.act)(&scene) {
        println!("\n{ERROR}{}", error.raw_os_error().unwrap_or(0));
        std::process::exit(1);
    }
    std::process::exit(0);
}
