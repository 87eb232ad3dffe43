//! IPv6: a filter over /32s, then a tagged line per prefix length present.
//!
//! The filter is a line for each hash of a /32, with a bit for each (/32, length) that is listed there
//! (a blocked Bloom filter): one access tells which lengths are worth looking for, for a clean source
//! mostly none. Each of them costs one line of eight slots `tag (48) | class (16)`, longest first. Line
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
    table::{Full, is_free},
};

/// A prefix this long or longer has all its /32s in the filter; shorter ones are always looked for.
pub const FILTERED_FROM: u32 = 16;
/// Entries that may be moved to make room for one.
const MOVES: usize = 64;
/// Prefix lengths under which entries can stand: what a packet may have to look for.
pub const LENGTHS_MAX: u32 = 32;

/// Returns the class of the longest entry that covers `address`.
#[inline(always)]
pub fn lookup(memory: &impl Memory, generation: u32, policy: &Policy, address: V6) -> ClassId {
    if policy.v6_lengths == 0 {
        return NONE;
    }
    let Some(lengths) = control::v6_lengths(memory, generation) else { return NONE };
    let mut wanted = worth_looking(memory, generation, policy, lengths, address);
    let mut tries = 0;
    while tries < LENGTHS_MAX {
        if wanted == 0 {
            return NONE;
        }
        tries += 1;
        let length = u32::from(lengths.byte(lowest(wanted)));
        wanted &= wanted - 1;
        let class = exact(memory, generation, policy, address.network(length), length);
        if class != NONE {
            return class;
        }
    }
    NONE
}

/// Returns a bit for each of the `lengths`, the first the lowest, under which the /32 of `address` may
/// have entries.
#[inline(always)]
fn worth_looking(memory: &impl Memory, generation: u32, policy: &Policy, lengths: &Line, address: V6) -> u32 {
    let (index, hash) = filter(policy, address);
    let Some(line) = memory.line(Map::V6Filter, generation * V6_FILTER_LINES + index) else { return 0 };
    let mut wanted = 0;
    let mut i = 0;
    while i < LENGTHS_MAX {
        if i >= policy.v6_lengths {
            break;
        }
        let length = u32::from(lengths.byte(i));
        // 1 where the difference is negative.
        let unfiltered = length.wrapping_sub(FILTERED_FROM) >> 31;
        wanted |= (marked(line, hash, length) | unfiltered) << i;
        i += 1;
    }
    memory.opaque(wanted)
}

/// Returns the place of the lowest bit: how many are below it. BPF has no instruction for it.
#[inline(always)]
const fn lowest(bits: u32) -> u32 {
    let below = (bits & bits.wrapping_neg()).wrapping_sub(1);
    let pairs = below - (below >> 1 & 0x5555_5555);
    let fours = (pairs & 0x3333_3333) + (pairs >> 2 & 0x3333_3333);
    let eights = (fours + (fours >> 4)) & 0x0f0f_0f0f;
    eights.wrapping_mul(0x0101_0101) >> 24
}

/// Returns the line of the filter for the /32 of `address`, and what chooses the bits there.
#[inline(always)]
const fn filter(policy: &Policy, address: V6) -> (u32, u64) {
    let hash = keyed::hash(policy.seed, address.high >> 32, 0, 1);
    (hash as u32 & (V6_FILTER_LINES - 1), hash >> 32)
}

#[inline(always)]
fn marked(line: &Line, hash: u64, length: u32) -> u32 {
    let bit = filter_bit(hash, length);
    (line.word(bit >> 6).load() >> (bit & 63) & 1) as u32
}

/// Returns one of the 512 bits of a line for a length: the upper bits of a multiplication, which
/// depend on all bits of the hash and of the length.
#[inline(always)]
const fn filter_bit(hash: u64, length: u32) -> u32 {
    ((hash << 8 | length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as u32
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
            let (index, hash) = filter(policy, within);
            let line =
                memory.line(Map::V6Filter, generation * V6_FILTER_LINES + index).ok_or(Full::Memory)?;
            let bit = filter_bit(hash, length);
            let word = line.word(bit >> 6);
            word.store(word.load() | 1 << (bit & 63));
        }
    }
    let hash = keyed::hash(policy.seed, network.high, network.low, u64::from(length));
    let (own, tag) = (hash as u32, hash >> 16);
    let line = |index| place(memory, generation, policy, index).ok_or(Full::Memory);
    let lines = [line(own)?, line(other(own, tag))?];
    let mut entry = tag << 16 | u64::from(class);
    if let Some(word) = lines.iter().find_map(|line| slot(line, |held| !is_free(held) && held >> 16 == tag)) {
        word.store(entry);
        return Ok(());
    }
    if let Some(word) = lines.iter().find_map(|line| slot(line, is_free)) {
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
        if let Some(word) = slot(line(index)?, is_free) {
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

/// Removes the entry of exactly this prefix from `generation`, which must not be in force, if it is
/// there. The filter keeps its bits, which costs time alone.
///
/// # Errors
/// [`Full::Memory`] where the maps are smaller than the policy says.
pub fn remove(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    network: V6,
    length: u32,
) -> Result<(), Full> {
    let hash = keyed::hash(policy.seed, network.high, network.low, u64::from(length));
    let (own, tag) = (hash as u32, hash >> 16);
    for index in [own, other(own, tag)] {
        let line = place(memory, generation, policy, index).ok_or(Full::Memory)?;
        let taken = (0..WORDS as u32).take_while(|n| !is_free(line.word(*n).load())).count() as u32;
        if let Some(found) = (0..taken).find(|n| line.word(*n).load() >> 16 == tag) {
            let last = taken - 1;
            line.word(found).store(line.word(last).load());
            // What once found the line full is still looked for in its other line.
            line.word(last).store(if taken == WORDS as u32 { MARK } else { 0 });
            return Ok(());
        }
    }
    Ok(())
}

/// What the last word of a line holds when nothing is there any more.
const MARK: u64 = 1 << 16;

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
        if let Some(line) = control::v6_lengths(memory, generation) {
            line.set_byte(count, length as u8);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bit_is_found() {
        for place in 0..32 {
            for bits in [0, 1, 0x5555_5555, 0xffff_fffe, u32::MAX] {
                let bits = bits << place | 1 << place;
                assert_eq!(lowest(bits), bits.trailing_zeros(), "{bits:#b}");
            }
        }
    }
}
