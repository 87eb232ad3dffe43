//! The whole agent, held: every thread of it, and everything that it does later.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
    patience,
};

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (include/uapi/linux/capability.h).
const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;
const WAIT_SECONDS: u64 = 30;

fn agent(pair: &Pair) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", "198.51.100.7\n").unwrap();
    agent
}

/// A configuration that protects these interfaces, with lists in these files, and `more`.
fn configure(agent: &Agent, interfaces: &str, lists: &[PathBuf], more: &str) {
    let feeds = lists.iter().enumerate().map(|(i, path)| {
        let guards = "guards: {growth: 1000000}";
        format!("{{name: list-{i}, path: {}, action: drop, {guards}}}", path.display())
    });
    let feeds = feeds.collect::<Vec<_>>().join(", ");
    agent
        .configure(&format!(
            "enforce: enforce\ninterfaces: [{interfaces}]\nfeeds: [{feeds}]\ntables: {{limiter: 8MiB}}\n{more}"
        ))
        .unwrap();
}

fn wait_until(agent: &Agent, what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + patience::seconds(WAIT_SECONDS);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}\n{}", agent.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn metric(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> f64 {
    agent.metrics().unwrap().sum(name, labels)
}

/// Returns for each thread what the kernel says of it.
fn threads(id: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    // One may end meanwhile.
    tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).collect()
}

fn check_threads(agent: &mut Agent) {
    let threads = threads(agent.id().unwrap());
    assert!(threads.len() > 3, "{} threads", threads.len());
    for status in &threads {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        };
        let set = |name| u64::from_str_radix(&field(name), 16).unwrap();
        assert_eq!((set("CapPrm"), set("CapEff")), (KEPT, KEPT), "{status}");
        assert_eq!((set("CapInh"), set("CapBnd"), set("CapAmb")), (0, 0, 0), "{status}");
        // 2: a filter.
        assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"), "{status}");
    }
}

#[test]
fn every_thread_is_held_and_enforcement_goes_on() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    let list = agent.directory().join("bad.netset");
    configure(&agent, "{name: eth0}, {name: eth1}", std::slice::from_ref(&list), "");
    pair.add_cable("eth1", 1).unwrap();
    agent.start().unwrap();
    check_threads(&mut agent);

    // Tables grow: new maps, and programs over them.
    let capacity = || metric(&agent, "weir_table_capacity", &[("table", "ipv4")]);
    let before = capacity();
    let grown: String = (0..1_500_000u32).fold(String::new(), |mut list, n| {
        _ = writeln!(list, "{}", Ipv4Addr::from(0x0b00_0000 + n * 3));
        list
    });
    agent.write("bad.netset", grown).unwrap();
    wait_until(&agent, "the tables have grown", || capacity() > before);

    // An interface goes, and another of its name comes.
    let attached = |value: f64| {
        let labels = [("interface", "eth1")];
        (metric(&agent, "weir_interface_attached", &labels) - value).abs() < 0.5
    };
    pair.server.ip("link del eth1").unwrap();
    wait_until(&agent, "eth1 is gone", || attached(0.0));
    pair.add_cable("eth1", 1).unwrap();
    wait_until(&agent, "eth1 is attached again", || attached(1.0));

    // A ban, which is written to the state directory, and a configuration, to its file.
    let output = agent.weir(&["ban", "203.0.113.7"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(agent.directory().join("state").join("rules.json").exists());
    let next = agent.directory().join("next.yaml");
    let text = fs::read_to_string(agent.directory().join("weir.yaml")).unwrap();
    fs::write(&next, format!("{text}allow: [192.0.2.1]\n")).unwrap();
    let output = agent.weir(&["policy", "apply", &next.display().to_string()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    agent.signal(Signal::SIGHUP).unwrap();
    wait_until(&agent, "it is reloaded", || metric(&agent, "weir_config_reloads_total", &[]) > 1.5);
    check_threads(&mut agent);
    let log = agent.log();
    assert!(!log.contains("ermission denied") && !log.contains("not permitted"), "{log}");
    assert!(agent.stop().unwrap().success());
    assert!(!agent.socket().exists(), "the socket is left behind");
}

#[test]
fn people_and_prometheus_see_what_holds() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    configure(&agent, "{name: eth0}", &[], "");
    agent.start().unwrap();
    let output = agent.weir(&["status", "-o", "json"]).unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let layers = status["confinement"]["layers"].as_array().unwrap();
    for layer in layers {
        let name = layer["layer"].as_str().unwrap();
        let applied = layer["applied"].as_bool().unwrap();
        let told = metric(&agent, "weir_confined", &[("layer", name)]) > 0.5;
        assert_eq!(applied, told, "{layer}");
        if applied {
            println!("{name}: {}", layer["detail"]);
        } else {
            println!("NOT RUN: {name}: {}", layer["detail"]);
            assert_eq!(name, "landlock", "{layer}");
            assert!(agent.log().contains("may do more than it needs"), "{}", agent.log());
        }
    }
    assert_eq!(layers.len(), 3, "{status}");
    let output = agent.weir(&["status"]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("confined     ") && text.contains("cap_bpf cap_net_admin cap_perfmon"), "{text}");
    agent.stop().unwrap();
    let output = agent.weir(&["status"]).unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("confined"), "there is no agent to be held");
}

#[test]
fn a_configuration_that_reads_elsewhere_waits_for_a_restart() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    let (list, elsewhere) = (agent.directory().join("bad.netset"), tempfile::tempdir().unwrap());
    let other = elsewhere.path().join("list");
    fs::write(&other, "203.0.113.0/24\n").unwrap();
    configure(&agent, "{name: eth0}", std::slice::from_ref(&list), "");
    agent.start().unwrap();
    let layers = agent.weir(&["status"]).unwrap();
    if String::from_utf8_lossy(&layers.stdout).contains("NOT by landlock") {
        return println!("NOT RUN: this kernel has no Landlock");
    }
    configure(&agent, "{name: eth0}", &[list, other], "");
    agent.signal(Signal::SIGHUP).unwrap();
    let refused = || metric(&agent, "weir_config_reloads_total", &[("result", "refused")]);
    wait_until(&agent, "it is refused", || refused() > 0.5);
    let log = agent.log();
    assert!(log.contains("feeds[1].path: ") && log.contains("restart weir"), "{log}");
    let entries = |agent: &Agent| metric(agent, "weir_table_entries", &[("table", "ipv4")]);
    let before = entries(&agent);
    agent.stop().unwrap();
    agent.start().unwrap();
    wait_until(&agent, "both lists are in force", || entries(&agent) > before + 0.5);
}

#[test]
fn the_one_program_is_run_by_a_process_of_its_own() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    let elsewhere = tempfile::tempdir().unwrap();
    let touched = elsewhere.path().join("touched");
    let d = agent.directory().display().to_string();
    let command = format!("[/bin/touch, {}]", touched.display());
    let more = format!("l7: {{push: {{nginx: {{file: {d}/weir.geo, reload_command: {command}}}}}}}\n");
    configure(&agent, "{name: eth0}", &[], &more);
    agent.start().unwrap();
    wait_until(&agent, "the program has run", || touched.exists());
    let id = agent.id().unwrap();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let child: u32 = children.trim().parse().unwrap();
    let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
    assert!(line.contains("reload-for-agent") && line.contains("/bin/touch"), "{line}");
    check_threads(&mut agent);
    // A ban is a reason to run it again.
    fs::remove_file(&touched).unwrap();
    assert!(agent.weir(&["ban", "203.0.113.7"]).unwrap().status.success());
    wait_until(&agent, "it has run again", || touched.exists());
    agent.kill().unwrap();
    // Whoever gets the orphan may let it lie, without a program.
    let ended = || fs::read_link(format!("/proc/{child}/exe")).is_err();
    wait_until(&agent, "it ends with the agent", ended);
}
