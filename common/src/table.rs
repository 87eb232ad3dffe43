//! The reputation table: one lookup per packet.
//!
//! Entries are prefixes with a class; of several that cover an address the longest holds. Nothing
//! else is resolved here: precedence of allow entries, feeds and manual rules is settled in
//! userspace, which writes the generation that is not in force and then publishes it.
//!
//! A table that does not fit fails to build; it never loses an entry.

/// IPv4: two bits per /24, then quotient lines. Exact by construction.
pub mod v4;
/// IPv6: a filter over /32s, then a tagged line per prefix length present.
pub mod v6;

use crate::{
    addr::Address,
    class::{ClassId, HOLE, NONE},
    control::Policy,
    line::Memory,
};

/// Returns the class of `address` in `generation`, whose policy is `policy`.
#[inline(always)]
pub fn lookup(memory: &impl Memory, generation: u32, policy: &Policy, address: Address) -> ClassId {
    let class = match address {
        Address::V4(bits) => v4::lookup(memory, generation, policy, bits),
        Address::V6(v6) => v6::lookup(memory, generation, policy, v6),
    };
    if class == HOLE { NONE } else { class }
}

/// Why a table could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many entries share a line, and its substitute is full as well: more lines are needed.
    Lines,
    /// The maps are smaller than the policy says.
    Memory,
}

/// Returns true for a slot without a class: it lists nothing, though it may be marked.
const fn is_free(slot: u64) -> bool {
    slot as ClassId == NONE
}

/// Empties `lines` lines of `map` from line `first` on.
fn clear_map(memory: &impl Memory, map: crate::map::Map, first: u32, lines: u32) {
    for index in first..first + lines {
        if let Some(line) = memory.line(map, index) {
            line.store([0; 8]);
        }
    }
}
