//! What survives: enforcement under kill, restart and stop; foreign programs; the one agent.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use weir_tests::{
    agent::{Agent, binary},
    frame::{Frame, Sight},
    namespace::Pair,
    patience,
    process::text,
    wire::{Receiver, Wire},
};

const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const CLEAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

fn agent(pair: &Pair) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{LISTED}\n")).unwrap();
    configure(&agent, "enforce", "eth0", 9646);
    agent
}

fn configure(agent: &Agent, enforce: &str, interface: &str, port: u16) {
    let directory = agent.directory().display();
    agent
        .configure(&format!(
            "enforce: {enforce}
interfaces: [{{name: {interface}}}]
services: [{{name: https, ports: [443/udp]}}]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 1/s, burst: 600}}}}]
listen: {{metrics: 127.0.0.1:{port}}}
tables: {{limiter: 8MiB}}
"
        ))
        .unwrap();
}

#[test]
fn not_a_packet_gets_through_while_agents_come_and_go() {
    const PER_SECOND: u32 = 4000;
    const SECONDS: u64 = 6;
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    agent.start().unwrap();
    let receiver =
        pair.server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source))).unwrap();
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let traffic = thread::spawn(move || {
        let frame = |source| Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, 53).build();
        wire.send_paced(&[frame(LISTED), frame(CLEAN)], PER_SECOND, Duration::from_secs(SECONDS)).unwrap()
    });
    thread::sleep(Duration::from_millis(300));
    agent.kill().unwrap();
    thread::sleep(Duration::from_millis(300));
    agent.start().unwrap();
    assert!(agent.stop().unwrap().success());
    thread::sleep(Duration::from_millis(300));
    agent.start().unwrap();
    agent.kill().unwrap();
    agent.start().unwrap();
    let sent = u32::try_from(traffic.join().unwrap().packets).unwrap();
    let arrivals = receiver.stop().unwrap();
    assert_eq!(arrivals.packets(&IpAddr::V4(LISTED)), 0, "listed packets got through");
    assert_eq!(arrivals.packets(&IpAddr::V4(CLEAN)), sent as usize / 2, "clean packets were lost");
    // Counters outlive agents too: nothing was forgotten, nothing counted twice.
    let dropped = agent.metrics().unwrap().sum("weir_packets_total", &[("reason", "feed")]);
    assert!((dropped - f64::from(sent / 2)).abs() < 0.5, "{dropped} of {} counted", sent / 2);
}

#[test]
fn debts_outlive_agents() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    agent.start().unwrap();
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let frame = Frame::new().ipv4(CLEAN, Pair::SERVER.v4).udp(4000, 443).build();
    let start = Instant::now();
    for _ in 0..600 {
        wire.send(&frame).unwrap();
    }
    agent.kill().unwrap();
    agent.start().unwrap();
    let receiver =
        pair.server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source))).unwrap();
    for _ in 0..200 {
        wire.send(&frame).unwrap();
    }
    let admitted = receiver.stop().unwrap().packets(&IpAddr::V4(CLEAN));
    // At one a second, a few have been earned back since.
    let earned = 1 + usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(admitted <= earned, "{admitted} packets admitted, {earned} earned: the debt was forgotten");
    let output = agent.weir(&["explain", &CLEAN.to_string()]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let used: f64 = text.split("https: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let earned = start.elapsed().as_secs_f64() + 1.0;
    assert!((600.0 - earned..=600.5).contains(&used), "{earned} earned, {text}");
}

#[test]
fn a_second_agent_is_refused() {
    let pair = Pair::new().unwrap();
    let mut first = agent(&pair);
    first.start().unwrap();
    let second = Agent::new(binary().unwrap(), &pair.server)
        .unwrap()
        .listening_on(SocketAddr::from(([127, 0, 0, 1], 9647)));
    second.write("bad.netset", "203.0.113.1\n").unwrap();
    configure(&second, "enforce", "eth0", 9647);
    let output = second.weir(&["run"]).unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("another weir agent"), "{message}");
    assert_eq!(first.get("/readyz").unwrap().0, 200);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let pair = Pair::new().unwrap();
    let agent = agent(&pair);
    configure(&agent, "enforce", "eth7", 9646);
    let output = agent.weir(&["run"]).unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("attach eth7: no such interface"), "{message}");
}

#[test]
fn an_agent_that_was_unloaded_says_so_wherever_it_is_asked() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    agent.start().unwrap();
    assert!(agent.done(&["unload"]).unwrap().contains("the agent still runs, without enforcing"));
    let (status, said) = agent.get("/readyz").unwrap();
    assert!(status == 503 && said.contains("unloaded"), "{status} {said}");
    let config = agent.directory().join("weir.yaml").display().to_string();
    for command in [&["ban", "203.0.113.1"][..], &["policy", "apply", &config]] {
        let output = agent.weir(command).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", text(&output));
        assert!(text(&output).contains("nothing is enforced until weir is restarted"), "{}", text(&output));
    }
    assert!(agent.done(&["status"]).unwrap().contains("unloaded: nothing is enforced; the agent still runs"));
    let status: Value = serde_json::from_str(&agent.done(&["status", "-o", "json"]).unwrap()).unwrap();
    assert_eq!((&status["loaded"], &status["agent"]), (&false.into(), &true.into()));
    let deadline = Instant::now() + patience::seconds(10);
    let sum = |name: &str| agent.metrics().unwrap().sum(name, &[]);
    while sum("weir_enforcing") + sum("weir_interface_attached") > 0.5 {
        assert!(Instant::now() < deadline, "metrics say that it enforces");
        thread::sleep(Duration::from_millis(50));
    }
    agent.signal(Signal::SIGHUP).unwrap();
    while !agent.log().contains("weir was unloaded") {
        assert!(Instant::now() < deadline, "{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
    agent.stop().unwrap();
    agent.start().unwrap();
    assert_eq!(agent.get("/readyz").unwrap().0, 200);
}
