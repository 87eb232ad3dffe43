//! Decisions about requests, for the proxies on this host. A section each: its shape, what it means,
//! and the way from the one to the other.

/// Where proxies ask.
pub mod listen;
/// Who the client is.
pub mod client;
/// Offences, and what they lead to.
pub mod escalation;

use serde::Deserialize;

use super::validate::check::Check;
pub use client::Clients;
pub use escalation::Escalation;
pub use listen::{Endpoint, Listen};

/// The section `l7`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L7 {
    /// Where proxies ask.
    pub listen: Listen,
    /// Who the client is.
    pub clients: Clients,
    /// Offences, and what they lead to.
    pub escalation: Escalation,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    listen: listen::Raw,
    clients: client::Raw,
    escalation: escalation::Raw,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> L7 {
    L7 {
        listen: listen::validate(check, raw.listen),
        clients: client::validate(check, &raw.clients),
        escalation: escalation::validate(check, raw.escalation),
    }
}
