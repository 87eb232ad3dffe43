//! What people ask on the command line, with and without an agent: explain, limits, events, top.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// `weir explain`.
mod explain;
/// `weir limits`.
mod limits;
/// `weir events`.
mod events;
/// `weir top`.
mod top;
/// Names instead of addresses.
mod pseudonyms;
/// `weir schema`, `completions`, `man`, and how commands end.
mod pages;
/// A terminal.
mod terminal;

use std::{net::Ipv4Addr, time::Duration};

use serde_json::Value;
use weir_tests::{
    agent::{Agent, binary},
    frame::Frame,
    namespace::Pair,
    process::text,
    wire::Wire,
};

const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const BANNED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const CLEAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// Returns an agent that runs, with a list, and a limit of one a second and bursts of 20.
fn started(pair: &Pair, more: &str) -> Agent {
    let mut agent = prepared(pair, more);
    agent.start().unwrap();
    agent
}

/// Returns the same before it is started.
fn prepared(pair: &Pair, more: &str) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{LISTED}\n")).unwrap();
    let directory = agent.directory().display();
    agent
        .configure(&format!(
            "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/udp]}}]
allow: [172.16.5.0/24]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop, category: scanner, ttl: 7d}}]
limits:
  - {{name: per-source, service: https, packets: {{rate: 1/s, burst: 20}}, soft: 50%}}
  - {{name: per-net, service: https, packets: {{rate: 1/s, burst: 1000}}, ipv4_prefix: 24, enforce: shadow}}
tables: {{limiter: 8MiB}}
{more}"
        ))
        .unwrap();
    agent
}

fn frame(source: Ipv4Addr, port: u16) -> Vec<u8> {
    Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, port).build()
}

fn send(pair: &Pair, source: Ipv4Addr, port: u16, packets: usize) {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let frame = frame(source, port);
    for _ in 0..packets {
        wire.send(&frame).unwrap();
    }
}

/// Sends `per_second` frames from each source for a time.
fn send_paced(pair: &Pair, sources: &[Ipv4Addr], per_second: u32, lasts: Duration) {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let frames: Vec<_> = sources.iter().map(|source| frame(*source, 443)).collect();
    let all = per_second * u32::try_from(frames.len()).unwrap();
    wire.send_paced(&frames, all, lasts).unwrap();
}

/// Runs a command that must succeed, and returns what it prints.
fn weir(agent: &Agent, arguments: &[&str]) -> String {
    let output = agent.weir(arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output), agent.log());
    String::from_utf8(output.stdout).unwrap()
}

fn json(agent: &Agent, arguments: &[&str]) -> Value {
    serde_json::from_str(&weir(agent, &[arguments, &["-o", "json"]].concat())).unwrap()
}

/// Checks that a text has all of these.
#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    for want in wanted {
        assert!(text.contains(want), "no `{want}` in:\n{text}");
    }
}
