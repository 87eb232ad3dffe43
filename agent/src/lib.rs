//! weir's agent: from configuration and feeds to what the kernel enforces, and back to what people
//! and Prometheus see of it.
//!
//! Modules are listed in the order in which data flows:
//!
//! ```text
//! config ─┐
//! host ───┤
//! feed ───┴► policy: merge ► compile ─► datapath: publish ═► kernel ═► counters, events ─► telemetry
//!                                            └► record ─► status, explain
//! ```

/// SHA-256 of a text.
pub mod digest;
/// What the operator wants: one YAML file, validated into types.
pub mod config;
/// What the lists say: one parser a format, and the guards in front of it.
pub mod feed;
/// What this host needs to be reached and to work.
pub mod host;
/// From configuration and lists to classes and prefixes, and from those to table lines. Pure.
pub mod policy;
/// The only door to the kernel.
pub mod datapath;
/// What is enforced, in words: class and limit names behind the kernel's numbers.
pub mod record;
/// Bans and manual rules, in words and beyond a reboot.
pub mod rules;
/// Every configuration that was in force, numbered, signed if need be.
pub mod versions;
/// Addresses as logs, audit and events have them, or names for them.
pub mod naming;
/// The record of what was changed, by whom.
pub mod audit;
/// Unix sockets: made, and given back.
mod unix;
/// The control API: HTTP and JSON on a Unix socket.
pub mod api;
/// What becomes of a request. Pure.
pub mod decision;
/// Decisions for the companion proxies, each in its own protocol.
pub mod proxy;
/// Offences of sources, and what they lead to.
pub mod escalate;
/// Sampled packets: the last of them, and whoever watches.
pub mod events;
/// Who is told of what happens.
pub mod notify;
/// What the agent may do, and what it gives up.
pub mod confine;
/// The agent as a whole: builds the parts, and runs them until it is told to stop.
pub mod app;
/// Logs and metrics.
pub mod telemetry;
/// What is attached and counted.
pub mod status;
/// Why an address gets what it gets.
pub mod explain;
/// What limits hold, and who owes them.
pub mod limits;
/// What goes on now, at a glance.
pub mod top;
/// A policy over plain memory: what it would do, without a kernel.
pub mod offline;
/// Captures: pcap and pcapng, packet by packet.
pub mod capture;
/// What a policy would have done to recorded traffic.
pub mod replay;
/// The control API from the other end.
mod client;
/// The command line.
pub mod cli;
/// Tables for people, JSON for programs.
pub mod output;
/// What is fuzzed: every parser of what comes from outside.
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
