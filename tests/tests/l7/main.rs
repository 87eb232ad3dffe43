//! Decisions about requests, with the proxies and bouncers that are in the world.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// What bouncers of `CrowdSec` are told, and what its LAPI is.
mod lapi;
/// What is written for proxies that decide by themselves.
mod push;
/// An agent, and what is asked over HTTP.
mod stand;
