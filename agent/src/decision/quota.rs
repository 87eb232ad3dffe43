//! Quotas: requests that a consumer has in a window, by descriptors as those of Envoy's rate limit
//! service (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto>).
//!
//! A limit of N requests a window W with a burst of B is a GCRA as the kernel's limits are: a request
//! costs T = W / N, and what is owed is at most B · T. So any window, wherever it begins, admits at most
//! N + B requests, where fixed windows admit 2 N around their border.

/// What limits are there, and which of them is meant.
mod tree;
/// What is owed, in memory.
mod store;

use std::{fmt::Write as _, sync::Arc, time::Duration};

use super::verdict::QuotaState;

pub use store::Store;
pub use tree::{Domain, Level, Limit, Node, Per};

/// Longest value of an entry that is looked at, in bytes: longer ones are one if they begin alike.
const VALUE_BYTES_MAX: usize = 256;

/// Descriptors of one request that are looked at; Envoy sends a handful. No limit holds for the others.
const DESCRIPTORS_MAX: usize = 64;

/// What a request is charged to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Keys and values, the outermost first.
    pub entries: Vec<(String, String)>,
    /// What it is charged, where that is not said for all descriptors; 0: nothing, it is only looked at.
    pub hits: Option<u32>,
}

/// What a quota says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaAnswer {
    /// It is used up. In shadow mode the request is to pass all the same.
    pub over: bool,
    /// It is nearly used up.
    pub near: bool,
    /// It is in shadow mode.
    pub shadow: bool,
    /// Its state; nothing: no limit holds.
    pub state: Option<QuotaState>,
}

/// What a quota says, and when to come again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// What it says.
    pub answer: QuotaAnswer,
    /// The name of the quota.
    pub name: Option<Arc<str>>,
    /// Until the same would be admitted; nothing: it is admitted, or never will be.
    pub retry_after: Option<Duration>,
}

/// What is asked of a store: one for each window of each descriptor, in the order of the descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose quota it is, and which window.
    pub key: String,
    /// The quota, for those who find no room of their own.
    pub name: Arc<str>,
    /// What must be free, in ns.
    pub need: u64,
    /// What is charged, in ns.
    pub cost: u64,
    /// What may be owed, in ns.
    pub depth: u64,
    /// Number of the descriptor.
    pub group: usize,
    /// Where it is refused nothing is charged to any descriptor; otherwise nothing to its own.
    pub enforced: bool,
}

/// What a store says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What is owed now, in ns.
    pub owed: u64,
    /// Until there is enough, in ns; 0: there was.
    pub wait: u64,
}

/// What is to be asked about some descriptors.
#[derive(Debug)]
pub struct Plan<'d> {
    /// A node for each descriptor. Nothing: no limit holds.
    nodes: Vec<Option<&'d Node>>,
    limits: Vec<Limit>,
    asks: Vec<Ask>,
}

impl<'d> Plan<'d> {
    /// Makes a plan. `hits` is what descriptors are charged that do not say it.
    #[must_use]
    pub fn new(
        domains: &'d [Domain],
        descriptors: impl Iterator<Item = (impl AsRef<str>, &'d Descriptor)>,
        hits: u32,
    ) -> Self {
        let mut plan = Self { nodes: Vec::new(), limits: Vec::new(), asks: Vec::new() };
        for (domain, descriptor) in descriptors {
            let domain = domains.iter().find(|known| *known.name == *domain.as_ref());
            let node = domain.and_then(|domain| domain.find(&descriptor.entries));
            let node = node.filter(|_| plan.nodes.len() < DESCRIPTORS_MAX);
            if let (Some(domain), Some(node)) = (domain, node) {
                plan.ask(&domain.name, node, descriptor, descriptor.hits.unwrap_or(hits));
            }
            plan.nodes.push(node);
        }
        plan
    }

    /// Returns what is to be asked; nothing to ask if empty.
    #[must_use]
    pub fn asks(&self) -> &[Ask] {
        &self.asks
    }

    fn ask(&mut self, domain: &str, node: &Node, descriptor: &Descriptor, hits: u32) {
        for limit in node.limits.iter().filter(|_| !node.unlimited) {
            self.limits.push(*limit);
            self.asks.push(Ask {
                key: key(domain, &descriptor.entries, limit.per),
                name: Arc::clone(&node.name),
                need: limit.cost(hits.max(1)),
                cost: limit.cost(hits),
                depth: limit.depth(),
                group: self.nodes.len(),
                enforced: !node.shadow,
            });
        }
    }

    /// Returns what quotas say, one for each descriptor, from what a store has `told` of each ask.
    #[must_use]
    pub fn answers(&self, told: &[Told]) -> Vec<Charged> {
        let answer = |(group, node): (usize, Option<&Node>)| {
            let mut charged = Charged::default();
            let Some(node) = node else { return charged };
            let windows = self.asks.iter().zip(&self.limits).zip(told);
            for ((ask, limit), told) in windows.filter(|((ask, _), _)| ask.group == group) {
                charged.take(node, ask, *limit, *told);
            }
            charged
        };
        self.nodes.iter().copied().enumerate().map(answer).collect()
    }
}

impl Charged {
    /// Adds what one of its windows says. The state is that of the window closest to its end.
    fn take(&mut self, node: &Node, ask: &Ask, limit: Limit, told: Told) {
        let left = ask.depth.saturating_sub(told.owed);
        let state = QuotaState {
            name: Arc::clone(&node.name),
            limit: limit.requests,
            window: limit.per.seconds(),
            remaining: left / limit.cost(1).max(1),
            reset: Duration::from_nanos(told.owed),
        };
        let over = told.wait > 0;
        if over && ask.need <= ask.depth {
            self.retry_after = self.retry_after.max(Some(Duration::from_nanos(told.wait)));
        }
        self.name = Some(Arc::clone(&node.name));
        self.answer.over |= over;
        self.answer.shadow = node.shadow;
        self.answer.near |= over || share(told.owed, ask.depth) >= node.near;
        let closer = |other: &QuotaState| (state.remaining, other.reset) < (other.remaining, state.reset);
        if self.answer.state.as_ref().is_none_or(closer) {
            self.answer.state = Some(state);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The key of a bucket, the same on all gateways.
fn key(domain: &str, entries: &[(String, String)], per: Per) -> String {
    let mut key = format!("{domain}|{}", per.as_str());
    for (name, value) in entries {
        let value = value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or_default();
        // With their lengths: no value can be made to look like two entries.
        _ = write!(key, "|{name}={}:{value}", value.len());
    }
    key
}

#[cfg(test)]
mod tests;
