//! What sources have done. A risk fades by half in a time that is set; where it reaches the bound the
//! source is banned, each time for twice as long, until it has been quiet for long enough.
//!
//! An IPv6 source is a /64, as for limits. Memory is bounded: where a shard is full, of a few sources
//! the one with the least risk is forgotten, unless it is banned. A hand goes round over all of them, so
//! that whoever has done much is compared with those only who have done more as seldom as such are.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::config::l7::Escalation;

/// First bits of an IPv6 address that make one source.
pub const V6_BITS: u8 = 64;
const SHARDS: usize = 64;
/// Sources of which something is known, in all: some 10 MB.
pub const SOURCES_MAX: usize = 1 << 17;
/// Sources that are looked at for the one to forget.
const TRIED: usize = 8;
const MINUTE_MS: u64 = 60_000;
/// Doublings; beyond that a ban lasts as long as it can.
const DOUBLINGS_MAX: u32 = 32;

/// What follows from an offence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Nothing more.
    Stay,
    /// The source is to be banned.
    Ban {
        /// How long.
        lasts: Duration,
        /// What it has come to.
        risk: f64,
    },
    /// It would be, but there have been too many bans in this minute.
    Capped,
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    risk: f64,
    /// When that was so, in ms.
    at: u64,
    /// Bans so far that are not forgotten.
    bans: u32,
    banned_until: u64,
}

impl Standing {
    fn faded(&self, settings: &Escalation, now: u64) -> f64 {
        let elapsed = Duration::from_millis(now.saturating_sub(self.at)).as_secs_f64();
        self.risk * (-elapsed / settings.half_life.as_secs_f64()).exp2()
    }
}

/// What all sources have done.
#[derive(Debug)]
pub struct Book {
    /// With a key: sources choose their addresses, and are not to choose whom they displace.
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Minute, and bans in it.
    minute: Mutex<(u64, u32)>,
    known: AtomicUsize,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    sources: Vec<(IpAddr, Standing)>,
    /// Where a source is among them.
    places: HashMap<IpAddr, usize>,
    /// Where it is looked next for one to forget.
    hand: usize,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            minute: Mutex::default(),
            known: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }
}

impl Book {
    /// Returns the risk of a source at `now`, in ms since an arbitrary point.
    #[must_use]
    pub fn risk(&self, settings: &Escalation, address: IpAddr, now: u64) -> f64 {
        let source = source(address);
        let Some(shard) = self.shard(source) else { return 0.0 };
        lock(shard).get(source).map_or(0.0, |standing| standing.faded(settings, now))
    }

    /// Adds an offence at `now` and returns what follows.
    pub fn note(&self, settings: &Escalation, address: IpAddr, weight: f64, now: u64) -> Step {
        let source = source(address);
        let Some(shard) = self.shard(source) else { return Step::Stay };
        let mut shard = lock(shard);
        let place = self.place(&mut shard, settings, source, now);
        let Some((_, standing)) = shard.sources.get_mut(place) else { return Step::Stay };
        let risk = standing.faded(settings, now) + weight;
        (standing.risk, standing.at) = (risk, now);
        // What still comes during a ban was on its way, or comes by another way in.
        if risk < settings.ban_at || now < standing.banned_until {
            return Step::Stay;
        }
        if !self.may_ban(settings.ban.per_minute, now) {
            return Step::Capped;
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let quiet = now.saturating_sub(standing.banned_until);
        let bans = if standing.bans > 0 && quiet >= ms(settings.ban.forget) { 0 } else { standing.bans };
        let lasts =
            settings.ban.first.saturating_mul(1 << bans.min(DOUBLINGS_MAX - 1)).min(settings.ban.most);
        standing.bans = (bans + 1).min(DOUBLINGS_MAX);
        standing.banned_until = now.saturating_add(ms(lasts));
        // It has paid for that. What it does from here on counts.
        standing.risk = settings.ban_at / 2.0;
        Step::Ban { lasts, risk }
    }

    /// Returns how many sources are known, and how many were forgotten for want of room.
    #[must_use]
    pub fn sizes(&self) -> (usize, u64) {
        (self.known.load(Relaxed), self.evicted.load(Relaxed))
    }

    /// Returns the place of a source, which is made where there is none.
    fn place(&self, shard: &mut Shard, settings: &Escalation, source: IpAddr, now: u64) -> usize {
        if let Some(place) = shard.places.get(&source) {
            return *place;
        }
        let new = (source, Standing::default());
        let place = if shard.sources.len() < SOURCES_MAX / SHARDS {
            self.known.fetch_add(1, Relaxed);
            shard.sources.push(new);
            shard.sources.len() - 1
        } else {
            self.evicted.fetch_add(1, Relaxed);
            let place = shard.least(settings, now);
            if let Some(old) = shard.sources.get_mut(place) {
                shard.places.remove(&old.0);
                *old = new;
            }
            place
        };
        shard.places.insert(source, place);
        place
    }

    fn may_ban(&self, per_minute: u32, now: u64) -> bool {
        let mut minute = lock(&self.minute);
        let this = now / MINUTE_MS;
        if minute.0 != this {
            *minute = (this, 0);
        }
        let may = minute.1 < per_minute;
        minute.1 += u32::from(may);
        may
    }

    fn shard(&self, source: IpAddr) -> Option<&Mutex<Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(source)).unwrap_or(0);
        self.shards.get(hash % SHARDS)
    }
}

impl Shard {
    fn get(&self, source: IpAddr) -> Option<&Standing> {
        Some(&self.sources.get(*self.places.get(&source)?)?.1)
    }

    /// Returns the place of the source to forget, among a few that are far apart: those that came together
    /// are next to each other, and may all have done much.
    fn least(&mut self, settings: &Escalation, now: u64) -> usize {
        let all = self.sources.len().max(1);
        let hand = self.hand;
        self.hand = (hand + 1) % all;
        let weight = |place: usize| {
            let standing = self.sources.get(place).map(|(_, standing)| *standing).unwrap_or_default();
            (now < standing.banned_until, standing.faded(settings, now))
        };
        let tried = (0..TRIED).map(|n| (hand + n * all / TRIED) % all);
        let least = tried.min_by(|one, other| {
            let (one, other) = (weight(*one), weight(*other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
        });
        least.unwrap_or(hand)
    }
}

/// Returns the address that stands for a source.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) & u128::MAX << (128 - u32::from(V6_BITS));
            Ipv6Addr::from(bits).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
