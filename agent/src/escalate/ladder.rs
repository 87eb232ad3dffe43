//! What sources have done. A risk fades by half in a time that is set; where it reaches the bound the
//! source is banned, each time for twice as long, until it has been quiet for long enough.
//!
//! An IPv6 source is a /64, as for limits. Memory is bounded: where a shard is full, of a few sources
//! the one with the least risk is forgotten, unless it is banned.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher as _;

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
    shards: Vec<Mutex<Shard>>,
    /// Minute, and bans in it.
    minute: Mutex<(u64, u32)>,
}

#[derive(Debug, Default)]
struct Shard {
    sources: FxHashMap<IpAddr, Standing>,
    evicted: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), minute: Mutex::default() }
    }
}

impl Book {
    /// Returns the risk of a source at `now`, in ms since an arbitrary point.
    #[must_use]
    pub fn risk(&self, settings: &Escalation, address: IpAddr, now: u64) -> f64 {
        let source = source(address);
        let Some(shard) = self.shard(source) else { return 0.0 };
        lock(shard).sources.get(&source).map_or(0.0, |standing| standing.faded(settings, now))
    }

    /// Adds an offence at `now` and returns what follows.
    pub fn note(&self, settings: &Escalation, address: IpAddr, weight: f64, now: u64) -> Step {
        let source = source(address);
        let Some(shard) = self.shard(source) else { return Step::Stay };
        let mut shard = lock(shard);
        shard.make_room(settings, source, now);
        let standing = shard.sources.entry(source).or_default();
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
        self.shards.iter().map(lock).fold((0, 0), |(sources, evicted), shard| {
            (sources + shard.sources.len(), evicted + shard.evicted)
        })
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
        // The upper bits: the map inside a shard uses the lower ones.
        let hash = FxBuildHasher.hash_one(source) >> 32;
        self.shards.get(usize::try_from(hash).unwrap_or(0) % SHARDS)
    }
}

impl Shard {
    fn make_room(&mut self, settings: &Escalation, source: IpAddr, now: u64) {
        if self.sources.len() < SOURCES_MAX / SHARDS || self.sources.contains_key(&source) {
            return;
        }
        let free = self.sources.iter().take(TRIED).filter(|(_, standing)| standing.banned_until <= now);
        let least = free
            .min_by(|(_, one), (_, other)| one.faded(settings, now).total_cmp(&other.faded(settings, now)));
        let least = least.or_else(|| self.sources.iter().next()).map(|(source, _)| *source);
        if let Some(least) = least {
            self.sources.remove(&least);
            self.evicted += 1;
        }
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
mod tests {
    use super::*;
    use crate::config::l7::escalation::Bans;

    const SECOND: u64 = 1000;

    fn settings() -> Escalation {
        let ban = Bans {
            first: Duration::from_mins(1),
            most: Duration::from_secs(200),
            forget: Duration::from_hours(1),
            per_minute: 3,
        };
        Escalation { half_life: Duration::from_secs(100), ban_at: 100.0, ban, ..Escalation::default() }
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn risk_fades_by_half_in_the_time_that_is_set() {
        let (book, settings) = (Book::default(), settings());
        assert_eq!(book.note(&settings, address(1), 40.0, 0), Step::Stay);
        assert!((book.risk(&settings, address(1), 100 * SECOND) - 20.0).abs() < 1e-9);
        book.note(&settings, address(1), 10.0, 100 * SECOND);
        assert!((book.risk(&settings, address(1), 200 * SECOND) - 15.0).abs() < 1e-9);
        assert!(book.risk(&settings, address(2), 0).abs() < 1e-9);
    }

    #[test]
    fn bans_double_up_to_the_most_and_are_forgotten_after_quiet() {
        let (book, settings) = (Book::default(), settings());
        let mut now = 0;
        let mut offend = |pause: u64| {
            now += pause * SECOND;
            loop {
                if let Step::Ban { lasts, .. } = book.note(&settings, address(1), 30.0, now) {
                    return (lasts.as_secs(), now / SECOND);
                }
                now += SECOND;
            }
        };
        assert_eq!(offend(0).0, 60);
        // It goes on throughout the ban: banned anew as soon as that is over, for twice as long.
        let again = offend(1);
        assert_eq!(again.0, 120);
        assert!(again.1 <= 66, "{}", again.1);
        assert_eq!(offend(130).0, 200);
        assert_eq!(offend(3000).0, 200, "not quiet for long enough");
        assert_eq!(offend(3600 + 300).0, 60);
    }

    #[test]
    fn no_more_bans_in_a_minute_than_are_allowed() {
        let (book, settings) = (Book::default(), settings());
        let steps: Vec<Step> = (0..5).map(|n| book.note(&settings, address(n), 100.0, 1)).collect();
        assert_eq!(steps.iter().filter(|step| **step == Step::Capped).count(), 2);
        assert!(matches!(book.note(&settings, address(4), 100.0, 61 * SECOND), Step::Ban { .. }));
    }

    #[test]
    fn memory_is_bounded_and_offenders_are_kept() {
        let (book, settings) = (Book::default(), settings());
        let offender = address(u32::MAX);
        assert!(matches!(book.note(&settings, offender, 100.0, 0), Step::Ban { .. }));
        for number in 0..1_000_000 {
            book.note(&settings, address(number), 1.0, 1);
        }
        let (sources, evicted) = book.sizes();
        assert!(sources <= SOURCES_MAX, "{sources}");
        assert!(evicted >= 1_000_000 - SOURCES_MAX as u64);
        assert!(book.risk(&settings, offender, 1) > 49.0);
    }

    #[test]
    fn the_addresses_of_a_64_are_one_source() {
        let (book, settings) = (Book::default(), settings());
        book.note(&settings, "2001:db8::1".parse().unwrap(), 10.0, 0);
        assert!(book.risk(&settings, "2001:db8::ffff".parse().unwrap(), 0) > 9.0);
        assert!(book.risk(&settings, "2001:db8:0:1::1".parse().unwrap(), 0) < 1.0);
    }
}
