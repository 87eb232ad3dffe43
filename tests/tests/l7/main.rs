//! Decisions about requests, with the programs that ask for them and those that are asked.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// `weir l7 test`.
mod rules;
/// Quotas that gateways share.
mod quota;
