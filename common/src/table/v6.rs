//! IPv6: a filter over /32s, then a tagged line per prefix length present.
//!
//! A clean source whose /32 holds nothing listed costs one bit of 2 MB. Behind it each prefix
//! length that occurs costs one line of eight slots `tag (48) | class (16)`, longest first. Line
//! and tag are bits of a keyed 64-bit hash of (prefix, length); two prefixes are taken for the
//! same with a probability of 2^-48 per slot compared. A list with more than [`LENGTHS_MAX`] lengths,
//! which would cost every packet a line for each, has some of them expanded to longer ones.
//!
//! An entry that finds its line full goes to one other line, which its tag names, and pushes an
//! entry there on to that one's other line if need be (cuckoo hashing). So no entry is further than
//! one line from its own, and lines fill to more than nine tenths before any is refused; with a run
//! of neighbours instead, a large table refused its first entry when not yet half full.

/// Which prefix lengths a table has.
mod lengths;

pub use lengths::Lengths;

use crate::{
    addr::V6,
    class::{ClassId, NONE},
    control::{self, Policy},
    keyed,
    line::{Line, Memory, WORDS, Word},
    map::{Map, V6_FILTER_LINES},
    table::Full,
};

/// A prefix this long or longer has all its /32s in the filter; with a shorter one present the
/// policy says that the filter does not tell.
pub const FILTERED_FROM: u32 = 16;
/// Entries that may be moved to make room for one.
const MOVES: usize = 64;
/// Prefix lengths under which entries can stand: what a packet may have to look for.
pub const LENGTHS_MAX: u32 = 32;

/// Returns the class of the longest entry that covers `address`.
#[inline(always)]
pub fn lookup(memory: &impl Memory, generation: u32, policy: &Policy, address: V6) -> ClassId {
    if policy.v6_lengths == 0 || !policy.v6_unfiltered && !filter(memory, generation, policy, address) {
        return NONE;
    }
    let mut i = 0;
    while i < LENGTHS_MAX {
        if i >= policy.v6_lengths {
            return NONE;
        }
        let Some(lengths) = control::v6_lengths(memory, generation, i >> 6) else { return NONE };
        let length = u32::from(lengths.byte(i));
        let class = exact(memory, generation, policy, address.network(length), length);
        if class != NONE {
            return class;
        }
        i += 1;
    }
    NONE
}

#[inline(always)]
fn filter(memory: &impl Memory, generation: u32, policy: &Policy, address: V6) -> bool {
    let bit = filter_bit(policy, address);
    match memory.line(Map::V6Filter, generation * V6_FILTER_LINES + (bit >> 9)) {
        Some(line) => line.word(bit >> 6).load() >> (bit & 63) & 1 != 0,
        None => false,
    }
}

#[inline(always)]
const fn filter_bit(policy: &Policy, address: V6) -> u32 {
    keyed::hash(policy.seed, address.high >> 32, 0, 1) as u32 & (V6_FILTER_LINES * 512 - 1)
}

#[inline(always)]
fn exact(memory: &impl Memory, generation: u32, policy: &Policy, network: V6, length: u32) -> ClassId {
    let hash = keyed::hash(policy.seed, network.high, network.low, u64::from(length));
    let (own, tag) = (hash as u32, hash >> 16);
    let Some(line) = place(memory, generation, policy, own) else { return NONE };
    let words = line.load();
    let class = tagged(memory, words, tag);
    if class != NONE || words[7] == 0 {
        return class;
    }
    match place(memory, generation, policy, other(own, tag)) {
        Some(line) => tagged(memory, line.load(), tag),
        None => NONE,
    }
}

/// Returns the class in the slot with this tag.
#[inline(always)]
fn tagged(memory: &impl Memory, words: [u64; WORDS], tag: u64) -> ClassId {
    let mut class = 0;
    let mut i = 0;
    while i < WORDS {
        let rest = words[i] ^ tag << 16;
        class |= rest & memory.mask_if_zero(rest >> 16);
        i += 1;
    }
    class as ClassId
}

/// Returns the other line that an entry may be in, given the one or the other.
#[inline(always)]
const fn other(index: u32, tag: u64) -> u32 {
    index ^ ((tag >> 16) as u32 | 1)
}

/// Returns the line of an index, of which the lowest bits count.
#[inline(always)]
fn place<'m, M: Memory>(memory: &'m M, generation: u32, policy: &Policy, index: u32) -> Option<&'m Line> {
    let index = index & ((1 << policy.v6_bits) - 1);
    memory.line(Map::V6Lines, (generation << policy.v6_bits) + index)
}

/// Removes all entries of `generation`, which must not be in force.
pub fn clear(memory: &impl Memory, generation: u32, policy: &Policy) {
    super::clear_map(memory, Map::V6Filter, generation * V6_FILTER_LINES, V6_FILTER_LINES);
    super::clear_map(memory, Map::V6Lines, generation << policy.v6_bits, 1 << policy.v6_bits);
}

/// Adds an entry to `generation`, which must not be in force. Its length must be one under which
/// entries stand; [`Lengths::expand`] makes it so.
///
/// # Errors
/// [`Full`] where the entry does not fit.
pub fn insert(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    network: V6,
    length: u32,
    class: ClassId,
) -> Result<(), Full> {
    if length >= FILTERED_FROM {
        for step in 0..1u64 << 32u32.saturating_sub(length) {
            let within = V6 { high: network.high.wrapping_add(step << 32), low: 0 };
            let bit = filter_bit(policy, within);
            let line =
                memory.line(Map::V6Filter, generation * V6_FILTER_LINES + (bit >> 9)).ok_or(Full::Memory)?;
            let word = line.word(bit >> 6);
            word.store(word.load() | 1 << (bit & 63));
        }
    }
    let hash = keyed::hash(policy.seed, network.high, network.low, u64::from(length));
    let (own, tag) = (hash as u32, hash >> 16);
    let line = |index| place(memory, generation, policy, index).ok_or(Full::Memory);
    let lines = [line(own)?, line(other(own, tag))?];
    let mut entry = tag << 16 | u64::from(class);
    if let Some(word) = lines.iter().find_map(|line| slot(line, |held| held != 0 && held >> 16 == tag)) {
        word.store(entry);
        return Ok(());
    }
    if let Some(word) = lines.iter().find_map(|line| slot(line, |held| held == 0)) {
        word.store(entry);
        return Ok(());
    }
    // Both are full: take the place of another, which goes to its own other line, and so on. Lines
    // stay full by this, so what is not in its first line is still looked for in the second.
    let mut index = own;
    let mut path = [0; MOVES];
    for (step, from) in (0..).zip(&mut path) {
        *from = index;
        entry = exchange(line(index)?.word(step), entry);
        index = other(index, entry >> 16);
        if let Some(word) = slot(line(index)?, |held| held == 0) {
            word.store(entry);
            return Ok(());
        }
    }
    // No room within reach: put all back.
    for (step, from) in (0..MOVES as u32).zip(path).rev() {
        entry = exchange(line(from)?.word(step), entry);
    }
    Err(Full::Lines)
}

/// Returns the first word of `line` whose value is as wanted.
fn slot(line: &Line, wanted: impl Fn(u64) -> bool) -> Option<&Word> {
    (0..WORDS as u32).map(|i| line.word(i)).find(|word| wanted(word.load()))
}

/// Stores `new` and returns what was there.
fn exchange(word: &Word, new: u64) -> u64 {
    let held = word.load();
    word.store(new);
    held
}

/// Declares under which prefix lengths entries of `generation` stand, and returns how many there are.
pub fn set_lengths(memory: &impl Memory, generation: u32, lengths: &Lengths) -> u32 {
    let mut count = 0;
    for length in (1..=128).rev().filter(|length| lengths.stored(*length) == *length) {
        if let Some(line) = control::v6_lengths(memory, generation, count >> 6) {
            line.set_byte(count, length as u8);
            count += 1;
        }
    }
    count
}
