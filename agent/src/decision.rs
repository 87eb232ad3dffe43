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

use crate::config::Config;
use quota::Charged;
use source::Listed;

/// What decides, beside the source itself.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Nothing is refused; what would be is told.
    pub shadow: bool,
    /// Rules, in their order.
    pub rules: Arc<[Rule]>,
    /// Routes, in their order.
    pub routes: Arc<[Route]>,
    /// Quotas do not hold for sources that lists name as partners.
    pub partners_unlimited: bool,
}

impl Policy {
    /// Takes it from the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            shadow: config.enforce.is_shadow(),
            rules: Arc::clone(&config.l7.rules),
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

/// Decides about a request as far as that needs no quota: its source first, then rules.
#[must_use]
pub fn before_quotas(policy: &Policy, request: &Request, source: &Source) -> Standing {
    let by_source = Decision { score: source.risk, ..by_source(source) };
    if by_source.why != Why::Clean {
        return Standing { decision: by_source, settled: true, failed: Vec::new() };
    }
    let found = rules::evaluate(&policy.rules, request, source);
    let settled = found.decision.is_some();
    let mut decision = found.decision.unwrap_or_else(|| by_source.clone());
    decision.score = by_source.score + found.score;
    decision.would = by_source.would.or(found.would);
    let exempt = policy.partners_unlimited && source.listed == Listed::Partner;
    Standing { decision, settled: settled || exempt, failed: found.failed }
}

/// Decides about a request for good, with what quotas say.
#[must_use]
pub fn conclude(policy: &Policy, standing: Standing, charged: &[Charged]) -> Decision {
    let mut decision = standing.decision;
    if !standing.settled {
        decision = by_quotas(decision, charged);
        // What else speaks against a source that nothing before has settled belongs here.
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
    if let Some(ban) = source.ban.filter(|ban| !ban.shadow) {
        return Decision { retry_after: ban.left, ..Decision::of(Verdict::Deny, Why::Banned) };
    }
    match source.listed {
        Listed::Drop if source.list_shadow => Decision::of(Verdict::Deny, Why::Listed).in_shadow(),
        Listed::Drop => Decision::of(Verdict::Deny, Why::Listed),
        Listed::Nowhere | Listed::Allow | Listed::Partner | Listed::Suspicious | Listed::Observe => {
            Decision::allow(Why::Clean)
        }
    }
}

#[cfg(test)]
mod tests;
