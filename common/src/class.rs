//! What the reputation table says of an address.
//!
//! Allow entries, feeds and manual rules are merged in userspace into classes, so the kernel
//! resolves no precedence: it looks one number up and does what its class says.

use crate::{
    line::{Line, Memory},
    map::{CLASS_LINES, Map},
};

/// Number of a class. 0: the address is in no list.
pub type ClassId = u16;
/// The class of an address that is in no list.
pub const NONE: ClassId = 0;
/// A table entry that says "in no list" inside a wider one.
pub const HOLE: ClassId = u16::MAX;
/// Classes that a policy can have, [`NONE`] included.
pub const CAPACITY: u32 = 4096;

/// What happens to packets of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Go on to the limits.
    Observe = 0,
    /// Pass, whatever comes later.
    Allow = 1,
    /// Drop.
    Drop = 2,
}

/// A class as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// What happens to its packets.
    pub action: Action,
    /// Count the drop, and pass.
    pub shadow: bool,
    /// Which of a limit's profiles holds for its packets.
    pub profile: u8,
    /// A declared load balancer: of what it tunnels, the packet inside is judged.
    pub decap: bool,
}

const DECAP: u64 = 1 << 24;

impl Class {
    /// The class of addresses that are in no list.
    pub const UNLISTED: Self = Self { action: Action::Observe, shadow: false, profile: 0, decap: false };

    /// Returns the class in the form in which the kernel reads it.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.action as u64
            | (self.shadow as u64) << 8
            | (self.profile as u64) << 16
            | if self.decap { DECAP } else { 0 }
    }

    /// Returns the class from the form in which the kernel reads it.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            action: match bits & 0xff {
                1 => Action::Allow,
                2 => Action::Drop,
                _ => Action::Observe,
            },
            shadow: bits >> 8 & 1 != 0,
            profile: (bits >> 16 & 0xff) as u8,
            decap: bits & DECAP != 0,
        }
    }
}

/// Reads class `id` of `generation`.
#[inline(always)]
pub fn load(memory: &impl Memory, generation: u32, id: ClassId) -> Class {
    match line(memory, generation, id) {
        Some(line) => Class::from_bits(line.word(u32::from(id)).load()),
        None => Class::UNLISTED,
    }
}

/// Writes class `id` of `generation`, which must not be in force.
pub fn store(memory: &impl Memory, generation: u32, id: ClassId, class: Class) {
    if let Some(line) = line(memory, generation, id) {
        line.word(u32::from(id)).store(class.to_bits());
    }
}

#[inline(always)]
fn line<M: Memory>(memory: &M, generation: u32, id: ClassId) -> Option<&Line> {
    if u32::from(id) >= CAPACITY {
        return None;
    }
    memory.line(Map::Classes, generation * CLASS_LINES + u32::from(id) / 8)
}
