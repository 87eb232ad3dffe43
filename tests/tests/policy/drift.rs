use std::path::Path;

use weir::datapath::{Pins, memory::Mapped};
use weir_common::{
    ABI_VERSION, control,
    line::{Memory as _, WORDS},
    map::Map,
};

use super::*;

/// How long it may take until a change is found; a round over the tables takes half a minute.
const ROUND: u64 = 60;

fn bpftool(pair: &Pair, arguments: &str) {
    let status = pair.server.command("bpftool").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "bpftool {arguments}");
}

fn memory(pair: &Pair) -> Mapped {
    pair.server.run(|| Ok(Mapped::open(&Pins::new(Path::new("/sys/fs/bpf")))?)).unwrap()
}

fn drift(agent: &Agent, map: &str) -> u64 {
    agent.metrics().unwrap().count("weir_drift_total", &[("map", map)])
}

fn mended(pair: &Pair, agent: &Agent, map: &str) {
    wait_until(agent, ROUND, map, || drift(agent, map) > 0);
    // Counted first: a table is written anew a moment later.
    wait_until(agent, 10, map, || deliver(pair, [LISTED, OTHER]) == [0, 10]);
    assert!(drift(agent, map) <= 2, "{}", agent.log());
    // Told without an address, and to whoever is to be told.
    let log = agent.log();
    assert!(log.contains("behind the agent's back") && !log.contains("198.51.100"), "{log}");
    assert_eq!(agent.metrics().unwrap().count("weir_alerts", &[("kind", "drift")]), 1);
}

#[test]
fn a_class_that_bpftool_changes_is_mended() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 10]);
    let generation = control::generation(&memory(&pair));
    let line = generation * weir_common::map::CLASS_LINES;
    let [low, high, ..] = line.to_le_bytes();
    let nothing = vec!["0"; 64].join(" ");
    let map = format!("/sys/fs/bpf/weir/v{ABI_VERSION}/maps/CLASSES");
    bpftool(&pair, &format!("map update pinned {map} key {low} {high} 0 0 value {nothing}"));
    mended(&pair, &agent, "CLASSES");
}

#[test]
fn a_table_that_was_wiped_is_written_again() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    // Written tables are known a moment later.
    thread::sleep(Duration::from_secs(4));
    let memory = memory(&pair);
    for index in 0.. {
        let Some(line) = memory.line(Map::V4Lines, index) else { break };
        line.store([0; WORDS]);
    }
    mended(&pair, &agent, "V4_LINES");
}

#[test]
fn settings_are_put_back() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let memory = memory(&pair);
    // Shadow mode, and a generation in which there is nothing.
    for generation in 0..2 {
        let policy = control::Policy::load(&memory, generation).unwrap();
        control::Policy { shadow: true, ..policy }.store(&memory, generation);
    }
    control::publish(memory.line(Map::Control, 0).unwrap(), 1 - control::generation(&memory));
    mended(&pair, &agent, "CONTROL");
}

#[test]
fn rules_are_put_back() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    weir(&agent, &["ban", "203.0.113.9"]);
    let banned = Ipv4Addr::new(203, 0, 113, 9);
    assert_eq!(deliver(&pair, [banned]), [0]);
    let memory = memory(&pair);
    for index in 0.. {
        let Some(line) = memory.line(Map::Overlay, index) else { break };
        line.store([0; WORDS]);
    }
    mended(&pair, &agent, "OVERLAY");
    assert_eq!(deliver(&pair, [banned]), [0]);
    let before = drift(&agent, "OVERLAY");
    // The lengths alone, without which no packet looks for a rule.
    memory.line(Map::Overlay, 0).unwrap().store([0; WORDS]);
    wait_until(&agent, ROUND, "lengths", || drift(&agent, "OVERLAY") > before);
    assert_eq!(deliver(&pair, [banned]), [0]);
}

#[test]
fn a_link_that_was_detached_is_attached_again() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    bpftool(&pair, &format!("link detach pinned /sys/fs/bpf/weir/v{ABI_VERSION}/links/eth0"));
    mended(&pair, &agent, "link");
}

#[test]
fn changes_of_the_agent_are_none() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    for round in 0..8 {
        agent.write("bad.netset", format!("{LISTED}\n192.0.2.{round}\n")).unwrap();
        weir(&agent, &["ban", &format!("203.0.113.{}", 100 + round), "--for", "2s"]);
        if round % 2 == 0 {
            agent.signal(nix::sys::signal::Signal::SIGHUP).unwrap();
        }
        thread::sleep(Duration::from_secs(1));
    }
    thread::sleep(Duration::from_secs(8));
    let metrics = agent.metrics().unwrap();
    assert_eq!(metrics.count("weir_drift_total", &[]), 0, "{}", agent.log());
    assert_eq!(deliver(&pair, [LISTED, OTHER]), [0, 10]);
}
