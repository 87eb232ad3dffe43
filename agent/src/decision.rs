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
/// Counters that proxies ask for by descriptors.
pub mod quota;
/// What becomes of it.
pub mod verdict;

pub use client::Client;
pub use quota::{Descriptor, QuotaAnswer};
pub use request::Request;
pub use sanction::Sanctions;
pub use source::Source;
pub use verdict::{Decision, Verdict, Why};

use source::Listed;

/// What decides, beside the source itself.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Nothing is refused; what would be is told.
    pub shadow: bool,
}

/// Decides about a request.
#[must_use]
pub fn decide(policy: &Policy, request: &Request, source: &Source) -> Decision {
    _ = request;
    let mut decision = by_source(source);
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
