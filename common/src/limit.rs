//! Declared services and the limits that stand on them.
//!
//! A limit applies to declared services only, so that SSH or the kubelet on the same address are
//! never its collateral.

use crate::{
    gcra::Profile,
    line::{Line, Memory},
    map::{LIMIT_LINES, Map, SERVICE_LINES},
    packet::{Packet, protocol},
};

/// Lines of one protocol's port table: 2^16 ports, a byte each.
pub const PORT_LINES: u32 = 1 << 10;
/// Services that a policy can declare, 0 (none) included.
pub const SERVICE_CAPACITY: u32 = 256;
/// Limits that a policy can have, 0 (none) included.
pub const CAPACITY: u32 = 128;
/// Limits on one service.
pub const PER_SERVICE: u32 = 4;
/// Profiles of a limit, chosen by the class of the source.
pub const PROFILES: usize = 3;

/// Word of a limit's line behind its head and its profiles: the longest of their tolerances.
const LONGEST: u32 = 7;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Packets.
    Packets = 0,
    /// Bytes of frames, without padding.
    Bytes = 1,
    /// TCP segments with SYN and without ACK.
    Connections = 2,
}

impl Dimension {
    /// Returns the name used in configuration, metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Connections => "connections",
        }
    }
}

/// A limit as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub dimension: Dimension,
    /// Counts what it would drop, and lets it pass.
    pub shadow: bool,
    /// IPv6 sources that share their first so many bits share a bucket; at most 64.
    pub v6_bits: u8,
    /// Rate and burst by the profile of the source's class.
    pub profiles: [Profile; PROFILES],
}

impl Limit {
    /// Reads the first word of limit `line`: all but its profiles.
    #[inline(always)]
    fn head(line: &Line) -> (Dimension, bool, u8) {
        let bits = line.word(0).load();
        let dimension = match bits & 0xff {
            1 => Dimension::Bytes,
            2 => Dimension::Connections,
            _ => Dimension::Packets,
        };
        (dimension, bits >> 8 & 1 != 0, (bits >> 16 & 0x7f) as u8)
    }

    /// Writes limit `id` of `generation`, which must not be in force.
    pub fn store(&self, memory: &impl Memory, generation: u32, id: u8) {
        if let Some(line) = limit_line(memory, generation, id) {
            let mut words = [0; 8];
            words[0] = self.dimension as u64 | u64::from(self.shadow) << 8 | u64::from(self.v6_bits) << 16;
            for (pair, profile) in words[1..7].chunks_exact_mut(2).zip(self.profiles) {
                pair[0] = profile.increment;
                pair[1] = profile.tolerance;
            }
            words[LONGEST as usize] = self.profiles.iter().map(|profile| profile.tolerance).fold(0, u64::max);
            line.store(words);
        }
    }
}

/// What a limit asks of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Units to be charged: packets, bytes or connections. 0: the limit does not concern it.
    pub units: u32,
    /// Counts what it would drop, and lets it pass.
    pub shadow: bool,
    /// First bits of an IPv6 source that name the bucket.
    pub v6_bits: u8,
    /// Rate and burst.
    pub profile: Profile,
    /// The longest tolerance of the limit's profiles: buckets may be shared by sources of different
    /// classes.
    pub longest: u64,
}

impl Demand {
    /// Reads what limit `id` of `generation` asks of `packet`, whose class has `profile`.
    #[inline(always)]
    pub fn load(memory: &impl Memory, generation: u32, id: u8, packet: &Packet, profile: u8) -> Option<Self> {
        let line = limit_line(memory, generation, id)?;
        let (dimension, shadow, v6_bits) = Limit::head(line);
        let units = match dimension {
            Dimension::Packets => 1,
            Dimension::Bytes => packet.length,
            Dimension::Connections => u32::from(packet.opens_connection()),
        };
        let at = 1 + 2 * u32::from(profile);
        let profile = Profile { increment: line.word(at).load(), tolerance: line.word(at + 1).load() };
        Some(Self { units, shadow, v6_bits, profile, longest: line.word(LONGEST).load() })
    }
}

#[inline(always)]
fn limit_line<M: Memory>(memory: &M, generation: u32, id: u8) -> Option<&Line> {
    memory.line(Map::Limits, generation * LIMIT_LINES + (u32::from(id) & (CAPACITY - 1)))
}

/// Returns the service that a packet is for. 0: none that is declared.
#[inline(always)]
pub fn service(memory: &impl Memory, generation: u32, packet: &Packet) -> u8 {
    let table = match packet.protocol {
        protocol::TCP => 0,
        protocol::UDP => 1,
        _ => return 0,
    };
    if packet.destination_port == 0 {
        return 0; // a later fragment
    }
    match port_line(memory, generation, table, packet.destination_port) {
        Some(line) => line.byte(u32::from(packet.destination_port)),
        None => 0,
    }
}

/// Declares that `port` of TCP (`table` 0) or UDP (1) belongs to `service`.
pub fn set_service(memory: &impl Memory, generation: u32, table: u32, port: u16, service: u8) {
    if let Some(line) = port_line(memory, generation, table, port) {
        line.set_byte(u32::from(port), service);
    }
}

#[inline(always)]
fn port_line<M: Memory>(memory: &M, generation: u32, table: u32, port: u16) -> Option<&Line> {
    memory.line(Map::Services, generation * SERVICE_LINES + table * PORT_LINES + u32::from(port) / 64)
}

/// Returns the limits of `service`: one byte each, from the lowest, 0 ends them.
#[inline(always)]
pub fn limits_of(memory: &impl Memory, generation: u32, service: u8) -> u64 {
    match service_line(memory, generation, service) {
        Some(line) => line.word(u32::from(service)).load(),
        None => 0,
    }
}

/// Sets the limits of `service`; those beyond [`PER_SERVICE`] are left out.
pub fn set_limits_of(memory: &impl Memory, generation: u32, service: u8, limits: &[u8]) {
    if let Some(line) = service_line(memory, generation, service) {
        let bits = limits
            .iter()
            .take(PER_SERVICE as usize)
            .enumerate()
            .fold(0, |bits, (i, &id)| bits | u64::from(id) << (8 * i));
        line.word(u32::from(service)).store(bits);
    }
}

#[inline(always)]
fn service_line<M: Memory>(memory: &M, generation: u32, service: u8) -> Option<&Line> {
    memory.line(Map::Services, generation * SERVICE_LINES + 2 * PORT_LINES + u32::from(service) / 8)
}
