//! Feeds: from sources with faults to what is enforced.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// The client of all sources on the web.
mod http;
/// Keys and certificates that nobody else trusts.
mod tls;
/// The whole agent in a namespace.
mod stand;
/// The whole agent, whose sources go wrong.
mod guards;
/// The whole agent as time passes, and as clocks do not agree about it.
mod time;
/// The whole agent, and from where its lists come.
mod places;
/// Months of a list's life.
mod replay;
