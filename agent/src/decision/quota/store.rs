use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Ask, Told};

/// Parts that are locked one by one.
const SHARDS: usize = 64;
/// How long a full shard is not looked through again for keys that owe nothing.
const SWEEP_NS: u64 = 100_000_000;

/// What is owed by key, in memory. It is bounded: keys that owe nothing give their place up, and when
/// all owe something, those who find none share one bucket for each quota and shard, as sources of the
/// kernel's limiter do in a full line. A key that owes is never forgotten.
#[derive(Debug)]
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    /// Keys of one shard.
    room: usize,
    /// Two, so that nobody finds two keys with one hash.
    hashers: [RandomState; 2],
    shared: AtomicU64,
}

type Hash = [u64; 2];

#[derive(Debug, Default)]
struct Shard {
    /// Until when each key owes, in ns.
    owed_until: HashMap<Hash, u64, rustc_hash::FxBuildHasher>,
    /// Likewise, of those who have found no place, by quota.
    crowd: HashMap<u64, u64, rustc_hash::FxBuildHasher>,
    swept: u64,
}

/// Where a key has its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own(Hash),
    Crowd(usize, u64),
}

impl Store {
    /// Returns an empty one with room for about so many keys.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            room: keys.div_ceil(SHARDS).max(1),
            hashers: [RandomState::new(), RandomState::new()],
            shared: AtomicU64::new(0),
        }
    }

    /// Returns how often a key has found no place of its own.
    #[must_use]
    pub fn shared(&self) -> u64 {
        self.shared.load(Relaxed)
    }

    /// Returns how many keys there are, of which some may owe nothing any more.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).owed_until.len()).sum()
    }

    /// Asks, and charges what is admitted, all in one step; `now_us` is monotonic, in µs.
    #[must_use]
    pub fn charge(&self, asks: &[Ask], now_us: u64) -> Vec<Told> {
        let now = now_us.saturating_mul(1000);
        let hashes: Vec<Hash> = asks.iter().map(|ask| self.hash(&ask.key)).collect();
        let mut numbers: Vec<usize> = hashes.iter().map(|hash| shard_of(*hash)).collect();
        // In one order everywhere, so that two requests never wait for each other.
        numbers.sort_unstable();
        numbers.dedup();
        let mut shards: Vec<(usize, MutexGuard<'_, Shard>)> =
            numbers.iter().filter_map(|number| Some((*number, lock(self.shards.get(*number)?)))).collect();
        let mut shard = |number: usize, run: &mut dyn FnMut(&mut Shard)| {
            if let Ok(at) = shards.binary_search_by_key(&number, |(number, _)| *number)
                && let Some((_, shard)) = shards.get_mut(at)
            {
                run(shard);
            }
        };
        let mut places = Vec::with_capacity(asks.len());
        let mut told = Vec::with_capacity(asks.len());
        for (ask, hash) in asks.iter().zip(hashes) {
            let number = shard_of(hash);
            let (mut place, mut until) = (Place::Own(hash), 0);
            shard(number, &mut |shard| {
                if !shard.has_room(hash, self.room, now) {
                    self.shared.fetch_add(1, Relaxed);
                    place = Place::Crowd(number, self.hashers[0].hash_one(&*ask.name) ^ ask.depth);
                }
                until = shard.until(place);
            });
            told.push(Told { owed: until.saturating_sub(now), wait: 0 });
            places.push(place);
        }
        settle(asks, &places, &mut told, |place, owed| {
            shard(place.shard(), &mut |shard| shard.owe(place, now.saturating_add(owed)));
        });
        told
    }

    fn hash(&self, key: &str) -> Hash {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }
}

/// Finds out who is refused, and charges the others through `owe`, which is told what is owed then.
fn settle(asks: &[Ask], places: &[Place], told: &mut [Told], mut owe: impl FnMut(Place, u64)) {
    // One bucket may be asked for twice: then both together must be admitted.
    for at in 0..asks.len() {
        let before = places[..at].iter().zip(asks).filter(|(place, _)| **place == places[at]);
        let owed: u64 = before.map(|(_, ask)| ask.cost).fold(told[at].owed, u64::saturating_add);
        told[at].wait = owed.saturating_add(asks[at].need).saturating_sub(asks[at].depth);
    }
    if asks.iter().zip(&*told).any(|(ask, told)| ask.enforced && told.wait > 0) {
        return;
    }
    let mut charged: Vec<(Place, u64)> = Vec::new();
    for at in 0..asks.len() {
        let group = asks[at].group;
        let refused = asks.iter().zip(&*told).any(|(ask, told)| ask.group == group && told.wait > 0);
        if refused {
            continue;
        }
        let before: u64 =
            charged.iter().filter(|(place, _)| *place == places[at]).map(|(_, cost)| *cost).sum();
        told[at].owed = told[at].owed.saturating_add(before).saturating_add(asks[at].cost);
        charged.push((places[at], asks[at].cost));
        if asks[at].cost > 0 {
            owe(places[at], told[at].owed);
        }
    }
}

impl Shard {
    /// Returns true if a key has a place, or there is one for it.
    fn has_room(&mut self, hash: Hash, room: usize, now: u64) -> bool {
        if self.owed_until.len() < room || self.owed_until.contains_key(&hash) {
            return true;
        }
        if now.saturating_sub(self.swept) < SWEEP_NS && self.swept != 0 {
            return false;
        }
        self.swept = now.max(1);
        self.owed_until.retain(|_, until| *until > now);
        self.crowd.retain(|_, until| *until > now);
        self.owed_until.len() < room
    }

    fn until(&self, place: Place) -> u64 {
        let until = match place {
            Place::Own(hash) => self.owed_until.get(&hash),
            Place::Crowd(_, quota) => self.crowd.get(&quota),
        };
        until.copied().unwrap_or_default()
    }

    fn owe(&mut self, place: Place, until: u64) {
        match place {
            Place::Own(hash) => _ = self.owed_until.insert(hash, until),
            Place::Crowd(_, quota) => _ = self.crowd.insert(quota, until),
        }
    }
}

impl Place {
    fn shard(self) -> usize {
        match self {
            Self::Own(hash) => shard_of(hash),
            Self::Crowd(shard, _) => shard,
        }
    }
}

fn shard_of(hash: Hash) -> usize {
    // Other bits than those that order a shard.
    usize::from(hash[1].to_le_bytes()[0]) % SHARDS
}

/// What a panic has left is whole: each change is one insert.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
