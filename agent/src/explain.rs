//! Why an address gets what it gets: the kernel's own code over the kernel's own memory.
//!
//! A packet from the address is judged by the stages of the kernel program. Only what they would
//! write is not written, so asking costs the source nothing. What the kernel does not know (names,
//! authors, dates) is in the state directory; what a running agent alone knows is asked of it before.

/// A packet to ask with.
pub(crate) mod packet;
/// What a running agent alone knows.
pub mod agent;
/// The lists in which an address is.
mod lists;
/// Bans and manual rules around an address.
mod rule;
/// Limits, and what an address owes them.
mod bucket;
/// What would change the verdict.
mod mend;
/// What there is about a prefix.
mod prefix;
/// The explanation in words.
mod text;

use std::{fmt::Write as _, net::IpAddr, path::Path, time::SystemTime};

use serde::Serialize;
use weir_common::{
    addr::Address,
    class::Action,
    control::{self, Global},
    counter::Outcome,
    limit::PROFILE_NAMES,
    overlay::Sentence,
};
use weir_ebpf::{Case, judge};

use crate::{
    config::Port,
    datapath::{DatapathError, Pins, counters::Counters, memory::Mapped, onlooker::Onlooker},
    feed::store::Store,
    policy::Origin,
    record::{Record, seconds},
    rules,
};

pub use agent::{AgentSays, Recent};
pub use bucket::Bucket;
pub(crate) use bucket::{State as BucketState, find_pace};
pub use lists::ListFound;
pub use mend::Mend;
pub use prefix::{PrefixExplanation, explain_prefix, prefix_text};
pub use rule::RuleFound;
pub use text::text;

/// What decides about an address.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The address.
    pub address: IpAddr,
    /// What a packet gets: `pass`, `drop` or `would_drop`.
    pub verdict: &'static str,
    /// Why, as in metrics.
    pub reason: &'static str,
    /// In words.
    pub summary: String,
    /// The policy drops nothing.
    pub shadow: bool,
    /// Why lists and bans cannot cut it off, if they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<&'static str>,
    /// The ban, or the manual rule, of the kernel that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleFound>,
    /// The ban, or the manual rule, that proxies hold and the kernel does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_rule: Option<RuleFound>,
    /// Lists that name it.
    pub listed_by: Vec<Origin>,
    /// What is known of them.
    pub lists: Vec<ListFound>,
    /// Its class in the kernel, 0: in no list.
    pub class: u16,
    /// Packets of all sources of that class, which are on the same lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_packets: Option<ClassPackets>,
    /// To which profile limits hold it.
    pub profile: &'static str,
    /// Limits that it may meet, and what it owes them.
    pub limits: Vec<Bucket>,
    /// What the agent knows besides.
    pub agent: AgentSays,
    /// What would change the verdict, or will by itself.
    pub changes: Vec<Mend>,
}

/// What became of the packets of a class, by its lists alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClassPackets {
    /// Passed.
    pub pass: u64,
    /// Dropped.
    pub drop: u64,
    /// Passed, and would have been dropped but for shadow mode.
    pub would_drop: u64,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Nothing is loaded.
    #[error("weir is not loaded, so nothing is decided; start it with `weir run --config FILE`")]
    NotLoaded,
    /// The pins cannot be read.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The maps are empty.
    #[error("no policy has been published yet")]
    NoPolicy,
}

/// Explains what the kernel does with a packet from `address` to `port`; without one, to a port
/// that belongs to no service, and then all limits are told. `agent` is what a running agent has
/// said of the address.
///
/// # Errors
/// [`ExplainError`]
pub fn explain(
    pins: &Pins,
    state: &Path,
    address: IpAddr,
    port: Option<Port>,
    agent: AgentSays,
) -> Result<Explanation, ExplainError> {
    if !pins.exist() {
        return Err(ExplainError::NotLoaded);
    }
    let memory = Mapped::open(pins)?;
    let record = Record::load(state);
    let global = Global::load(&memory).ok_or(ExplainError::NoPolicy)?;
    control::Policy::load(&memory, control::generation(&memory)).ok_or(ExplainError::NoPolicy)?;
    let now = SystemTime::now();
    let world = Onlooker::new(&memory);
    let source = Address::from(address);
    let address = IpAddr::from(source);
    let mut case = Case::OPEN;
    judge(&world, &packet::from(source, port).as_slice(), &mut case);
    let spec = record.as_ref().and_then(|record| record.classes.get(usize::from(case.class).checked_sub(1)?));
    let listed_by = spec.map(|spec| spec.origins.clone()).unwrap_or_default();
    let allowed = case.listing.action == Action::Allow
        || case.rule.is_some_and(|rule| rule.sentence == Sentence::Allow);
    let limits = match &record {
        // An allowed source passes before any limit is asked.
        Some(record) if !allowed => bucket::of(&world, &global, &case, port.is_some(), &record.limits),
        Some(_) | None => Vec::new(),
    };
    let book = rules::saved(state);
    let covering = |proxy_only| rule::covering(&book, address, proxy_only, seconds(now));
    let mut explanation = Explanation {
        address,
        verdict: case.outcome.as_str(),
        reason: case.reason.as_str(),
        summary: summary(&case, &listed_by, &limits),
        shadow: case.policy.shadow,
        protected: lists::protected(&listed_by),
        rule: case.rule.map(|rule| rule::found(rule, covering(false), world.now)),
        proxy_rule: covering(true).map(|rule| rule::of_book(rule, now)),
        lists: lists::of(&Store::new(state), record.as_ref(), &listed_by, address, seconds(now)),
        listed_by,
        class: case.class,
        class_packets: class_packets(pins, case.class)?,
        profile: PROFILE_NAMES.get(usize::from(case.listing.profile)).copied().unwrap_or("unknown"),
        limits,
        agent,
        changes: Vec::new(),
    };
    explanation.changes = mend::mends(&explanation);
    Ok(explanation)
}

fn class_packets(pins: &Pins, class: u16) -> Result<Option<ClassPackets>, DatapathError> {
    if class == weir_common::class::NONE {
        return Ok(None);
    }
    let counters = Counters::open(pins)?;
    let packets = |outcome| counters.class(class, outcome).map(|count| count.packets);
    Ok(Some(ClassPackets {
        pass: packets(Outcome::Pass)?,
        drop: packets(Outcome::Drop)?,
        would_drop: packets(Outcome::WouldDrop)?,
    }))
}

fn summary(case: &Case, listed_by: &[Origin], limits: &[Bucket]) -> String {
    let lists = listed_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let because = match case.rule.map(|rule| rule.sentence) {
        Some(Sentence::Drop) => "banned".to_owned(),
        Some(Sentence::Allow) => "allowed by a manual rule".to_owned(),
        Some(Sentence::Limit) | None if lists.is_empty() => "in no list".to_owned(),
        Some(Sentence::Limit) | None => format!("listed by {lists}"),
    };
    let mut text = match case.outcome {
        Outcome::Drop => format!("dropped ({}): {because}", case.reason.as_str()),
        Outcome::WouldDrop if case.policy.shadow => {
            format!("passes, because the policy is in shadow mode: {because}")
        }
        Outcome::WouldDrop => format!("passes, because the rule is in shadow mode: {because}"),
        // A packet to no service is asked about, and it has spent what those of services may.
        Outcome::Pass if !case.policy.shadow && limits.iter().any(Bucket::drops) => {
            format!("dropped by limits, passes beside them: {because}")
        }
        Outcome::Pass => format!("passes ({}): {because}", case.reason.as_str()),
    };
    if listed_by.contains(&Origin::Balancer) {
        text.push_str("; of what it tunnels the inner source is judged");
    }
    for bucket in limits.iter().filter(|bucket| bucket.over) {
        let service = bucket.service.as_deref().unwrap_or("all services");
        let shadow = if bucket.shadow { ", in shadow mode" } else { "" };
        _ = write!(text, "; over limit {} on {service}{shadow}", bucket.limit);
    }
    text
}
