//! Bans and manual rules: what must act at once, each with its end.
//!
//! A small table beside the policy, written in place by the agent. Line 0 says which prefix lengths
//! occur, eight per family, so that a packet pays for one load while there is no rule at all. The
//! other lines have four entries of two words each: `key (62)`, and `until (56, µs) | flags (8)`.
//! The key of an IPv4 prefix is the prefix itself, that of an IPv6 prefix 61 bits of a keyed hash.
//! An entry is in one of two lines that its key names.
//!
//! A rule ends in the kernel, by the clock of the packet: it needs no agent to be lifted.

use crate::{
    addr::{Address, network_v4},
    control::Seed,
    keyed,
    line::{Line, Memory, WORDS},
    map::{Map, OVERLAY_LINES},
};

/// Prefix lengths that the rules of one family may have.
pub const LENGTHS_MAX: u32 = 8;
/// A rule without an end.
pub const FOREVER: u64 = (1 << 56) - 1;
/// Rules for which there is room at least: a quarter of the slots, since entries are not moved.
pub const CAPACITY: u32 = OVERLAY_LINES;

const SLOTS: u32 = WORDS as u32 / 2;
const V6_KEY: u64 = 1 << 61;

/// What a rule does with packets of its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Sentence {
    /// They are dropped.
    Drop = 0,
    /// They pass, whatever lists and limits say.
    Allow = 1,
    /// Limits hold them to another profile.
    Limit = 2,
}

/// A ban or a manual rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub sentence: Sentence,
    /// Counts what it would drop.
    pub shadow: bool,
    /// The profile of [`Sentence::Limit`].
    pub profile: u8,
    /// When it ends, in µs of the kernel's coarse clock; [`FOREVER`]: never.
    pub until: u64,
}

impl Rule {
    const fn to_bits(self) -> u64 {
        let until = if self.until > FOREVER { FOREVER } else { self.until };
        self.sentence as u64 | (self.shadow as u64) << 2 | (self.profile as u64 & 3) << 3 | until << 8
    }

    #[inline(always)]
    const fn from_bits(bits: u64) -> Self {
        Self {
            sentence: match bits & 3 {
                1 => Sentence::Allow,
                2 => Sentence::Limit,
                _ => Sentence::Drop,
            },
            shadow: bits >> 2 & 1 != 0,
            profile: (bits >> 3 & 3) as u8,
            until: bits >> 8,
        }
    }
}

/// A prefix that a rule can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Its first address.
    pub address: Address,
    /// Its length: 1 to 32, or 1 to 128.
    pub length: u8,
}

/// By what the table knows a prefix. Several IPv6 prefixes may share one, by chance in 2^61.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// Returns the key of a prefix.
    #[must_use]
    pub const fn of(seed: Seed, prefix: Prefix) -> Self {
        Self(key(seed, prefix.address, prefix.length as u32))
    }
}

/// Returns true if there may be rules for addresses of the family of `address`.
#[inline(always)]
pub fn any(memory: &impl Memory, address: Address) -> bool {
    lengths(memory, family(address)) != 0
}

/// Returns the rule for `address` at time `now` (µs): that of the longest prefix.
#[inline(always)]
pub fn lookup(memory: &impl Memory, seed: Seed, address: Address, now: u64) -> Option<Rule> {
    let mut lengths = lengths(memory, family(address));
    let mut i = 0;
    while i < LENGTHS_MAX {
        let length = (lengths & 0xff) as u32;
        if length == 0 {
            return None;
        }
        lengths >>= 8;
        i += 1;
        let rule = exact(memory, seed, key(seed, address, memory.opaque(length)));
        if rule >> 8 > now {
            return Some(Rule::from_bits(rule));
        }
    }
    None
}

/// Word of line 0 that has the prefix lengths of the family of `address`.
#[inline(always)]
const fn family(address: Address) -> u32 {
    match address {
        Address::V4(_) => 0,
        Address::V6(_) => 1,
    }
}

#[inline(always)]
fn lengths(memory: &impl Memory, family: u32) -> u64 {
    match memory.line(Map::Overlay, 0) {
        // Opaque: from the discriminant of an enum the compiler knows that the index is small, and
        // leaves out the mask by which the verifier would.
        Some(line) => line.word(memory.opaque(family)).load(),
        None => 0,
    }
}

#[inline(always)]
const fn key(seed: Seed, address: Address, length: u32) -> u64 {
    match address {
        Address::V4(bits) => (length as u64) << 32 | network_v4(bits, length & 0x3f) as u64,
        Address::V6(v6) => {
            let network = v6.network(length);
            V6_KEY | keyed::hash(seed, network.high, network.low, length as u64) >> 3
        }
    }
}

/// Returns the rule word of the entry with this key, 0 where there is none.
#[inline(always)]
fn exact(memory: &impl Memory, seed: Seed, key: u64) -> u64 {
    let [one, other] = places(seed, key);
    let mut rule = 0;
    if let Some(line) = memory.line(Map::Overlay, one) {
        rule |= matching(memory, line, key);
    }
    if let Some(line) = memory.line(Map::Overlay, other) {
        rule |= matching(memory, line, key);
    }
    rule
}

/// Returns the two lines in which an entry may be.
#[inline(always)]
const fn places(seed: Seed, key: u64) -> [u32; 2] {
    let hash = keyed::hash(seed, key, 1, 0);
    [1 + (hash as u32 & (OVERLAY_LINES - 1)), 1 + ((hash >> 32) as u32 & (OVERLAY_LINES - 1))]
}

#[inline(always)]
fn matching(memory: &impl Memory, line: &Line, key: u64) -> u64 {
    let mut rule = 0;
    let mut slot = 0;
    while slot < SLOTS {
        // The rule before the key: a slot that changes hands has no rule while its key changes, so
        // no source gets what is meant for another.
        let held = line.word(2 * slot + 1).load();
        rule |= held & memory.mask_if_zero(line.word(2 * slot).load() ^ key);
        slot += 1;
    }
    rule
}

/// Why a rule cannot be put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Both lines of the entry are full.
    Full,
    /// The family has rules of [`LENGTHS_MAX`] other prefix lengths.
    Lengths,
    /// The map is missing.
    Memory,
}

/// Puts a rule in force at once, or changes the one that the prefix has. `now` in µs: entries that
/// have ended make room.
///
/// # Errors
/// [`Refused`]; nothing is changed then.
pub fn insert(memory: &impl Memory, seed: Seed, prefix: Prefix, rule: Rule, now: u64) -> Result<(), Refused> {
    let key = key(seed, prefix.address, u32::from(prefix.length));
    let lines = lines(memory, seed, key)?;
    if let Some((line, slot)) = find(&lines, |held, _| held == key) {
        line.word(2 * slot + 1).store(rule.to_bits());
        return add_length(memory, prefix);
    }
    // The emptier of the two, so that both fill evenly.
    let used = |line: &Line| (0..SLOTS).filter(|slot| line.word(2 * slot + 1).load() >> 8 > now).count();
    let [one, other] = lines;
    let order = if used(one) <= used(other) { [one, other] } else { [other, one] };
    let Some((line, slot)) = find(&order, |_, rule| rule >> 8 <= now) else { return Err(Refused::Full) };
    add_length(memory, prefix)?;
    line.word(2 * slot + 1).store(0);
    line.word(2 * slot).store(key);
    line.word(2 * slot + 1).store(rule.to_bits());
    Ok(())
}

/// Ends the rule of a prefix. Returns false if it had none.
pub fn remove(memory: &impl Memory, seed: Seed, prefix: Prefix, now: u64) -> bool {
    let key = key(seed, prefix.address, u32::from(prefix.length));
    let Ok(lines) = lines(memory, seed, key) else { return false };
    let Some((line, slot)) = find(&lines, |held, _| held == key) else { return false };
    let was = line.word(2 * slot + 1).load();
    line.word(2 * slot + 1).store(0);
    line.word(2 * slot).store(0);
    was >> 8 > now
}

/// Returns the rule of exactly this prefix at time `now`, in µs.
pub fn get(memory: &impl Memory, seed: Seed, prefix: Prefix, now: u64) -> Option<Rule> {
    let rule = exact(memory, seed, key(seed, prefix.address, u32::from(prefix.length)));
    (rule >> 8 > now).then(|| Rule::from_bits(rule))
}

/// Ends all rules but those whose key is to be kept. Returns how many were in force at time `now`.
pub fn retain(memory: &impl Memory, now: u64, keep: impl Fn(Key) -> bool) -> usize {
    let mut ended = 0;
    for (line, slot) in slots(memory) {
        let (key, rule) = (line.word(2 * slot), line.word(2 * slot + 1));
        if rule.load() == 0 || keep(Key(key.load())) {
            continue;
        }
        ended += usize::from(rule.load() >> 8 > now);
        rule.store(0);
        key.store(0);
    }
    ended
}

/// Returns how many rules are in force at time `now`.
pub fn count(memory: &impl Memory, now: u64) -> usize {
    slots(memory).filter(|(line, slot)| line.word(2 * slot + 1).load() >> 8 > now).count()
}

fn slots(memory: &impl Memory) -> impl Iterator<Item = (&Line, u32)> {
    let lines = (1..=OVERLAY_LINES).filter_map(|index| memory.line(Map::Overlay, index));
    lines.flat_map(|line| (0..SLOTS).map(move |slot| (line, slot)))
}

/// Ends all rules.
pub fn clear(memory: &impl Memory) {
    for index in 0..Map::Overlay.lines(crate::map::Sizes::MIN) {
        if let Some(line) = memory.line(Map::Overlay, index) {
            line.store([0; WORDS]);
        }
    }
}

/// Declares which prefix lengths occur, so that packets no longer look for those of which the last
/// rule has ended. Must name all that occur; at most [`LENGTHS_MAX`] of a family count.
pub fn set_lengths(memory: &impl Memory, prefixes: impl Iterator<Item = Prefix>) {
    let mut present = [0u128; 2];
    for prefix in prefixes {
        present[family(prefix.address) as usize] |= 1 << (prefix.length - 1);
    }
    if let Some(line) = memory.line(Map::Overlay, 0) {
        for (word, present) in (0..).zip(present) {
            line.word(word).store(pack(present));
        }
    }
}

fn add_length(memory: &impl Memory, prefix: Prefix) -> Result<(), Refused> {
    let word = family(prefix.address);
    let line = memory.line(Map::Overlay, 0).ok_or(Refused::Memory)?;
    let held = line.word(word).load();
    let bits = held.to_le_bytes().into_iter().filter(|length| *length != 0);
    let present = bits.fold(1u128 << (prefix.length - 1), |present, length| present | 1 << (length - 1));
    if present.count_ones() > LENGTHS_MAX {
        return Err(Refused::Lengths);
    }
    // One word, so that packets see the old lengths or the new.
    line.word(word).store(pack(present));
    Ok(())
}

/// Packs lengths into bytes, longest first.
fn pack(present: u128) -> u64 {
    let longest_first = (1..=128u64).rev().filter(|length| present >> (length - 1) & 1 != 0);
    longest_first.take(LENGTHS_MAX as usize).zip(0..).fold(0, |bytes, (length, i)| bytes | length << (8 * i))
}

fn lines<M: Memory>(memory: &M, seed: Seed, key: u64) -> Result<[&Line; 2], Refused> {
    let [one, other] = places(seed, key);
    let line = |index| memory.line(Map::Overlay, index).ok_or(Refused::Memory);
    Ok([line(one)?, line(other)?])
}

/// Returns the first slot whose key and rule are as wanted.
fn find<'m>(lines: &[&'m Line; 2], wanted: impl Fn(u64, u64) -> bool) -> Option<(&'m Line, u32)> {
    lines.iter().find_map(|line| {
        let fits = |slot: &u32| wanted(line.word(2 * slot).load(), line.word(2 * slot + 1).load());
        (0..SLOTS).find(fits).map(|slot| (*line, slot))
    })
}
