//! What becomes of a request: from what is known of its source and of itself to a decision. Pure: no
//! I/O, no clock.
//!
//! Modules are listed in the order in which a request passes them.

/// Who has sent it: the way back through trusted proxies.
pub mod client;
/// What is known of its source, from the structures that the kernel judges by.
pub mod source;
/// Rules that proxies hold and the kernel does not.
pub mod sanction;
/// What follows from what its source has done lately.
pub mod risk;
/// What becomes of it.
pub mod verdict;

pub use client::Client;
pub use sanction::Sanctions;
pub use source::Source;
pub use verdict::{Decision, Verdict, Why};

use source::Listed;

/// What decides, beside the source itself.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Nothing is refused; what would be is told.
    pub shadow: bool,
    /// What follows from what a source has done; nothing: nothing.
    pub thresholds: Option<risk::Thresholds>,
}

/// Decides about a request: by what its source is, then by what it has done. What is in shadow mode only
/// tells what it would be, and stands in the way of nothing that is not.
#[must_use]
pub fn decide(policy: &Policy, source: &Source) -> Decision {
    let mut decision = by_source(source);
    if decision.verdict == Verdict::Allow && decision.why == Why::Clean {
        let by_risk = risk::decide(policy.thresholds.as_ref(), source, source.risk);
        decision = match by_risk {
            Some(refused) if refused.verdict != Verdict::Allow || decision.would.is_none() => refused,
            Some(_) | None => decision,
        };
    }
    decision.score = source.risk;
    if policy.shadow { decision.in_shadow() } else { decision }
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
mod tests {
    use std::time::Duration;

    use super::{
        source::{Ban, Pressure},
        *,
    };

    fn policy(shadow: bool) -> Policy {
        let thresholds = risk::Thresholds { challenge_at: 40.0, throttle_at: 60.0, shadow: false };
        Policy { shadow, thresholds: Some(thresholds) }
    }

    #[test]
    fn what_is_in_force_goes_before_what_would_be() {
        let ban = |shadow| Some(Ban { shadow, left: Some(Duration::from_secs(9)) });
        let clean = Source::default();
        let (deny, allow) = (Verdict::Deny, Verdict::Allow);
        for (source, verdict, why, would) in [
            (clean.clone(), allow, Why::Clean, None),
            (Source { ban: ban(false), ..clean.clone() }, deny, Why::Banned, None),
            (Source { ban: ban(true), ..clean.clone() }, allow, Why::Clean, Some(Why::Banned)),
            (Source { ban: ban(true), listed: Listed::Drop, ..clean.clone() }, deny, Why::Listed, None),
            (
                Source { listed: Listed::Drop, list_shadow: true, ..clean.clone() },
                allow,
                Why::Clean,
                Some(Why::Listed),
            ),
            (
                Source { listed: Listed::Drop, list_shadow: true, risk: 70.0, ..clean.clone() },
                Verdict::Throttle,
                Why::Risk,
                None,
            ),
            (
                Source { ban: ban(true), pressure: Pressure::Over, ..clean.clone() },
                Verdict::Throttle,
                Why::OverLimit,
                None,
            ),
            (Source { ban: ban(false), rule_allows: true, ..clean }, allow, Why::Allowed, None),
        ] {
            let decision = decide(&policy(false), &source);
            let found = (decision.verdict, decision.why, decision.would.map(|(_, why)| why));
            assert_eq!(found, (verdict, why, would), "{source:?}");
            assert_eq!(decide(&policy(true), &source).verdict, allow, "{source:?}");
        }
    }

    #[test]
    fn whoever_is_refused_is_told_when_to_come_again() {
        let left = Some(Duration::from_millis(1500));
        let refused = Decision { retry_after: left, ..Decision::of(Verdict::Deny, Why::Banned) };
        assert!(refused.headers().contains(&("retry-after", "2".to_owned())));
        assert_eq!(Decision { retry_after: left, ..Decision::allow(Why::Clean) }.retry_seconds(), None);
    }
}
