//! What can be told of buckets by looking at them. For people and tests: the kernel never does.

use super::{DEBT_MAX, Key, TAG_BITS, TAT_BITS, TAT_MASK, V6_TAG, debt, is_free};
use crate::{
    control::{Global, Seed},
    keyed, limit,
    line::Memory,
    map::{Map, VALVE_LINES},
};

/// A bucket in which something is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debtor {
    /// Whose it is.
    pub whose: Whose,
    /// How much, in µs.
    pub owed: u64,
}

/// Whose a bucket is, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An IPv4 network under a limit: the permutation is undone.
    V4 {
        /// Number of the limit.
        limit: u8,
        /// First address of the network, as wide as the scope of the limit says; 0 where all sources
        /// are one.
        network: u32,
    },
    /// An IPv6 network under some limit: a hash cannot be undone.
    V6,
}

/// What there is in one line of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Its debtors, in no order.
    pub debtors: [Option<Debtor>; 8],
    /// How many of its buckets are owed in. 8: a new source would share one.
    pub owing: u32,
}

/// Looks at line `index` at coarse time `now`. Nothing where there is no such line.
pub fn look(memory: &impl Memory, global: &Global, index: u32, now: u64) -> Option<Look> {
    let now = now & TAT_MASK;
    let mut found = Look::default();
    for (place, word) in found.debtors.iter_mut().zip(memory.line(Map::Limiter, index)?.load()) {
        if is_free(word, now) {
            continue;
        }
        found.owing += 1;
        let whose = whose(global, index, word >> TAT_BITS);
        *place = whose.map(|whose| Debtor { whose, owed: debt(word & TAT_MASK, now, DEBT_MAX) });
    }
    Some(found)
}

fn whose(global: &Global, line: u32, tag: u64) -> Option<Whose> {
    if tag & V6_TAG != 0 {
        return Some(Whose::V6);
    }
    let place = u64::from(line) << TAG_BITS | tag;
    let source = keyed::invert(global.seed, global.limiter_bits + TAG_BITS, place);
    let limit = u8::try_from(source >> 32).ok().filter(|limit| u32::from(*limit) < limit::CAPACITY)?;
    Some(Whose::V4 { limit, network: source as u32 })
}

/// Returns what the bucket owes, in µs, that a source has to share now, because its line is full of
/// other debtors. Nothing where it has, or would get, one of its own.
pub fn shared(memory: &impl Memory, seed: Seed, key: Key, now: u64) -> Option<u64> {
    let now = now & TAT_MASK;
    let words = memory.line(Map::Limiter, key.line)?.load();
    if words.iter().any(|word| word >> TAT_BITS == key.tag || is_free(*word, now)) {
        return None;
    }
    let valve = keyed::hash(seed, key.network, 1, u64::from(key.id));
    let line = memory.line(Map::Valve, (valve >> 3) as u32 & (VALVE_LINES - 1))?;
    Some(valve_debt(line.word(valve as u32).load(), now))
}

/// Returns how many shared buckets are owed in at coarse time `now`.
pub fn valves_in_use(memory: &impl Memory, now: u64) -> u32 {
    let now = now & TAT_MASK;
    let lines = (0..VALVE_LINES).filter_map(|index| memory.line(Map::Valve, index));
    lines.flat_map(super::Line::load).filter(|word| valve_debt(*word, now) > 0).count() as u32
}

/// 0 is a bucket that was never used.
fn valve_debt(word: u64, now: u64) -> u64 {
    if word == 0 { 0 } else { debt(word & TAT_MASK, now, DEBT_MAX) }
}
