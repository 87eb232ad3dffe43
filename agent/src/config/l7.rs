//! Decisions about requests, for the proxies on this host. A section each: its shape, what it means,
//! and the way from the one to the other.

/// Where proxies ask.
pub mod listen;
/// Who the client is.
pub mod client;
/// Conditions on requests, and what follows.
pub mod rules;
/// What holds for some requests, and what happens when it cannot be decided.
pub mod routes;
/// Quotas.
pub mod quotas;
/// Offences, and what they lead to.
pub mod escalation;
/// A Redis, and how to get at it.
pub mod redis;
/// Who may ask at the local API.
pub mod bouncers;
/// What is written for proxies that decide by themselves.
pub mod push;
/// Other gateways, and what is shared with them.
pub mod fleet;
/// Who is told of what happens.
pub mod notify;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::validate::check::Check;
use crate::decision::{Route, Rule};
pub use bouncers::Bouncer;
pub use client::Clients;
pub use escalation::Escalation;
pub use fleet::Fleet;
pub use listen::{Endpoint, Listen};
pub use notify::Notify;
pub use push::Push;
pub use quotas::{Quotas, Redis};
pub use redis::Server;

/// The section `l7`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L7 {
    /// Where proxies ask.
    pub listen: Listen,
    /// Who the client is.
    pub clients: Clients,
    /// Rules, in their order.
    pub rules: Arc<[Rule]>,
    /// Routes, in their order.
    pub routes: Arc<[Route]>,
    /// Quotas.
    pub quotas: Quotas,
    /// Offences, and what they lead to.
    pub escalation: Escalation,
    /// Who may ask at the local API.
    pub bouncers: Vec<Bouncer>,
    /// What is written for proxies.
    pub push: Push,
    /// Other gateways; nothing: there are none.
    pub fleet: Option<Fleet>,
    /// Who is told.
    pub notify: Notify,
}

/// Decisions about requests, for proxies on this host.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Where proxies ask.
    listen: listen::Raw,
    /// Who the client of a request is.
    clients: client::Raw,
    /// Conditions in CEL, and what follows; the first that decides holds.
    rules: Vec<rules::Raw>,
    /// What holds for some requests; the first that matches.
    routes: Vec<routes::Raw>,
    /// Budgets of requests.
    quotas: quotas::Raw,
    /// From offences to bans.
    escalation: escalation::Raw,
    /// Bouncers of CrowdSec that may ask.
    bouncers: Vec<bouncers::Raw>,
    /// Bans for proxies that decide by themselves.
    push: push::Raw,
    /// Bans shared with other gateways.
    fleet: Option<fleet::Raw>,
    /// Who is told of what is wrong.
    notify: notify::Raw,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> L7 {
    let quotas = quotas::validate(check, raw.quotas);
    let rules = rules::validate(check, &raw.rules);
    let routes = routes::validate(check, raw.routes, &quotas);
    let mut clients = client::validate(check, &raw.clients);
    // What rules and routes look at need not be named twice.
    let named = rules.iter().flat_map(|rule| rule.when.headers()).chain(routes::headers(&routes));
    for header in named {
        if !clients.headers.contains(&header) {
            clients.headers.push(header);
        }
    }
    L7 {
        listen: listen::validate(check, raw.listen),
        clients,
        rules: rules.into(),
        routes: routes.into(),
        quotas,
        escalation: escalation::validate(check, raw.escalation),
        bouncers: bouncers::validate(check, &raw.bouncers),
        push: push::validate(check, raw.push),
        fleet: raw.fleet.map(|raw| fleet::validate(check, &raw)),
        notify: notify::validate(check, &raw.notify),
    }
}

#[cfg(test)]
mod tests;
