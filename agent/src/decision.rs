//! What becomes of a request: from what is known of its source and of itself to a decision. Pure: no
//! I/O, no clock.
//!
//! Modules are listed in the order in which a request passes them.

/// Who has sent it: the way back through trusted proxies.
pub mod client;
/// What a proxy tells of it.
pub mod request;
/// What is known of its source, from the structures that the kernel judges by.
pub mod source;
/// Rules that proxies hold and the kernel does not.
pub mod sanction;
/// Conditions on requests, and what follows.
pub mod rules;
/// What follows from what its source has done lately.
pub mod risk;
/// What holds for some requests: quotas, and what happens when it cannot be decided.
pub mod route;
/// Requests that a consumer has in a window.
pub mod quota;
/// What becomes of it.
pub mod verdict;

use std::sync::Arc;

pub use client::Client;
pub use request::Request;
pub use route::Route;
pub use rules::Rule;
pub use sanction::Sanctions;
pub use source::Source;
pub use verdict::{Decision, Verdict, Why};

use crate::config::{Config, l7::escalation::Mode};
use quota::Charged;
use source::Listed;

/// What is in force, whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Nothing is refused; what would be is told.
    pub shadow: bool,
    /// Rules, in their order.
    pub rules: Arc<[Rule]>,
    /// What follows from what a source has done; nothing: nothing.
    pub thresholds: Option<risk::Thresholds>,
    /// Routes, in their order.
    pub routes: Arc<[Route]>,
    /// Quotas do not hold for sources that lists name as partners.
    pub partners_unlimited: bool,
}

impl Policy {
    /// Takes it from the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let escalation = &config.l7.escalation;
        let thresholds = risk::Thresholds {
            challenge_at: escalation.challenge_at,
            throttle_at: escalation.throttle_at,
            shadow: escalation.mode == Mode::Shadow,
        };
        Self {
            shadow: config.enforce.is_shadow(),
            rules: Arc::clone(&config.l7.rules),
            thresholds: (escalation.mode != Mode::Off).then_some(thresholds),
            routes: Arc::clone(&config.l7.routes),
            partners_unlimited: config.l7.quotas.partners_unlimited,
        }
    }
}

/// How it stands with a request before quotas are asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// What is decided, if nothing else comes.
    pub decision: Decision,
    /// Nothing else comes: quotas are neither asked nor charged.
    pub settled: bool,
    /// Rules that could not be evaluated.
    pub failed: Vec<Arc<str>>,
}

/// Decides about a request as far as that needs no quota: by what its source is, then by rules, then by
/// what it has done, to which rules may add. What is in shadow mode only tells what it would be, and
/// stands in the way of nothing that is not.
#[must_use]
pub fn before_quotas(policy: &Policy, request: &Request, source: &Source) -> Standing {
    let by_source = Decision { score: source.risk, ..by_source(source) };
    if by_source.why != Why::Clean {
        return Standing { decision: by_source, settled: true, failed: Vec::new() };
    }
    let found = rules::evaluate(&policy.rules, request, source);
    let (score, would) = (source.risk + found.score, by_source.would.clone().or(found.would));
    let exempt = policy.partners_unlimited && source.listed == Listed::Partner;
    let (decision, settled) = match found.decision {
        Some(decision) => (decision, true),
        None => match risk::decide(policy.thresholds.as_ref(), source, score) {
            Some(decision) => (decision.clone(), exempt || decision.verdict != Verdict::Allow),
            None => (by_source, exempt),
        },
    };
    let would = would.or(decision.would.clone());
    Standing { decision: Decision { score, would, ..decision }, settled, failed: found.failed }
}

/// Decides about a request for good, with what quotas say.
#[must_use]
pub fn conclude(policy: &Policy, standing: Standing, charged: &[Charged]) -> Decision {
    let Standing { decision, settled, .. } = standing;
    let mut decision = if settled { decision } else { by_quotas(decision, charged) };
    if decision.verdict != Verdict::Allow {
        // It does not pass, so nothing is only told.
        decision.would = None;
    }
    if policy.shadow { decision.in_shadow() } else { decision }
}

/// Adds what quotas say: the state of the one that is closest to its end, and a refusal where one is
/// used up.
fn by_quotas(before: Decision, charged: &[Charged]) -> Decision {
    let mut decision = before;
    let states = charged.iter().filter_map(|charged| charged.answer.state.as_ref());
    decision.quota = states.min_by_key(|state| (state.remaining, std::cmp::Reverse(state.reset))).cloned();
    for Charged { answer, name, retry_after } in charged.iter().filter(|charged| charged.answer.over) {
        let why = Why::Quota(name.clone().unwrap_or_default());
        if answer.shadow {
            decision.would = decision.would.or(Some((Verdict::Throttle, why)));
            continue;
        }
        let Decision { score, would, .. } = decision;
        let quota = answer.state.clone();
        return Decision {
            retry_after: *retry_after,
            score,
            would,
            quota,
            ..Decision::of(Verdict::Throttle, why)
        };
    }
    decision
}

/// What is decided whatever the request is.
fn by_source(source: &Source) -> Decision {
    if source.allowed() {
        return Decision::allow(Why::Allowed);
    }
    let banned = source.ban.map(|ban| {
        let decision = Decision { retry_after: ban.left, ..Decision::of(Verdict::Deny, Why::Banned) };
        if ban.shadow { decision.in_shadow() } else { decision }
    });
    let listed = (source.listed == Listed::Drop).then(|| {
        let decision = Decision::of(Verdict::Deny, Why::Listed);
        if source.list_shadow { decision.in_shadow() } else { decision }
    });
    // The first that is in force, else the first that would be.
    let found = [banned, listed].into_iter().flatten();
    found
        .clone()
        .find(|decision| decision.verdict != Verdict::Allow)
        .or_else(|| found.clone().next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
