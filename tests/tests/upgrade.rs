//! Upgrades under constant traffic: agents, modes, versions and tables come and go, and the receiver
//! counts that not a packet was unfiltered.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weir_common::ABI_VERSION;
use weir_tests::{
    agent::{Agent, binary},
    frame::Frame,
    namespace::Pair,
    traffic::{Flow, Traffic},
    vitals,
    wire::Wire,
};

const PER_SECOND: u32 = 2000;
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(300);

/// A pair with these interfaces under a bridge, and an agent that protects them, not yet started.
fn set_up(interfaces: &[(&str, &str)]) -> (Pair, Agent) {
    let pair = Pair::new().unwrap();
    for (name, _) in interfaces.iter().filter(|(name, _)| *name != Pair::INTERFACE) {
        pair.add_cable(name, 1).unwrap();
    }
    pair.bridge(&names(interfaces)).unwrap();
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{}\n", Traffic::LISTED)).unwrap();
    configure(&agent, interfaces);
    (pair, agent)
}

fn names<'n>(interfaces: &[(&'n str, &str)]) -> Vec<&'n str> {
    interfaces.iter().map(|(name, _)| *name).collect()
}

fn configure(agent: &Agent, interfaces: &[(&str, &str)]) {
    let list: Vec<_> =
        interfaces.iter().map(|(name, mode)| format!("{{name: {name}, mode: {mode}}}")).collect();
    agent
        .configure(&format!(
            "enforce: enforce
interfaces: [{interfaces}]
services: [{{name: https, ports: [443/udp]}}]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop, guards: {{growth: 1000000}}}}]
limits: [{{name: per-source, service: https, packets: {{rate: 1/s, burst: 600}}}}]
listen: {{metrics: 127.0.0.1:9646}}
tables: {{limiter: 8MiB}}
",
            interfaces = list.join(", "),
            directory = agent.directory().display(),
        ))
        .unwrap();
}

/// Waits until a metric is `wanted`.
fn wait_for(agent: &Agent, metric: &str, labels: &[(&str, &str)], wanted: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = agent.metrics().unwrap().sum(metric, labels);
        if wanted(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{metric} {labels:?} is {value}\n{}", agent.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_mode(agent: &Agent, interface: &str, mode: &str) {
    wait_for(agent, "weir_interface_attached", &[("interface", interface), ("mode", mode)], |value| {
        value > 0.5
    });
}

/// Checks that every listed packet was counted as dropped, on its interface and once.
fn check_counters(agent: &Agent, interfaces: &[&str], flows: &[Flow]) {
    let metrics = agent.metrics().unwrap();
    for (interface, flow) in interfaces.iter().zip(flows) {
        let dropped = metrics.sum("weir_packets_total", &[("interface", interface), ("reason", "feed")]);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let sent = flow.sent as f64;
        assert!((dropped - sent).abs() < 0.5, "{interface}: {dropped} of {sent} counted");
    }
}

#[test]
fn agents_come_and_go_in_native_generic_and_tcx() {
    let interfaces = [("eth0", "native"), ("eth1", "generic"), ("eth2", "tcx")];
    let (pair, mut agent) = set_up(&interfaces);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &names(&interfaces), PER_SECOND).unwrap();
    thread::sleep(PAUSE);
    agent.kill().unwrap();
    thread::sleep(PAUSE);
    agent.start().unwrap();
    assert!(agent.stop().unwrap().success());
    agent.start().unwrap();
    agent.kill().unwrap();
    agent.start().unwrap();
    let flows = traffic.stop_without_a_gap().unwrap();
    println!("kill, start, stop, start, kill, start: {flows:?}");
    check_counters(&agent, &names(&interfaces), &flows);
}

#[test]
fn modes_change_over_tcx_without_a_gap() {
    let (pair, mut agent) = set_up(&[("eth0", "native")]);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0"], 2 * PER_SECOND).unwrap();
    for mode in ["generic", "tcx", "native", "tcx", "generic", "native"] {
        configure(&agent, &[("eth0", mode)]);
        agent.signal(Signal::SIGHUP).unwrap();
        wait_for_mode(&agent, "eth0", mode);
        thread::sleep(PAUSE / 2);
    }
    let flows = traffic.stop_without_a_gap().unwrap();
    println!("six changes of mode: {flows:?}");
}

#[test]
fn a_mode_that_is_refused_leaves_the_one_before_with_tcx_between() {
    let pair = Pair::new().unwrap();
    // The client sends on four queues and the server receives on one, so native is refused.
    pair.add_cable("eth1", 4).unwrap();
    pair.bridge(&["eth0", "eth1"]).unwrap();
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{}\n", Traffic::LISTED)).unwrap();
    configure(&agent, &[("eth0", "native"), ("eth1", "generic")]);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0", "eth1"], PER_SECOND).unwrap();
    configure(&agent, &[("eth0", "generic"), ("eth1", "native")]);
    agent.signal(Signal::SIGHUP).unwrap();
    wait_for(&agent, "weir_config_reloads_total", &[("result", "refused")], |value| value > 0.5);
    thread::sleep(PAUSE);
    println!("generic to native refused: {:?}", traffic.stop_without_a_gap().unwrap());
    let status = agent.weir(&["status"]).unwrap();
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains("eth0 (native)") && status.contains("eth1 (generic)"), "{status}");
    let left = pair
        .server
        .run(|| Ok(Path::new("/sys/fs/bpf/weir").join(version(ABI_VERSION)).join("bridge").exists()));
    assert!(!left.unwrap() && agent.log().contains("native: too few queues"), "{}", agent.log());
}

#[test]
fn interfaces_are_added_and_removed_without_a_gap_elsewhere() {
    let (pair, mut agent) = set_up(&[("eth0", "auto"), ("eth1", "auto")]);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    for _ in 0..3 {
        configure(&agent, &[("eth0", "auto")]);
        agent.signal(Signal::SIGHUP).unwrap();
        wait_for(&agent, "weir_interface_attached", &[("interface", "eth1")], |value| value < 0.5);
        let link = pair
            .server
            .run(|| Ok(Path::new("/sys/fs/bpf/weir").join(version(ABI_VERSION)).join("links/eth1").exists()));
        assert!(!link.unwrap(), "a link is left on an interface that is not configured");
        configure(&agent, &[("eth0", "auto"), ("eth1", "auto")]);
        agent.signal(Signal::SIGHUP).unwrap();
        wait_for_mode(&agent, "eth1", "native");
    }
    println!("eth1 three times out and in: {:?}", traffic.stop_without_a_gap().unwrap());
}

fn version(number: u32) -> String {
    format!("v{number}")
}

/// Makes the pins of this version look like those of another: its links live, its maps are of no use.
fn rename_pins(pair: &Pair, number: u32) -> PathBuf {
    let all = Path::new("/sys/fs/bpf/weir");
    let other = all.join(version(number));
    pair.server.run(|| Ok(fs::rename(all.join(version(ABI_VERSION)), &other)?)).unwrap();
    other
}

#[test]
fn another_version_is_taken_over_in_native_generic_and_tcx() {
    let interfaces = [("eth0", "native"), ("eth1", "generic"), ("eth2", "tcx")];
    // An upgrade, and going back to an older version.
    for number in [0, 4_000_000] {
        let (pair, mut agent) = set_up(&interfaces);
        agent.start().unwrap();
        let traffic = Traffic::start(&pair, &names(&interfaces), PER_SECOND).unwrap();
        assert!(agent.stop().unwrap().success());
        let other = rename_pins(&pair, number);
        thread::sleep(PAUSE);
        agent.start().unwrap();
        thread::sleep(PAUSE);
        let flows = traffic.stop_without_a_gap().unwrap();
        println!("version {number} taken over: {flows:?}");
        assert!(!pair.server.run(|| Ok(other.exists())).unwrap(), "pins of another version are left");
        let log = agent.log();
        assert_eq!(log.matches("taken over from another version").count(), 3, "{log}");
        for (interface, mode) in interfaces {
            wait_for_mode(&agent, interface, mode);
        }
    }
}

/// Wherever a start is cut off, the pins are whole, and the next agent goes on from there.
#[test]
fn agents_that_die_while_they_start_leave_no_gap_in_native_generic_and_tcx() {
    let interfaces = [("eth0", "native"), ("eth1", "generic"), ("eth2", "tcx")];
    let (pair, mut agent) = set_up(&interfaces);
    agent.start().unwrap();
    agent.stop().unwrap();
    let traffic = Traffic::start(&pair, &names(&interfaces), PER_SECOND).unwrap();
    for (turn, delay) in [2, 20, 50, 80, 120, 160, 200, 250, 300, 400].into_iter().enumerate() {
        if turn % 2 == 1 {
            // Pins of this version may be there as well, half taken over.
            let other = Path::new("/sys/fs/bpf/weir").join(version(0));
            if !pair.server.run(|| Ok(other.exists())).unwrap() {
                rename_pins(&pair, 0);
            }
        }
        agent.spawn().unwrap();
        thread::sleep(Duration::from_millis(delay));
        agent.kill().unwrap();
    }
    agent.start().unwrap();
    let flows = traffic.stop_without_a_gap().unwrap();
    println!("ten starts cut off: {flows:?}");
    let left = pair.server.run(|| Ok(fs::read_dir("/sys/fs/bpf/weir")?.count())).unwrap();
    assert_eq!(left, 1, "pins of another version are left");
    for (interface, mode) in interfaces {
        wait_for_mode(&agent, interface, mode);
    }
}

#[test]
fn an_agent_of_another_version_keeps_others_out() {
    let (pair, mut first) = set_up(&[("eth0", "auto")]);
    first.start().unwrap();
    rename_pins(&pair, 0);
    let status = first.weir(&["status"]).unwrap();
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains("another version (v0) is loaded and enforces"), "{status}");
    let output = first.weir(&["run"]).unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("another weir agent"), "{message}");
}

#[test]
fn unload_removes_other_versions_too() {
    let (pair, mut agent) = set_up(&[("eth0", "native"), ("eth1", "generic")]);
    agent.start().unwrap();
    agent.stop().unwrap();
    rename_pins(&pair, 0);
    assert!(agent.weir(&["unload"]).unwrap().status.success());
    let left = pair.server.run(|| Ok(Path::new("/sys/fs/bpf/weir").exists())).unwrap();
    assert!(!left, "pins are left");
    let traffic = Traffic::start(&pair, &["eth0", "eth1"], PER_SECOND).unwrap();
    thread::sleep(PAUSE);
    for flow in traffic.stop().unwrap() {
        assert_eq!((flow.listed, flow.clean), (flow.sent, flow.sent), "still attached");
    }
}

/// The listed source, and `count` others.
fn list_of(count: u32) -> String {
    let mut list = format!("{}\n", Traffic::LISTED);
    // Spread over 11.0.0.0 to 126.255.255.255, no two adjacent, so that nothing is merged.
    for n in 0..count {
        let address = 0x0b00_0000 + n * 2 * (966_367_641 / count.max(1));
        _ = writeln!(list, "{}", std::net::Ipv4Addr::from(address));
    }
    list
}

/// Uses up the burst of a source.
fn spend(pair: &Pair) {
    let wire = pair.client.run(|| Wire::open("eth0")).unwrap();
    let frame = Frame::new().ipv4(DEBTOR, Pair::SERVER.v4).udp(4000, 443).build();
    for _ in 0..600 {
        wire.send(&frame).unwrap();
    }
}

const DEBTOR: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 2, 99);

/// Returns what the debtor has used of its burst.
fn debt(agent: &Agent) -> f64 {
    let output = agent.weir(&["explain", &DEBTOR.to_string()]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let used = text.split("https: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    used.unwrap_or_else(|| unreachable!("no limit in: {text}"))
}

#[test]
fn tables_grow_under_native_generic_and_tcx() {
    let interfaces = [("eth0", "native"), ("eth1", "generic"), ("eth2", "tcx")];
    let (pair, mut agent) = set_up(&interfaces);
    agent.write("bad.netset", list_of(100_000)).unwrap();
    agent.start().unwrap();
    spend(&pair);
    assert!(debt(&agent) > 550.0);
    let traffic = Traffic::start(&pair, &names(&interfaces), PER_SECOND).unwrap();
    let capacity = agent.metrics().unwrap().sum("weir_table_capacity", &[("table", "ipv4")]);
    assert!(capacity < 3e6, "{capacity}");
    agent.write("bad.netset", list_of(3_000_000)).unwrap();
    let started = Instant::now();
    wait_for(&agent, "weir_table_entries", &[("table", "ipv4")], |entries| entries > 2.9e6);
    let grown = started.elapsed();
    // And once more, by an agent that adopts the maps that have grown.
    agent.kill().unwrap();
    agent.start().unwrap();
    let flows = traffic.stop_without_a_gap().unwrap();
    println!("100,000 to 3,000,001 entries in {grown:?}: {flows:?}; debt {}", debt(&agent));
    assert!(agent.metrics().unwrap().sum("weir_table_capacity", &[("table", "ipv4")]) >= 6e6);
    check_counters(&agent, &names(&interfaces), &flows);
    // At one a second some of it has been earned back since.
    assert!(debt(&agent) > 400.0, "the debt was forgotten: {}", debt(&agent));
    assert!(agent.log().contains("the tables have grown"), "{}", agent.log());
    assert_eq!(agent.log().matches("adopted=true").count(), 1, "{}", agent.log());
}

/// Entries of a long list come and go; the listed source and the clean one are judged as ever.
#[test]
fn lists_change_in_part_without_a_gap() {
    const CHANGES: u8 = 8;
    let (pair, mut agent) = set_up(&[("eth0", "native")]);
    let list = list_of(200_000);
    agent.write("bad.netset", &list).unwrap();
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    let judged = |agent: &Agent, address: std::net::Ipv4Addr| {
        let output = agent.weir(&["explain", &address.to_string()]).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for change in 1..=CHANGES {
        // Beside the listed source and the clean one as well: in their /24s.
        let new = |of: u8| std::net::Ipv4Addr::new(of, 51, 100, 8 + change);
        let beside = format!("{}\n192.0.2.{}\n{}\n", new(198), 100 + change, new(203));
        agent.write("bad.netset", format!("{beside}{list}")).unwrap();
        wait_for(&agent, "weir_table_entries", &[("table", "ipv4")], |entries| entries > 200_003.5);
        let deadline = Instant::now() + PATIENCE;
        while agent.log().matches("policy in force").count() <= usize::from(change) {
            assert!(Instant::now() < deadline, "{}", agent.log());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(judged(&agent, new(198)).contains("drop"), "{}", judged(&agent, new(198)));
        if change > 1 {
            let before = std::net::Ipv4Addr::new(198, 51, 100, 7 + change);
            assert!(!judged(&agent, before).contains("drop"), "{}", judged(&agent, before));
        }
    }
    println!("{CHANGES} changes: {:?}", traffic.stop_without_a_gap().unwrap());
    // The first writes a generation of which the agent knows nothing.
    assert_eq!(
        agent.log().matches("written=\"change\"").count(),
        usize::from(CHANGES) - 1,
        "{}",
        agent.log()
    );
}

#[test]
fn tables_that_cannot_grow_leave_the_policy_in_force() {
    let (pair, mut agent) = set_up(&[("eth0", "auto")]);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    // Every second /25: 40,000 lines that take 5.1 million places.
    let wide: String = (0..40_000u32).fold(String::new(), |mut list, n| {
        _ = writeln!(list, "{}/25", std::net::Ipv4Addr::from(n << 8));
        list
    });
    let id = agent.id().unwrap();
    vitals::limit_address_space(id, Some(vitals::address_space(id).unwrap() + (184 << 20))).unwrap();
    agent.write("bad.netset", wide).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !agent.log().contains("larger tables cannot be had") {
        assert!(Instant::now() < deadline, "{}", agent.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(agent.log().contains("Cannot allocate memory"), "{}", agent.log());
    thread::sleep(PAUSE);
    println!("refused to grow: {:?}", traffic.stop_without_a_gap().unwrap());
    let staged = pair
        .server
        .run(|| Ok(Path::new("/sys/fs/bpf/weir").join(version(ABI_VERSION)).join("maps-new").exists()));
    assert!(!staged.unwrap(), "new maps are left behind");
}
