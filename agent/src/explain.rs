//! Why an address gets what it gets: the kernel's own lookup over the kernel's own memory.

use std::{fmt::Write as _, net::IpAddr, path::Path};

use serde::Serialize;
use weir_common::{
    addr::Address,
    class::{self, Action, Class, NONE},
    control::{self, Global},
    gcra::{self, Key},
    line::Memory,
    table,
};

use crate::{
    config::Enforce,
    datapath::{DatapathError, Pins, clock, memory::Mapped},
    policy::Origin,
    record::Record,
};

/// What decides about an address.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The address.
    pub address: IpAddr,
    /// What its packets get by reputation: `pass`, `drop` or `would_drop`.
    pub verdict: &'static str,
    /// Why: `allow`, `feed`, `observe` or `clean`.
    pub reason: &'static str,
    /// In words.
    pub summary: String,
    /// Lists that cover it.
    pub listed_by: Vec<Origin>,
    /// Its class in the kernel, 0: in no list.
    pub class: u16,
    /// The policy drops nothing.
    pub shadow: bool,
    /// Limits that it may meet, and what it owes them.
    pub limits: Vec<Bucket>,
}

/// A limit and a source.
#[derive(Debug, Serialize)]
pub struct Bucket {
    /// The limit.
    pub limit: String,
    /// The service that it stands on.
    pub service: String,
    /// What it counts.
    pub dimension: String,
    /// Units a second.
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

/// Explains what the kernel does with `address`.
///
/// # Errors
/// [`ExplainError`]
pub fn explain(pins: &Pins, state: &Path, address: IpAddr) -> Result<Explanation, ExplainError> {
    if !pins.exist() {
        return Err(ExplainError::NotLoaded);
    }
    let memory = Mapped::open(pins)?;
    let record = Record::load(state);
    let generation = control::generation(&memory);
    let policy = control::Policy::load(&memory, generation).ok_or(ExplainError::NoPolicy)?;
    let global = Global::load(&memory).ok_or(ExplainError::NoPolicy)?;
    let source = Address::from(address);
    let id = table::lookup(&memory, generation, &policy, source);
    let listing = class::load(&memory, generation, id);
    let listed_by = record
        .as_ref()
        .and_then(|record| record.classes.get(usize::from(id).checked_sub(1)?))
        .map(|spec| spec.origins.clone())
        .unwrap_or_default();
    let (verdict, reason) = verdict(id, listing, policy.shadow);
    let limits = match (listing.action, record) {
        // Passes or ends before any limit is asked.
        (Action::Allow, _) | (_, None) => Vec::new(),
        (Action::Drop | Action::Observe, Some(record)) => buckets(&memory, &global, source, &record),
    };
    let summary = summary(verdict, &listed_by, policy.shadow, &limits);
    Ok(Explanation {
        address: source.into(),
        verdict,
        reason,
        summary,
        listed_by,
        class: id,
        shadow: policy.shadow,
        limits,
    })
}

fn verdict(id: u16, listing: Class, shadow: bool) -> (&'static str, &'static str) {
    match listing.action {
        Action::Allow => ("pass", "allow"),
        Action::Drop if shadow || listing.shadow => ("would_drop", "feed"),
        Action::Drop => ("drop", "feed"),
        Action::Observe if id == NONE => ("pass", "clean"),
        Action::Observe => ("pass", "observe"),
    }
}

fn buckets(memory: &impl Memory, global: &Global, source: Address, record: &Record) -> Vec<Bucket> {
    let now = clock::now_us(memory);
    record
        .limits
        .iter()
        .map(|limit| {
            let key = Key::new(global, source, limit.number, limit.ipv6_prefix);
            #[expect(clippy::cast_precision_loss, reason = "at most 71 minutes in µs")]
            let owed = gcra::owed(memory, key, now) as f64;
            let used = owed * limit.rate / 1e6;
            #[expect(clippy::cast_precision_loss, reason = "a burst is earned within an hour")]
            let burst = limit.burst as f64;
            Bucket {
                limit: limit.name.clone(),
                service: limit.service.clone(),
                dimension: limit.dimension.clone(),
                rate: limit.rate,
                burst: limit.burst,
                used: (used * 10.0).round() / 10.0,
                over: used + 1.0 > burst + 0.01,
            }
        })
        .collect()
}

fn summary(verdict: &str, listed_by: &[Origin], shadow: bool, limits: &[Bucket]) -> String {
    let lists = listed_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = match (verdict, listed_by.is_empty()) {
        ("drop", _) => format!("dropped: listed by {lists}"),
        ("would_drop", _) if shadow => {
            format!("passes, because the policy is in shadow mode: listed by {lists}")
        }
        ("would_drop", _) => format!("passes, because the list is in shadow mode: listed by {lists}"),
        (_, true) => "in no list".to_owned(),
        (_, false) if listed_by.contains(&Origin::Balancer) => {
            format!("passes, and of what it tunnels the inner source is judged: {lists}")
        }
        (_, false) if listed_by.contains(&Origin::Allow) => format!("passes: {lists}"),
        (_, false) => format!("observed: listed by {lists}"),
    };
    for bucket in limits.iter().filter(|bucket| bucket.over) {
        _ = write!(text, "; over limit {}", bucket.limit);
    }
    text
}

/// Returns the explanation in words.
#[must_use]
pub fn text(explanation: &Explanation) -> String {
    let mut text = format!("{}  {}\n", explanation.address, explanation.summary);
    for bucket in &explanation.limits {
        _ = writeln!(
            text,
            "  limit {} on {}: {} of {} {} used, {}/s{}",
            bucket.limit,
            bucket.service,
            bucket.used,
            bucket.burst,
            bucket.dimension,
            bucket.rate,
            if bucket.over { ", over" } else { "" },
        );
    }
    text
}

/// Returns the word for a mode of enforcement.
#[must_use]
pub fn enforce(enforce: Enforce) -> &'static str {
    match enforce {
        Enforce::Shadow => "shadow",
        Enforce::Enforce => "enforce",
    }
}
