//! The agent as a process: from a list to dropped packets, and to what status, explain and the
//! metrics page say of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
    patience, wire,
};

const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CLEAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// How long the agent may take to notice something.
const PATIENCE_SECONDS: u64 = 10;

fn config(agent: &Agent, enforce: &str, mode: &str, allow: &str) -> String {
    format!(
        "enforce: {enforce}
interfaces: [{{name: eth0, mode: {mode}}}]
services: [{{name: https, ports: [443/tcp, 443/udp]}}]
allow: [{allow}]
balancers: [192.0.2.99]
feeds: [{{name: bad, path: {}/bad.netset, format: plain, action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 10/s, burst: 20}}}}]
listen: {{metrics: 127.0.0.1:9646}}
tables: {{limiter: 8MiB}}
",
        agent.directory().display()
    )
}

fn started(pair: &Pair, enforce: &str, mode: &str) -> Agent {
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("# a list\n{LISTED}/32\n2001:db8:bad::/48\n")).unwrap();
    agent.configure(&config(&agent, enforce, mode, "")).unwrap();
    agent.start().unwrap();
    agent
}

/// Sends `packets` frames from each source and returns how many of each arrived behind XDP.
fn deliver<const N: usize>(pair: &Pair, sources: [Ipv4Addr; N], port: u16, packets: usize) -> [usize; N] {
    wire::deliver(pair, &sources, port, packets).unwrap().try_into().unwrap()
}

/// Waits until `explain` gives this verdict for the address.
fn wait_for_verdict(agent: &Agent, address: Ipv4Addr, verdict: &str) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    loop {
        let output = agent.weir(&["explain", &address.to_string(), "-o", "json"]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if text.contains(&format!("\"verdict\": \"{verdict}\"")) {
            return;
        }
        assert!(Instant::now() < deadline, "{address} is not {verdict}: {text}\n{}", agent.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn from_list_to_metric(mode: &str) {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "enforce", mode);
    assert_eq!(deliver(&pair, [LISTED, OTHER, CLEAN], 53, 50), [0, 50, 50]);
    let metrics = agent.metrics().unwrap();
    let count = |labels: &[(&str, &str)]| metrics.sum("weir_packets_total", labels);
    let listed = count(&[("interface", "eth0"), ("verdict", "drop"), ("reason", "feed"), ("family", "ipv4")]);
    assert!((listed - 50.0).abs() < 0.5, "{listed} counted as dropped");
    assert!(count(&[("interface", "eth0"), ("verdict", "pass"), ("reason", "clean")]) >= 100.0);
    assert!(
        (metrics.sum("weir_feed_packets_total", &[("feed", "bad"), ("verdict", "drop")]) - 50.0).abs() < 0.5
    );
    assert!(
        (metrics.sum("weir_interface_attached", &[("interface", "eth0"), ("mode", mode)]) - 1.0).abs() < 0.1
    );

    // Added to the list: blocked. Removed: passes again. Noticed without a signal.
    agent.write("bad.netset", format!("{OTHER}\n")).unwrap();
    wait_for_verdict(&agent, OTHER, "drop");
    assert_eq!(deliver(&pair, [LISTED, OTHER, CLEAN], 53, 50), [50, 0, 50]);

    // Allowed at SIGHUP: passes, though listed.
    agent.configure(&config(&agent, "enforce", mode, "203.0.113.0/24")).unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait_for_verdict(&agent, OTHER, "pass");
    assert_eq!(deliver(&pair, [OTHER], 53, 50), [50]);

    // Over the limit: only what the burst allows, and what is earned meanwhile.
    let start = Instant::now();
    let [admitted] = deliver(&pair, [CLEAN], 443, 500);
    let most = 20 + 1 + usize::try_from(start.elapsed().as_millis()).unwrap() / 100;
    assert!((20..=most).contains(&admitted), "{admitted} of a burst of 20 at 10/s, at most {most}");

    assert!(agent.stop().unwrap().success());
    assert!(agent.weir(&["unload"]).unwrap().status.success());
    let left = pair
        .server
        .run(|| Ok(std::fs::read_dir("/sys/fs/bpf")?.flatten().map(|e| e.path()).collect::<Vec<_>>()));
    assert!(left.unwrap().iter().all(|path| !path.ends_with("weir")), "pins are left");
    assert_eq!(deliver(&pair, [LISTED, OTHER], 53, 10), [10, 10]);
}

#[test]
fn from_list_to_metric_native() {
    from_list_to_metric("native");
}

#[test]
fn from_list_to_metric_generic() {
    from_list_to_metric("generic");
}

#[test]
fn shadow_drops_nothing_and_counts() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "shadow", "auto");
    assert_eq!(deliver(&pair, [LISTED], 443, 100), [100]);
    let metrics = agent.metrics().unwrap();
    let would = metrics.sum("weir_packets_total", &[("verdict", "would_drop"), ("reason", "feed")]);
    assert!((would - 100.0).abs() < 0.5, "{would}");
    assert!(metrics.sum("weir_packets_total", &[("verdict", "drop")]).abs() < 0.5);
}

#[test]
fn a_bad_list_changes_nothing() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "enforce", "auto");
    let html = "<html><body>503 Service Unavailable</body></html>\n".repeat(20);
    for bad in ["", "# only a comment\n", &html] {
        agent.write("bad.netset", bad).unwrap();
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        while agent.metrics().unwrap().sum("weir_feed_held", &[("feed", "bad")]) < 0.5 {
            assert!(Instant::now() < deadline, "not held: {bad:?}\n{}", agent.log());
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(deliver(&pair, [LISTED], 53, 20), [0]);
        agent.write("bad.netset", format!("{LISTED}\n")).unwrap();
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        while agent.metrics().unwrap().sum("weir_feed_held", &[("feed", "bad")]) > 0.5 {
            assert!(Instant::now() < deadline, "still held\n{}", agent.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
    // Gone altogether.
    std::fs::remove_file(agent.directory().join("bad.netset")).unwrap();
    thread::sleep(Duration::from_millis(400));
    assert_eq!(deliver(&pair, [LISTED], 53, 20), [0]);
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "enforce", "auto");
    let good = config(&agent, "enforce", "auto", "");
    let bad = [
        ("enforce: maybe\n", good.replacen("enforce: enforce", "enforce: maybe", 1), "weir.yaml:1:"),
        ("unknown key", format!("{good}colour: red\n"), "colour"),
        ("service", good.replace("service: https", "service: htps"), "`htps` is not a declared service"),
        ("prefix", good.replace("allow: []", "allow: [192.0.2.1/24]"), "write 192.0.2.0/24"),
        ("rate", good.replace("10/s", "10/fortnight"), "limits[0].packets.rate"),
    ];
    for (name, text, want) in bad {
        agent.configure(&text).unwrap();
        let output = agent.weir(&["check"]).unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{name}: {message}");
        assert!(message.contains(want) && message.contains("weir.yaml:"), "{name}: {message}");
        let output = agent.weir(&["run"]).unwrap();
        assert_eq!(output.status.code(), Some(64), "{name}: run");
    }
    agent.signal(Signal::SIGHUP).unwrap();
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while agent.metrics().unwrap().sum("weir_config_reloads_total", &[("result", "refused")]) < 0.5 {
        assert!(Instant::now() < deadline, "{}", agent.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(deliver(&pair, [LISTED, OTHER], 53, 20), [0, 20]);
}

#[test]
fn status_and_check_speak_json() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "enforce", "auto");
    for (arguments, want) in [
        (&["status", "-o", "json"][..], "\"loaded\": true"),
        (&["check", "-o", "json"], "\"ok\": true"),
        (&["explain", "2001:db8:bad::1", "-o", "json"], "\"verdict\": \"drop\""),
        (&["status"], "enforce"),
        (&["explain", "198.51.100.7"], "feed bad"),
        (&["explain", "192.0.2.99"], "balancer; of what it tunnels the inner source is judged"),
        (&["unload", "-o", "json"], "\"was_loaded\": true"),
        (&["status", "-o", "json"], "\"loaded\": false"),
    ] {
        let output = agent.weir(arguments).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(want), "{arguments:?}: {text}");
    }
    // Detached under the agent: it says so.
    assert_eq!(agent.get("/readyz").unwrap().0, 503);
    assert_eq!(agent.get("/healthz").unwrap().0, 200);
}

#[test]
fn the_kernel_is_told_with_what_it_lacks() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "enforce", "auto");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.trim();
    let numbers: Vec<u32> = release.split(['.', '-']).map_while(|number| number.parse().ok()).collect();
    let status = String::from_utf8(agent.weir(&["status"]).unwrap().stdout).unwrap();
    for told in [&status, &agent.log()] {
        assert!(told.contains(release), "{release}: {told}");
        assert_eq!(told.contains("no TCX (Linux 6.6)"), numbers[..2] < [6, 6][..], "{release}: {told}");
    }
}
