//! Decisions about requests, for the proxies on this host. A section each: its shape, what it means,
//! and the way from the one to the other.

/// Where proxies ask.
pub mod listen;
/// Who the client is.
pub mod client;
/// Offences, and what they lead to.
pub mod escalation;
/// Other gateways, and what is shared with them.
pub mod fleet;
/// Who is told of what happens.
pub mod notify;

use serde::Deserialize;

use super::validate::check::Check;
pub use client::Clients;
pub use escalation::Escalation;
pub use fleet::Fleet;
pub use listen::{Endpoint, Listen};
pub use notify::Notify;

/// The section `l7`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L7 {
    /// Where proxies ask.
    pub listen: Listen,
    /// Who the client is.
    pub clients: Clients,
    /// Offences, and what they lead to.
    pub escalation: Escalation,
    /// Other gateways; nothing: there are none.
    pub fleet: Option<Fleet>,
    /// Who is told.
    pub notify: Notify,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    listen: listen::Raw,
    clients: client::Raw,
    escalation: escalation::Raw,
    fleet: Option<fleet::Raw>,
    notify: notify::Raw,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> L7 {
    L7 {
        listen: listen::validate(check, raw.listen),
        clients: client::validate(check, &raw.clients),
        escalation: escalation::validate(check, raw.escalation),
        fleet: raw.fleet.map(|raw| fleet::validate(check, &raw)),
        notify: notify::validate(check, &raw.notify),
    }
}
