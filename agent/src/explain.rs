//! Why an address gets what it gets: the kernel's own code over the kernel's own memory.
//!
//! A packet from the address is judged by the stages of the kernel program. Only what they would
//! write is not written, so asking costs the source nothing.

/// A packet to ask with.
pub(crate) mod packet;

use std::{fmt::Write as _, net::IpAddr, path::Path};

use ipnet::IpNet;
use serde::Serialize;
use weir_common::{
    addr::Address,
    class::Action,
    control::{self, Global},
    counter::Outcome,
    gcra::{self, Key},
    limit::PROFILE_NAMES,
    overlay::{FOREVER, Rule, Sentence},
};
use weir_ebpf::{Case, judge};

use crate::{
    config::Port,
    datapath::{DatapathError, Pins, memory::Mapped, onlooker::Onlooker},
    feed::store::Store,
    policy::Origin,
    record::{LimitRecord, Record},
};

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
    /// Lists that cover it.
    pub listed_by: Vec<Origin>,
    /// The entries of feeds in which it lies, as the last good lists on disk have them.
    pub entries: Vec<ListedAs>,
    /// Its class in the kernel, 0: in no list.
    pub class: u16,
    /// The policy drops nothing.
    pub shadow: bool,
    /// To which profile limits hold it.
    pub profile: &'static str,
    /// The ban, or the manual rule, that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleFound>,
    /// Limits that it may meet, and what it owes them.
    pub limits: Vec<Bucket>,
}

/// Entries of a feed.
#[derive(Debug, Serialize)]
pub struct ListedAs {
    /// The feed.
    pub feed: String,
    /// Its prefixes in which the address lies, widest first.
    pub prefixes: Vec<IpNet>,
}

/// A ban or a manual rule.
#[derive(Debug, Serialize)]
pub struct RuleFound {
    /// `ban`, `allow` or `limit`.
    pub does: &'static str,
    /// Counts what it would drop.
    pub shadow: bool,
    /// Seconds until it ends; nothing: it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

/// A limit and a source.
#[derive(Debug, Serialize)]
pub struct Bucket {
    /// The limit.
    pub limit: String,
    /// The service that it stands on; nothing: control packets of all services.
    pub service: Option<String>,
    /// What it counts.
    pub dimension: String,
    /// Units a second, in the profile of the source.
    pub rate: f64,
    /// Units at once.
    pub burst: u64,
    /// Units of its burst that the source has used up and not yet earned back.
    pub used: f64,
    /// A packet now would be over the limit.
    pub over: bool,
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
/// that belongs to no service.
///
/// # Errors
/// [`ExplainError`]
pub fn explain(
    pins: &Pins,
    state: &Path,
    address: IpAddr,
    port: Option<Port>,
) -> Result<Explanation, ExplainError> {
    if !pins.exist() {
        return Err(ExplainError::NotLoaded);
    }
    let memory = Mapped::open(pins)?;
    let record = Record::load(state);
    let global = Global::load(&memory).ok_or(ExplainError::NoPolicy)?;
    control::Policy::load(&memory, control::generation(&memory)).ok_or(ExplainError::NoPolicy)?;
    let world = Onlooker::new(&memory);
    let source = Address::from(address);
    let mut case = Case::OPEN;
    judge(&world, &packet::from(source, port).as_slice(), &mut case);
    let listed_by = record
        .as_ref()
        .and_then(|record| record.classes.get(usize::from(case.class).checked_sub(1)?))
        .map(|spec| spec.origins.clone())
        .unwrap_or_default();
    let allowed = case.listing.action == Action::Allow
        || case.rule.is_some_and(|rule| rule.sentence == Sentence::Allow);
    let limits = match record {
        // An allowed source passes before any limit is asked.
        Some(record) if !allowed => {
            record.limits.iter().map(|limit| bucket(&world, &global, &case, limit)).collect()
        }
        Some(_) | None => Vec::new(),
    };
    Ok(Explanation {
        address: source.into(),
        verdict: case.outcome.as_str(),
        reason: case.reason.as_str(),
        summary: summary(&case, &listed_by, &limits),
        entries: entries(&Store::new(state), &listed_by, source.into()),
        listed_by,
        class: case.class,
        shadow: case.policy.shadow,
        profile: PROFILE_NAMES.get(usize::from(case.listing.profile)).copied().unwrap_or("unknown"),
        rule: case.rule.map(|rule| found(rule, world.now)),
        limits,
    })
}

/// Asks the last good lists of the feeds. One that cannot be read is left out: what is enforced is in
/// the kernel.
fn entries(store: &Store, listed_by: &[Origin], address: IpAddr) -> Vec<ListedAs> {
    let feeds = listed_by.iter().filter_map(|origin| match origin {
        Origin::Feed(name) => Some(name),
        Origin::Allow | Origin::Partners | Origin::Protected(_) | Origin::Balancer | Origin::Consensus(_) => {
            None
        }
    });
    let entries = feeds.filter_map(|name| match store.covering(name, address) {
        Ok(prefixes) => Some(ListedAs { feed: name.clone(), prefixes }),
        Err(error) => {
            tracing::debug!(%error, "a last good list cannot be read");
            None
        }
    });
    entries.filter(|entries| !entries.prefixes.is_empty()).collect()
}

fn found(rule: Rule, now: u64) -> RuleFound {
    RuleFound {
        does: match rule.sentence {
            Sentence::Drop => "ban",
            Sentence::Allow => "allow",
            Sentence::Limit => "limit",
        },
        shadow: rule.shadow,
        seconds_left: (rule.until != FOREVER).then(|| rule.until.saturating_sub(now).div_ceil(1_000_000)),
    }
}

fn bucket(world: &Onlooker<'_, Mapped>, global: &Global, case: &Case, limit: &LimitRecord) -> Bucket {
    let key = Key::new(global, case.packet.source, limit.number, limit.scope());
    let pace = limit.paces.get(usize::from(case.listing.profile)).unwrap_or(&limit.paces[0]);
    #[expect(clippy::cast_precision_loss, reason = "at most 71 minutes in µs")]
    let owed = gcra::owed(world, key, world.now) as f64;
    let used = owed * pace.rate / 1e6;
    #[expect(clippy::cast_precision_loss, reason = "a burst is earned within an hour")]
    let burst = pace.burst as f64;
    Bucket {
        limit: limit.name.clone(),
        service: limit.service.clone(),
        dimension: limit.dimension.clone(),
        rate: pace.rate,
        burst: pace.burst,
        used: (used * 10.0).round() / 10.0,
        over: used + 1.0 > burst + 0.01,
    }
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
        Outcome::Pass => format!("passes ({}): {because}", case.reason.as_str()),
    };
    if listed_by.contains(&Origin::Balancer) {
        text.push_str("; of what it tunnels the inner source is judged");
    }
    for bucket in limits.iter().filter(|bucket| bucket.over) {
        _ = write!(text, "; over limit {}", bucket.limit);
    }
    text
}

/// Returns the explanation in words.
#[must_use]
pub fn text(explanation: &Explanation) -> String {
    let mut text = format!("{}  {}\n", explanation.address, explanation.summary);
    if let Some(rule) = &explanation.rule {
        let end = match rule.seconds_left {
            Some(seconds) => format!("for {seconds} s more"),
            None => "without an end".to_owned(),
        };
        _ = writeln!(text, "  {}{} {end}", rule.does, if rule.shadow { " (shadow)" } else { "" });
    }
    for ListedAs { feed, prefixes } in &explanation.entries {
        let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        _ = writeln!(text, "  feed {feed} has it as {}", prefixes.join(", "));
    }
    for bucket in &explanation.limits {
        _ = writeln!(
            text,
            "  limit {} on {}: {} of {} {} used, {}/s{}",
            bucket.limit,
            bucket.service.as_deref().unwrap_or("all services"),
            bucket.used,
            bucket.burst,
            bucket.dimension,
            bucket.rate,
            if bucket.over { ", over" } else { "" },
        );
    }
    text
}
