//! A whole table at once.
//!
//! Entries fall on lines at random, and a table is larger than any cache: one by one, each would
//! cost a cache and a TLB miss. So they are first parted by the region of the table that they belong
//! to, and then put in region by region, each of which fits into the cache.

use std::{vec, vec::Vec};

use super::{Full, KEY_BITS, image, insert_placed, insert_wide, mark_host, mark_net, net};
use crate::{
    class::ClassId,
    control::Policy,
    line::Memory,
    map::{Map, V4_ROOT_LINES, V4_SPILL_LINES, V4_WIDE_LINES},
    table::clear_map,
};

/// Lines of a region are 128 KB, or more of them where that would be too many regions.
const REGION_LINE_BITS: u32 = 11;
const REGION_BITS_MAX: u32 = 9;
/// A word in the making: where a key goes, and its class below.
const CLASS_BITS: u32 = 16;

/// Fills `generation`, which must not be in force, with `entries` in place of all that it held.
/// They come in the order of [`insert`](super::insert).
///
/// # Errors
/// [`Full`] where they do not fit.
pub fn fill(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    entries: impl Iterator<Item = (u32, u8, ClassId)>,
) -> Result<(), Full> {
    for (map, lines) in
        [(Map::V4Root, V4_ROOT_LINES), (Map::V4Wide, V4_WIDE_LINES), (Map::V4Spill, V4_SPILL_LINES)]
    {
        clear_map(memory, map, generation * lines, lines);
    }
    let words = stage(memory, generation, policy, entries)?;
    let region_bits = (policy.v4_bits - REGION_LINE_BITS).min(REGION_BITS_MAX);
    let (words, ends) = part(&words, KEY_BITS + CLASS_BITS - region_bits, 1 << region_bits);
    let lines = 1 << (policy.v4_bits - region_bits);
    let mut start = 0;
    for (region, end) in (0..).zip(ends) {
        clear_map(memory, Map::V4Lines, (generation << policy.v4_bits) + region * lines, lines);
        for word in &words[start..end] {
            let (image, class) = (word >> CLASS_BITS, *word as ClassId);
            insert_placed(memory, generation, policy, image, class)?;
        }
        start = end;
    }
    Ok(())
}

/// Writes what goes by address, and returns the rest as words.
fn stage(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    entries: impl Iterator<Item = (u32, u8, ClassId)>,
) -> Result<Vec<u64>, Full> {
    let mut words = Vec::with_capacity(entries.size_hint().0);
    let mut push = |key, class| words.push(image(policy, key) << CLASS_BITS | u64::from(class));
    for (network, length, class) in entries {
        match u32::from(length) {
            length @ 0..=20 => {
                for step in 0..1u32 << (20 - length) {
                    insert_wide(memory, generation, network.wrapping_add(step << 12), class)?;
                }
            }
            length @ 21..=24 => {
                for step in 0..1u32 << (24 - length) {
                    let address = network.wrapping_add(step << 8);
                    mark_net(memory, generation, address)?;
                    push(net(address), class);
                }
            }
            length => {
                mark_host(memory, generation, network)?;
                for step in 0..1u32 << (32 - length.min(32)) {
                    push(u64::from(network.wrapping_add(step)), class);
                }
            }
        }
    }
    Ok(words)
}

/// Parts words by their bits from `shift` on, of which there are `parts` values, and keeps their
/// order within each. Returns them and where each part ends.
fn part(words: &[u64], shift: u32, parts: usize) -> (Vec<u64>, Vec<usize>) {
    let mut ends = vec![0; parts];
    for word in words {
        ends[(word >> shift) as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum - *end;
    }
    let mut parted = vec![0; words.len()];
    for word in words {
        let next = &mut ends[(word >> shift) as usize];
        parted[*next] = *word;
        *next += 1;
    }
    (parted, ends)
}
