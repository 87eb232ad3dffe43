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

/// Decides about a request: by what its source is, then by what it has done.
#[must_use]
pub fn decide(policy: &Policy, source: &Source) -> Decision {
    let mut decision = by_source(source);
    if decision.verdict == Verdict::Allow && decision.would.is_none() && decision.why == Why::Clean {
        decision = risk::decide(policy.thresholds.as_ref(), source, source.risk).unwrap_or(decision);
    }
    decision.score = source.risk;
    if policy.shadow { decision.in_shadow() } else { decision }
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
