//! Part of a table in place of what stood there.

use super::{SLOTS, image, insert, insert_wide, net, place, set_block, spill_line};
use crate::{
    class::{ClassId, NONE},
    control::Policy,
    line::{Line, Memory},
    map::Map,
    table::{Full, is_free},
};

/// Length of the prefixes that can be rewritten one by one: each has a class of its own in
/// [`Map::V4Wide`], and half a word of [`Map::V4Root`].
pub const BLOCK_LENGTH: u8 = 20;

/// What the last slot of a line holds when nothing is there any more: class 0 lists nothing, and the
/// slot is not empty, so what once found the line full is still looked for apart from it.
const MARK: u64 = 1 << 16;

/// Puts `after` in place of `before` in the /20 at `block` of `generation`, which must not be in
/// force. Both are the entries longer than /20, in the order of [`insert`]; `before` are exactly those
/// that the table has there. `base` is the class of the longest prefix that covers the whole block,
/// [`NONE`] where there is none.
///
/// # Errors
/// [`Full`] where an entry does not fit; the block is then neither the one nor the other.
pub fn rewrite(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    block: u32,
    base: ClassId,
    before: impl Iterator<Item = (u32, u8, ClassId)>,
    after: impl Iterator<Item = (u32, u8, ClassId)>,
) -> Result<(), Full> {
    for (network, length, _) in before {
        remove(memory, generation, policy, network, u32::from(length))?;
    }
    if base == NONE {
        // Sixteen times `state::NOTHING`.
        set_block(memory, generation, block, 0, NONE)?;
    } else {
        insert_wide(memory, generation, block, base)?;
    }
    for (network, length, class) in after {
        insert(memory, generation, policy, network, u32::from(length), class)?;
    }
    Ok(())
}

/// Removes the keys of an entry longer than /20. The root stays as it is.
fn remove(
    memory: &impl Memory,
    generation: u32,
    policy: &Policy,
    network: u32,
    length: u32,
) -> Result<(), Full> {
    if length <= 24 {
        for n in 0..1u32 << (24 - length) {
            let key = net(network.wrapping_add(n << 8));
            remove_placed(memory, generation, policy, image(policy, key))?;
        }
    } else {
        for n in 0..1u32 << (32 - length.min(32)) {
            let key = u64::from(network.wrapping_add(n));
            remove_placed(memory, generation, policy, image(policy, key))?;
        }
    }
    Ok(())
}

/// Removes the key with this image from its line and from where it may be apart from it. Slots that
/// are taken stay in front of those that are free.
fn remove_placed(memory: &impl Memory, generation: u32, policy: &Policy, image: u64) -> Result<(), Full> {
    let (index, remainder) = place(policy, image);
    let line = memory.line(Map::V4Lines, (generation << policy.v4_bits) + index).ok_or(Full::Memory)?;
    let taken = (0..SLOTS).take_while(|n| !is_free(slot(line, *n))).count() as u32;
    if let Some(found) = (0..taken).find(|n| slot(line, *n) >> 16 == remainder) {
        let last = taken - 1;
        set_slot(line, found, slot(line, last));
        set_slot(line, last, if last == SLOTS - 1 { MARK } else { 0 });
    }
    if slot(line, SLOTS - 1) == 0 {
        return Ok(());
    }
    let line = spill_line(memory, generation, policy, image).ok_or(Full::Memory)?;
    let words = line.load();
    let taken = words.iter().take_while(|word| **word != 0).count() as u32;
    if let Some(found) = (0..taken).find(|n| line.word(*n).load() >> 16 == image) {
        line.word(found).store(line.word(taken - 1).load());
        line.word(taken - 1).store(0);
    }
    Ok(())
}

fn slot(line: &Line, n: u32) -> u64 {
    line.word(n / 2).load() >> (n % 2 * 32) & 0xffff_ffff
}

fn set_slot(line: &Line, n: u32, value: u64) {
    let (word, shift) = (line.word(n / 2), n % 2 * 32);
    word.store(word.load() & !(0xffff_ffff << shift) | value << shift);
}
