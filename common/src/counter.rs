//! What is counted, and where. Every packet is counted once, at the exit.

use crate::{class::ClassId, verdict::Reason};

/// Interfaces with counters of their own, slot 0 (all others) included.
pub const INTERFACES: u32 = 16;

/// Packets and bytes. One per CPU; userspace adds them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes from the start of the frame to the end of the IP packet, without padding.
    pub bytes: u64,
}

/// What a packet is, as far as counters care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// Not IP, or not readable so far.
    Other = 0,
    /// IPv4, and IPv6 with a v4-mapped source.
    V4 = 1,
    /// IPv6.
    V6 = 2,
}

impl Family {
    /// All families, by number.
    pub const ALL: [Self; 3] = [Self::Other, Self::V4, Self::V6];

    /// Returns the name used in metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// How a packet left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// It passed.
    Pass = 0,
    /// It was dropped.
    Drop = 1,
    /// It passed, because the rule that would have dropped it is in shadow mode.
    WouldDrop = 2,
}

impl Outcome {
    /// All outcomes, by number.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Drop, Self::WouldDrop];

    /// Returns the name used in metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
        }
    }
}

/// What a limit said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Answer {
    /// Within the limit.
    Within = 0,
    /// Over it, and dropped.
    Drop = 1,
    /// Over it, and passed, because the limit is in shadow mode.
    WouldDrop = 2,
    /// Within the limit, and in its soft band: little of the burst is left.
    Near = 3,
}

impl Answer {
    /// All answers, by number.
    pub const ALL: [Self; 4] = [Self::Within, Self::Drop, Self::WouldDrop, Self::Near];

    /// Returns the name used in metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Within => "pass",
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
            Self::Near => "near",
        }
    }

    /// Returns what a limit says that does `outcome` to packets over it.
    #[inline(always)]
    #[must_use]
    pub const fn over(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Drop => Self::Drop,
            Outcome::Pass | Outcome::WouldDrop => Self::WouldDrop,
        }
    }
}

/// Entries of the counter map.
pub const COUNTERS: u32 =
    INTERFACES * Family::ALL.len() as u32 * Outcome::ALL.len() as u32 * Reason::CAPACITY;

/// Returns where packets of this kind are counted.
#[inline(always)]
#[must_use]
pub const fn index(slot: u32, family: Family, outcome: Outcome, reason: Reason) -> u32 {
    ((slot * Family::ALL.len() as u32 + family as u32) * Outcome::ALL.len() as u32 + outcome as u32)
        * Reason::CAPACITY
        + reason as u32
}

/// Entries of the class counter map: each class has one per outcome.
pub const CLASS_COUNTERS: u32 = crate::class::CAPACITY * 4;
/// Entries of the limit counter map, likewise.
pub const LIMIT_COUNTERS: u32 = crate::limit::CAPACITY * 4;

/// Returns where packets whose source has class `id` are counted.
#[inline(always)]
#[must_use]
pub const fn class_index(id: ClassId, outcome: Outcome) -> u32 {
    id as u32 * 4 + outcome as u32
}

/// Returns where packets that met `limit` are counted.
#[inline(always)]
#[must_use]
pub const fn limit_index(limit: u8, answer: Answer) -> u32 {
    limit as u32 * 4 + answer as u32
}

/// What a CPU keeps for itself, and the agent adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// Counts packets that met a limit; its golden-ratio multiple dithers fractions of a µs.
    pub sequence: u64,
    /// The second for which `events` counts, in 2^20 µs.
    pub window: u64,
    /// Events sent in this window.
    pub events: u64,
    /// Events left out because the budget of the window was spent.
    pub events_suppressed: u64,
    /// Events lost because the ring buffer was full.
    pub events_lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_place() {
        let mut seen = std::collections::HashSet::new();
        for slot in 0..INTERFACES {
            for family in Family::ALL {
                for outcome in Outcome::ALL {
                    for reason in Reason::ALL {
                        let i = index(slot, family, outcome, reason);
                        assert!(i < COUNTERS && seen.insert(i));
                    }
                }
            }
        }
    }
}
