//! IPv4: two bits per /24, then quotient lines. Exact by construction.
//!
//! The root says of each /24 what there is to look up, so a clean source costs one access to 4 MB.
//! A /32 is found in a line of sixteen slots `remainder (16) | class (16)`: a keyed permutation of
//! the address gives line and remainder, so equality of the remainder is equality of the address.
//! Prefixes from /21 to /24 are entries per /24 in the same lines (bit 32 of the key tells them
//! apart), shorter ones a class per /20 at its own place. What finds its line full goes to a small table with
//! whole keys.

/// A whole table at once.
#[cfg(any(test, feature = "std"))]
mod fill;
/// Part of a table in place of what stood there.
mod edit;

pub use edit::{BLOCK_LENGTH, rewrite};
#[cfg(any(test, feature = "std"))]
pub use fill::fill;

use crate::{
    class::{ClassId, NONE},
    control::Policy,
    keyed,
    line::{Line, Memory},
    map::{Map, V4_ROOT_LINES, V4_SPILL_LINES, V4_WIDE_LINES},
    table::{Full, is_free},
};

/// What the root says of a /24.
mod state {
    /// Nothing in it is listed.
    pub(super) const NOTHING: u64 = 0;
    /// Single addresses are listed, nothing else.
    pub(super) const HOSTS: u64 = 1;
    /// All of it is listed, as a /24 or as part of a wider prefix.
    pub(super) const WHOLE: u64 = 2;
    /// Several of these nest: look from the longest to the shortest.
    pub(super) const NESTED: u64 = 3;
}

/// Bits of a key: 32 of an address, or 24 of a /24 with bit 32 set.
const KEY_BITS: u32 = 33;
const NET: u64 = 1 << 32;
const SLOTS: u32 = 16;

/// Returns the class of the longest entry that covers `address`.
#[inline(always)]
pub fn lookup(memory: &impl Memory, generation: u32, policy: &Policy, address: u32) -> ClassId {
    match root(memory, generation, address) {
        state::NOTHING => NONE,
        state::HOSTS => exact(memory, generation, policy, u64::from(address)),
        state::WHOLE => {
            let class = wide(memory, generation, address);
            if class == NONE { exact(memory, generation, policy, net(address)) } else { class }
        }
        _ => {
            let mut class = exact(memory, generation, policy, u64::from(address));
            if class == NONE {
                class = exact(memory, generation, policy, net(address));
            }
            if class == NONE {
                class = wide(memory, generation, address);
            }
            class
        }
    }
}

#[inline(always)]
const fn net(address: u32) -> u64 {
    NET | (address >> 8) as u64
}

/// Returns the two bits of the /24 of `address`. A line of the root is a /16.
#[inline(always)]
fn root(memory: &impl Memory, generation: u32, address: u32) -> u64 {
    match memory.line(Map::V4Root, generation * V4_ROOT_LINES + (address >> 16)) {
        Some(line) => line.word(address >> 13 & 7).load() >> ((address >> 8 & 31) * 2) & 3,
        None => state::NOTHING,
    }
}

/// Returns the class of the /20 of `address`.
#[inline(always)]
fn wide(memory: &impl Memory, generation: u32, address: u32) -> ClassId {
    match memory.line(Map::V4Wide, generation * V4_WIDE_LINES + (address >> 17)) {
        Some(line) => line.half(address >> 12),
        None => NONE,
    }
}

/// Returns the image of a key under the secret permutation, which stands for the key.
#[inline(always)]
const fn image(policy: &Policy, key: u64) -> u64 {
    keyed::permute(policy.seed, KEY_BITS, key)
}

/// Where an image belongs: its line, and what tells it apart there.
#[inline(always)]
const fn place(policy: &Policy, image: u64) -> (u32, u64) {
    let remainder_bits = KEY_BITS - policy.v4_bits;
    ((image >> remainder_bits) as u32, image & ((1 << remainder_bits) - 1))
}

/// Returns the class stored for exactly this key.
#[inline(always)]
fn exact(memory: &impl Memory, generation: u32, policy: &Policy, key: u64) -> ClassId {
    let image = image(policy, key);
    let (index, remainder) = place(policy, image);
    let Some(line) = memory.line(Map::V4Lines, (generation << policy.v4_bits) + index) else {
        return NONE;
    };
    let words = line.load();
    let pattern = remainder << 16 | remainder << 48;
    let mut both = 0;
    let mut i = 0;
    while i < words.len() {
        both |= words[i] & matching(words[i] ^ pattern);
        i += 1;
    }
    let class = (both | both >> 32) & 0xffff;
    if class == 0 && words[7] >> 32 != 0 {
        return spilled(memory, generation, policy, image);
    }
    class as ClassId
}

/// Returns the lower 16 bits of those halves of `word` whose upper 16 bits are 0. Two slots at a time,
/// and without branches: sixteen of them would be as many paths for the verifier.
#[inline(always)]
const fn matching(word: u64) -> u64 {
    const REMAINDERS: u64 = 0x7fff_0000_7fff_0000;
    const TOP: u64 = 0x8000_0000_8000_0000;
    // The top bit of a half is set unless all of its upper 16 bits are 0; nothing carries over.
    let nonzero = ((word & REMAINDERS) + REMAINDERS) | word;
    ((!nonzero & TOP) >> 31) * 0xffff
}

/// Returns the class stored for the key with this image apart from its full line.
#[inline(always)]
fn spilled(memory: &impl Memory, generation: u32, policy: &Policy, image: u64) -> ClassId {
    let Some(line) = spill_line(memory, generation, policy, image) else { return NONE };
    let words = line.load();
    let mut class = 0;
    let mut i = 0;
    while i < words.len() {
        let rest = words[i] ^ image << 16;
        class |= rest & memory.mask_if_zero(rest >> 16);
        i += 1;
    }
    class as ClassId
}

#[inline(always)]
fn spill_line<'m, M: Memory>(
    memory: &'m M,
    generation: u32,
    policy: &Policy,
    image: u64,
) -> Option<&'m Line> {
    let index = keyed::hash(policy.seed, image, 0, 0) as u32 & (V4_SPILL_LINES - 1);
    memory.line(Map::V4Spill, generation * V4_SPILL_LINES + index)
}

/// Removes all entries of `generation`, which must not be in force.
pub fn clear(memory: &impl Memory, generation: u32, policy: &Policy) {
    for (map, lines) in [
        (Map::V4Root, V4_ROOT_LINES),
        (Map::V4Wide, V4_WIDE_LINES),
        (Map::V4Lines, 1 << policy.v4_bits),
        (Map::V4Spill, V4_SPILL_LINES),
    ] {
        super::clear_map(memory, map, generation * lines, lines);
    }
}

/// Adds an entry to `generation`, which must not be in force. Entries come in the order of their
/// first address, the wider first of those that share it: each is written over what covers it.
///
/// # Errors
/// [`Full`] where the entry does not fit.
pub fn insert(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    network: u32,
    length: u32,
    class: ClassId,
) -> Result<(), Full> {
    match length {
        0..=20 => {
            for step in 0..1u32 << (20 - length) {
                insert_wide(memory, generation, network.wrapping_add(step << 12), class)?;
            }
        }
        21..=24 => {
            for step in 0..1u32 << (24 - length) {
                let address = network.wrapping_add(step << 8);
                mark_net(memory, generation, address)?;
                insert_placed(memory, generation, policy, image(policy, net(address)), class)?;
            }
        }
        _ => {
            mark_host(memory, generation, network)?;
            for step in 0..1u32 << (32 - length.min(32)) {
                let key = u64::from(network.wrapping_add(step));
                insert_placed(memory, generation, policy, image(policy, key), class)?;
            }
        }
    }
    Ok(())
}

/// Says in the root that the /24 of `address` is an entry.
fn mark_net(memory: &impl Memory, generation: u32, address: u32) -> Result<(), Full> {
    let inside = wide(memory, generation, address) != NONE;
    set_root(memory, generation, address, if inside { state::NESTED } else { state::WHOLE })
}

/// Says in the root that addresses in the /24 of `address` are entries.
fn mark_host(memory: &impl Memory, generation: u32, address: u32) -> Result<(), Full> {
    let inside = root(memory, generation, address) >= state::WHOLE;
    set_root(memory, generation, address, if inside { state::NESTED } else { state::HOSTS })
}

fn insert_wide(memory: &impl Memory, generation: u32, address: u32, class: ClassId) -> Result<(), Full> {
    const ALL_WHOLE: u64 = 0xaaaa_aaaa;
    set_block(memory, generation, address, ALL_WHOLE, class)
}

/// Writes what the root says of the sixteen /24s of a /20, and the class of the /20.
fn set_block(
    memory: &impl Memory,
    generation: u32,
    address: u32,
    states: u64,
    class: ClassId,
) -> Result<(), Full> {
    let root = memory.line(Map::V4Root, generation * V4_ROOT_LINES + (address >> 16)).ok_or(Full::Memory)?;
    let wide = memory.line(Map::V4Wide, generation * V4_WIDE_LINES + (address >> 17)).ok_or(Full::Memory)?;
    // Sixteen /24s are half a word.
    let (word, shift) = (root.word(address >> 13 & 7), (address >> 12 & 1) * 32);
    word.store(word.load() & !(0xffff_ffff << shift) | states << shift);
    wide.set_half(address >> 12, class);
    Ok(())
}

fn set_root(memory: &impl Memory, generation: u32, address: u32, state: u64) -> Result<(), Full> {
    let line = memory.line(Map::V4Root, generation * V4_ROOT_LINES + (address >> 16)).ok_or(Full::Memory)?;
    let (word, shift) = (line.word(address >> 13 & 7), (address >> 8 & 31) * 2);
    word.store(word.load() & !(3 << shift) | state << shift);
    Ok(())
}

/// Writes the entry whose key has this image, in its line or, where that is full, apart from it.
fn insert_placed(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    image: u64,
    class: ClassId,
) -> Result<(), Full> {
    let (index, remainder) = place(policy, image);
    let line = memory.line(Map::V4Lines, (generation << policy.v4_bits) + index).ok_or(Full::Memory)?;
    for pair in 0..SLOTS / 2 {
        let word = line.word(pair);
        let both = word.load();
        for shift in [0, 32] {
            let held = both >> shift & 0xffff_ffff;
            if is_free(held) || held >> 16 == remainder {
                let new = remainder << 16 | u64::from(class);
                word.store(both & !(0xffff_ffff << shift) | new << shift);
                return Ok(());
            }
        }
    }
    let line = spill_line(memory, generation, policy, image).ok_or(Full::Memory)?;
    for slot in 0..8 {
        let word = line.word(slot);
        let held = word.load();
        if held == 0 || held >> 16 == image {
            word.store(image << 16 | u64::from(class));
            return Ok(());
        }
    }
    Err(Full::Lines)
}
