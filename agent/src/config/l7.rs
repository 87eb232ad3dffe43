//! Decisions about requests, for the proxies on this host. A section each: its shape, what it means,
//! and the way from the one to the other.

/// Where proxies ask.
pub mod listen;
/// Who the client is, and what is told of a request.
pub mod client;
/// Conditions on requests, and what follows; routes and what happens when it cannot be decided.
pub mod rules;
/// Quotas.
pub mod quotas;
/// Offences, and what they lead to.
pub mod escalation;
/// Who may ask at the local API.
pub mod bouncers;
/// What is written for proxies that decide by themselves.
pub mod push;
/// Other gateways, and what is shared with them.
pub mod fleet;
/// Who is told of what happens.
pub mod notify;

use serde::Deserialize;

use super::validate::check::Check;
pub use bouncers::Bouncer;
pub use client::Clients;
pub use escalation::Escalation;
pub use fleet::Fleet;
pub use listen::{Endpoint, Listen};
pub use notify::Notify;
pub use push::Push;
pub use quotas::Quotas;
pub use rules::Rules;

/// The section `l7`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L7 {
    /// Where proxies ask.
    pub listen: Listen,
    /// Who the client is, and what is told of a request.
    pub clients: Clients,
    /// Rules and routes.
    pub rules: Rules,
    /// Quotas.
    pub quotas: Quotas,
    /// Offences, and what they lead to.
    pub escalation: Escalation,
    /// Who may ask at the local API.
    pub bouncers: Vec<Bouncer>,
    /// What is written for proxies.
    pub push: Push,
    /// Other gateways.
    pub fleet: Fleet,
    /// Who is told.
    pub notify: Notify,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    listen: listen::Raw,
    clients: client::Raw,
    rules: Vec<rules::RawRule>,
    routes: Vec<rules::RawRoute>,
    quotas: quotas::Raw,
    escalation: escalation::Raw,
    bouncers: Vec<bouncers::Raw>,
    push: push::Raw,
    fleet: fleet::Raw,
    notify: notify::Raw,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> L7 {
    L7 {
        listen: listen::validate(check, raw.listen),
        clients: client::validate(check, &raw.clients),
        rules: rules::validate(check, raw.rules, raw.routes),
        quotas: quotas::validate(check, raw.quotas),
        escalation: escalation::validate(check, raw.escalation),
        bouncers: bouncers::validate(check, &raw.bouncers),
        push: push::validate(check, raw.push),
        fleet: fleet::validate(check, raw.fleet),
        notify: notify::validate(check, raw.notify),
    }
}
