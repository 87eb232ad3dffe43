//! Which refusals of requests are told: the first of a source in a while, and not too many in all. So
//! a flood of requests costs a lookup each, and no more lines than these.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::decision::Verdict;

/// A source that is told is not told again within this time, unless it gets another verdict.
const QUIET: Duration = Duration::from_mins(10);
const SHARDS: usize = 16;
/// Sources that are remembered, in all.
const SOURCES_MAX: usize = 1 << 14;
/// Lines a second, and at once.
const PER_SECOND: u32 = 20;
const BURST: u32 = 200;
/// Likewise of requests of the control API that are not permitted.
const FORBIDDEN_PER_SECOND: u32 = 1;
const FORBIDDEN_BURST: u32 = 30;

/// How often it is looked for sources that can be forgotten, where there is no room.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Shard {
    /// What of a source has been told, and when.
    told: HashMap<(IpAddr, Verdict), Instant>,
    looked: Instant,
}

#[derive(Debug)]
pub(super) struct Gate {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    budget: Budget,
    forbidden: Budget,
}

/// So many a second, and so many at once (GCRA).
#[derive(Debug)]
struct Budget {
    step: Duration,
    burst: u32,
    /// When the next is due, if they came at an even pace.
    due: Mutex<Instant>,
}

impl Budget {
    fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { step: Duration::from_secs(1) / per_second, burst, due: Mutex::new(now) }
    }

    fn admits(&self, now: Instant) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*due).max(now) + self.step;
        let admitted = next.saturating_duration_since(now) <= self.step * self.burst;
        if admitted {
            *due = next;
        }
        admitted
    }
}

impl Gate {
    pub(super) fn new(now: Instant) -> Self {
        let shard = || Mutex::new(Shard { told: HashMap::new(), looked: now });
        let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
        let budget = Budget::new(PER_SECOND, BURST, now);
        let forbidden = Budget::new(FORBIDDEN_PER_SECOND, FORBIDDEN_BURST, now);
        Self { hasher: RandomState::new(), shards, budget, forbidden }
    }

    /// Returns whether this is told at `now`; nothing: it has been, not long ago.
    pub(super) fn admits(&self, client: IpAddr, verdict: Verdict, now: Instant) -> Option<bool> {
        let shard = usize::try_from(self.hasher.hash_one(client)).unwrap_or(0) % SHARDS;
        let mut shard = self.shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { told, looked } = &mut *shard;
        let recent = |at: &Instant| now.saturating_duration_since(*at) < QUIET;
        if told.get(&(client, verdict)).is_some_and(recent) {
            return None;
        }
        if told.len() >= SOURCES_MAX / SHARDS && now.saturating_duration_since(*looked) >= LOOK {
            *looked = now;
            told.retain(|_, at| recent(at));
        }
        // Who finds no place is not told, rather than told each time.
        if told.len() >= SOURCES_MAX / SHARDS || !self.budget.admits(now) {
            return Some(false);
        }
        told.insert((client, verdict), now);
        Some(true)
    }

    /// Returns whether a request that is not permitted is told at `now`.
    pub(super) fn admits_forbidden(&self, now: Instant) -> bool {
        self.forbidden.admits(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_source_is_told_once_in_a_while() {
        let start = Instant::now();
        let gate = Gate::new(start);
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(gate.admits(client, Verdict::Deny, start), Some(true));
        assert_eq!(gate.admits(client, Verdict::Deny, start + QUIET / 2), None);
        assert_eq!(gate.admits(client, Verdict::Challenge, start + QUIET / 2), Some(true));
        assert_eq!(gate.admits(client, Verdict::Deny, start + QUIET), Some(true));
    }

    #[test]
    fn a_crowd_is_told_at_a_pace() {
        let start = Instant::now();
        let gate = Gate::new(start);
        let told = |from: u32, to: u32, now| {
            let address = |n| IpAddr::V4(Ipv4Addr::from_bits(n));
            (from..to).filter(|n| gate.admits(address(*n), Verdict::Deny, now) == Some(true)).count()
        };
        assert_eq!(told(0, 5000, start), BURST as usize);
        assert_eq!(told(5000, 9000, start + Duration::from_secs(2)), 2 * PER_SECOND as usize);
    }
}
