//! The whole agent in a namespace: what it says of its feeds, and what packets become of them.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
    patience,
    process::text,
    wire,
};

/// What the list of a test names.
pub(crate) const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// What another list names.
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// What no list names.
pub(crate) const CLEAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// How long the agent may take to notice something.
const PATIENCE_SECONDS: u64 = 20;
/// Packets of each source, see [`deliver`].
pub(crate) const PACKETS: usize = 10;

/// Returns a configuration with these feeds, one a line.
pub(crate) fn config(feeds: &[&str]) -> String {
    format!(
        "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/tcp]}}]
feeds:
  - {}
listen: {{metrics: 127.0.0.1:9646}}
tables: {{limiter: 8MiB}}
",
        feeds.join("\n  - ")
    )
}

/// Returns an agent that does not run yet.
pub(crate) fn agent(pair: &Pair) -> Agent {
    Agent::new(binary().unwrap(), &pair.server).unwrap()
}

/// Returns an agent that runs with these feeds.
pub(crate) fn started(pair: &Pair, feeds: &[&str]) -> Agent {
    let mut agent = agent(pair);
    agent.configure(&config(feeds)).unwrap();
    agent.start().unwrap();
    agent
}

/// Returns a sum of a metric.
pub(crate) fn value(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> usize {
    agent.metrics().unwrap().count(name, labels).try_into().unwrap()
}

/// Returns how many entries of a feed are in force.
pub(crate) fn entries(agent: &Agent, feed: &str) -> usize {
    value(agent, "weir_feed_entries", &[("feed", feed)])
}

/// Returns whether the newest list of a feed is not in force.
pub(crate) fn held(agent: &Agent, feed: &str) -> bool {
    value(agent, "weir_feed_held", &[("feed", feed)]) > 0
}

/// Returns whether the list of a feed has lapsed.
pub(crate) fn expired(agent: &Agent, feed: &str) -> bool {
    value(agent, "weir_feed_expired", &[("feed", feed)]) > 0
}

/// Waits until something is done.
pub(crate) fn wait(agent: &Agent, what: &str, mut done: impl FnMut(&Agent) -> bool) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while !done(agent) {
        assert!(Instant::now() < deadline, "never: {what}; the log:\n{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Has a feed read now, and returns what is said of it.
pub(crate) fn refresh(agent: &Agent, feed: &str) -> String {
    said(agent, &["feeds", "refresh", feed, "-o", "json"])
}

/// Returns all that a command says.
pub(crate) fn said(agent: &Agent, command: &[&str]) -> String {
    text(&agent.weir(command).unwrap())
}

/// Sends [`PACKETS`] from each source, and returns how many arrive.
pub(crate) fn deliver(pair: &Pair, sources: &[Ipv4Addr]) -> Vec<usize> {
    wire::deliver(pair, sources, 53, PACKETS).unwrap()
}
