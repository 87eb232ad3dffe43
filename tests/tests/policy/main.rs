//! The life of a policy: versions, what puts one in force and back, who may, and who changes it behind
//! the agent's back.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// Applied, rolled back, refused, interrupted.
mod versions;
/// Signed, or not.
mod signed;
/// Changed behind the agent's back.
mod drift;

use std::{
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
    patience,
    process::text,
    wire,
};

const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);

/// A configuration that drops what is listed, and `more`.
fn config(agent: &Agent, more: &str) -> String {
    config_with(agent, "", more)
}

/// The same with `feeds`, each a line.
fn config_with(agent: &Agent, feeds: &str, more: &str) -> String {
    let directory = agent.directory().display();
    format!(
        "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/udp]}}]
feeds:
  - {{name: bad, path: {directory}/bad.netset, action: drop}}
{feeds}limits: [{{name: per-source, service: https, packets: {{rate: 1000/s, burst: 2000}}}}]
tables: {{limiter: 8MiB}}
{more}"
    )
}

/// What lets the listed source pass.
const ALLOW: &str = "allow: [198.51.100.0/24]\n";

fn agent(pair: &Pair) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{LISTED}\n")).unwrap();
    agent.configure(&config(&agent, "")).unwrap();
    agent
}

fn started(pair: &Pair) -> Agent {
    let mut agent = agent(pair);
    agent.start().unwrap();
    agent
}

/// Sends ten frames from each source and returns how many of each arrived behind XDP.
fn deliver<const N: usize>(pair: &Pair, sources: [Ipv4Addr; N]) -> [usize; N] {
    wire::deliver(pair, &sources, 53, 10).unwrap().try_into().unwrap()
}

/// Runs a command that must succeed, and returns what it prints.
fn weir(agent: &Agent, arguments: &[&str]) -> String {
    agent.done(arguments).unwrap()
}

/// Runs a command that must end with this code, and returns what it prints.
fn refused(agent: &Agent, arguments: &[&str], code: i32) -> String {
    let output = agent.weir(arguments).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
    text(&output)
}

/// Returns all versions, the newest first.
fn history(agent: &Agent) -> Vec<Value> {
    let said: Value = serde_json::from_str(&weir(agent, &["policy", "history", "-o", "json"])).unwrap();
    said["policies"].as_array().unwrap().clone()
}

fn config_path(agent: &Agent) -> PathBuf {
    agent.directory().join("weir.yaml")
}

fn configured(agent: &Agent) -> String {
    fs::read_to_string(config_path(agent)).unwrap()
}

fn wait_until(agent: &Agent, seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience::seconds(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}\n{}", agent.log());
        thread::sleep(Duration::from_millis(20));
    }
}
