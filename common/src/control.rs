//! Settings that the agent writes and the kernel reads once a packet.
//!
//! Line 0 of [`Map::Control`](crate::map::Map::Control) is global, lines 1 and 2 name the
//! interfaces, and two lines a generation describe the policy of that generation. A packet reads
//! the generation once and judges by nothing of the other.

use crate::{
    counter::INTERFACES,
    line::{Line, Memory},
    map::Map,
};

const INTERFACE_LINE: u32 = 1;
/// First line of a policy. What stands before is of no generation, and outlives maps that are remade.
pub const POLICY_LINE: u32 = 3;
const LINES_PER_POLICY: u32 = 2;
/// Lines of the control map.
pub const LINES: u32 = POLICY_LINE + crate::map::GENERATIONS * LINES_PER_POLICY;

/// Words of line 0.
mod global {
    pub(super) const ABI: u32 = 0;
    pub(super) const GENERATION: u32 = 1;
    pub(super) const TICK: u32 = 2;
    pub(super) const CLOCK: u32 = 3;
    pub(super) const SEED: u32 = 4; // and 5
    pub(super) const EVENTS: u32 = 6;
    pub(super) const PUBLICATIONS: u32 = 7;
}

/// Words of a policy's first line.
mod policy {
    pub(super) const FLAGS: u32 = 0;
    pub(super) const BITS: u32 = 1;
    pub(super) const LENGTHS: u32 = 2;
    pub(super) const SEED: u32 = 3; // and 4
}

/// Two secret words, drawn at random: per boot for the limiter, per generation for the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64, pub u64);

/// What is the same for all generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global {
    /// [`crate::ABI_VERSION`] of the writer.
    pub abi: u32,
    /// Length of a jiffy in 2^-16 µs: `1e6 / HZ << 16`.
    pub tick: u64,
    /// What is to be added to `CLOCK_MONOTONIC`, in µs, to get the kernel's `jiffies * tick`. For
    /// userspace, which cannot read jiffies.
    pub clock_offset: u64,
    /// The limiter has 2^this lines.
    pub limiter_bits: u32,
    /// Secret of the limiter.
    pub seed: Seed,
    /// Events that one CPU may send in a second.
    pub events_per_second: u32,
}

impl Global {
    /// Reads the settings. Nothing where the map is empty.
    #[inline(always)]
    pub fn load(memory: &impl Memory) -> Option<Self> {
        let line = memory.settings()?;
        let abi = line.word(global::ABI).load();
        Some(Self {
            abi: abi as u32,
            tick: line.word(global::TICK).load(),
            clock_offset: line.word(global::CLOCK).load(),
            limiter_bits: (abi >> 32) as u32,
            seed: Seed(line.word(global::SEED).load(), line.word(global::SEED + 1).load()),
            events_per_second: line.word(global::EVENTS).load() as u32,
        })
    }

    /// Reads the length of a jiffy alone; 0 where the map is empty.
    #[inline(always)]
    pub fn load_tick(memory: &impl Memory) -> u64 {
        match memory.settings() {
            Some(line) => line.word(global::TICK).load(),
            None => 0,
        }
    }

    /// Reads how many events one CPU may send in a second; 0 where the map is empty.
    #[inline(always)]
    pub fn load_events(memory: &impl Memory) -> u64 {
        match memory.settings() {
            Some(line) => line.word(global::EVENTS).load(),
            None => 0,
        }
    }

    /// Writes the settings.
    pub fn store(self, line: &Line) {
        line.word(global::ABI).store(u64::from(self.abi) | u64::from(self.limiter_bits) << 32);
        line.word(global::TICK).store(self.tick);
        line.word(global::CLOCK).store(self.clock_offset);
        line.word(global::SEED).store(self.seed.0);
        line.word(global::SEED + 1).store(self.seed.1);
        line.word(global::EVENTS).store(u64::from(self.events_per_second));
    }
}

/// Returns the generation in force: 0 or 1.
#[inline(always)]
pub fn generation(memory: &impl Memory) -> u32 {
    match memory.settings() {
        Some(line) => (line.word(global::GENERATION).load() & 1) as u32,
        None => 0,
    }
}

/// Puts `generation` in force. Every packet from here on is judged by it.
pub fn publish(line: &Line, generation: u32) {
    let publications = line.word(global::PUBLICATIONS);
    publications.store(publications.load() + 1);
    line.word(global::GENERATION).store(u64::from(generation & 1));
}

/// Returns how many policies have been published since the maps were made.
#[must_use]
pub fn publications(line: &Line) -> u64 {
    line.word(global::PUBLICATIONS).load()
}

/// Returns the counter slot of the interface with index `ifindex`. Slot 0 stands for interfaces
/// without settings of their own; they are judged like all others.
#[inline(always)]
pub fn interface_slot(memory: &impl Memory, ifindex: u32) -> u32 {
    let Some(mut line) = memory.line(Map::Control, INTERFACE_LINE) else { return 0 };
    let mut slot = 1;
    while slot < INTERFACES {
        if slot == 8 {
            let Some(next) = memory.line(Map::Control, INTERFACE_LINE + 1) else { return 0 };
            line = next;
        }
        let known = line.word(slot).load() as u32;
        if known == ifindex {
            return slot;
        }
        if known == 0 {
            return 0;
        }
        slot += 1;
    }
    0
}

/// Gives the interface with index `ifindex` a counter slot. 0 ends the list.
pub fn set_interface(memory: &impl Memory, slot: u32, ifindex: u32) {
    if let Some(line) = memory.line(Map::Control, INTERFACE_LINE + slot / 8) {
        line.word(slot).store(u64::from(ifindex));
    }
}

/// What a malformed frame gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Malformed {
    /// It is dropped.
    #[default]
    Drop,
    /// It passes and is counted as one that would have been dropped.
    Shadow,
}

/// What a generation of the policy says as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Drops nothing; counts what would be dropped.
    pub shadow: bool,
    /// What a malformed frame gets.
    pub malformed: Malformed,
    /// The IPv4 table has 2^this lines.
    pub v4_bits: u32,
    /// The IPv6 table has 2^this lines.
    pub v6_bits: u32,
    /// How many different prefix lengths the IPv6 table holds.
    pub v6_lengths: u32,
    /// Secret of the table.
    pub seed: Seed,
}

const SHADOW: u64 = 1 << 0;
const MALFORMED_SHADOW: u64 = 1 << 1;

impl Policy {
    /// The policy of an empty map.
    pub const NONE: Self = Self {
        shadow: false,
        malformed: Malformed::Drop,
        v4_bits: 0,
        v6_bits: 0,
        v6_lengths: 0,
        seed: Seed(0, 0),
    };

    /// Reads the policy of `generation`.
    #[inline(always)]
    pub fn load(memory: &impl Memory, generation: u32) -> Option<Self> {
        let line = memory.line(Map::Control, POLICY_LINE + generation * LINES_PER_POLICY)?;
        let flags = line.word(policy::FLAGS).load();
        let bits = line.word(policy::BITS).load();
        Some(Self {
            shadow: flags & SHADOW != 0,
            malformed: if flags & MALFORMED_SHADOW == 0 { Malformed::Drop } else { Malformed::Shadow },
            v4_bits: (bits & 31) as u32,
            v6_bits: (bits >> 8 & 31) as u32,
            v6_lengths: (line.word(policy::LENGTHS).load() & 0xff) as u32,
            seed: Seed(line.word(policy::SEED).load(), line.word(policy::SEED + 1).load()),
        })
    }

    /// Writes the policy of `generation`, which must not be in force.
    pub fn store(self, memory: &impl Memory, generation: u32) {
        let Some(line) = memory.line(Map::Control, POLICY_LINE + generation * LINES_PER_POLICY) else {
            return;
        };
        let mut flags = 0;
        if self.shadow {
            flags |= SHADOW;
        }
        if self.malformed == Malformed::Shadow {
            flags |= MALFORMED_SHADOW;
        }
        line.word(policy::FLAGS).store(flags);
        line.word(policy::BITS).store(u64::from(self.v4_bits) | u64::from(self.v6_bits) << 8);
        line.word(policy::LENGTHS).store(u64::from(self.v6_lengths));
        line.word(policy::SEED).store(self.seed.0);
        line.word(policy::SEED + 1).store(self.seed.1);
    }
}

/// Returns the line that holds the IPv6 prefix lengths of `generation`, one byte each, longest first.
#[inline(always)]
pub fn v6_lengths<M: Memory>(memory: &M, generation: u32) -> Option<&Line> {
    memory.line(Map::Control, POLICY_LINE + generation * LINES_PER_POLICY + 1)
}
