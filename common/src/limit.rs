//! Declared services and the limits that stand on them.
//!
//! A limit applies to declared services only, so that SSH or the kubelet on the same address are
//! never its collateral.

use crate::{
    gcra::{Bounds, Profile},
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
/// Limits on control packets, whatever their service.
pub const ON_CONTROL: u32 = 2;
/// Limits that one packet may meet.
pub const ASKED_MAX: u32 = PER_SERVICE + ON_CONTROL;
/// The service of management ports: no limit stands on it, and no list or ban cuts it off.
pub const MANAGEMENT: u8 = 255;

/// Profiles of a limit, chosen by the class of the source.
pub const PROFILES: usize = 3;
/// What the profiles are called.
pub const PROFILE_NAMES: [&str; PROFILES] = ["default", "partner", "suspicious"];
/// The profile of sources of which nothing is known.
pub const DEFAULT: u8 = 0;
/// The profile of trusted integrations.
pub const PARTNER: u8 = 1;
/// The profile of sources of low reputation.
pub const SUSPICIOUS: u8 = 2;

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
    /// Packets that cost a host more than they cost their sender: SYN without ACK, ICMP, fragments.
    Control = 3,
}

impl Dimension {
    /// Returns the name used in configuration, metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Connections => "connections",
            Self::Control => "control",
        }
    }
}

/// Which sources share a bucket: those with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Bits of an IPv4 address, at most 32. 0: all sources of both families share one bucket.
    pub v4_bits: u8,
    /// Bits of an IPv6 address, at most 64.
    pub v6_bits: u8,
}

impl Scope {
    /// Each IPv4 address and each IPv6 /64 has a bucket.
    pub const SOURCE: Self = Self { v4_bits: 32, v6_bits: 64 };
    /// All sources share one bucket.
    pub const ALL: Self = Self { v4_bits: 0, v6_bits: 0 };
}

/// A limit as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub dimension: Dimension,
    /// Counts what it would drop, and lets it pass.
    pub shadow: bool,
    /// Which sources share a bucket.
    pub scope: Scope,
    /// The soft band: packets that use more than so many 256ths of the burst are within the limit,
    /// and reported. 0: none.
    pub soft: u8,
    /// Rate and burst by the profile of the source's class.
    pub profiles: [Profile; PROFILES],
}

impl Limit {
    /// Reads the first word of limit `line`: all but its profiles.
    #[inline(always)]
    fn head(line: &Line) -> (Dimension, bool, Scope, u64) {
        let bits = line.word(0).load();
        let dimension = match bits & 0xff {
            1 => Dimension::Bytes,
            2 => Dimension::Connections,
            3 => Dimension::Control,
            _ => Dimension::Packets,
        };
        let scope = Scope { v4_bits: (bits >> 24 & 0x3f) as u8, v6_bits: (bits >> 16 & 0x7f) as u8 };
        (dimension, bits >> 8 & 1 != 0, scope, bits >> 32 & 0xff)
    }

    /// Writes limit `id` of `generation`, which must not be in force.
    pub fn store(&self, memory: &impl Memory, generation: u32, id: u8) {
        if let Some(line) = limit_line(memory, generation, id) {
            let mut words = [0; 8];
            words[0] = self.dimension as u64
                | u64::from(self.shadow) << 8
                | u64::from(self.scope.v6_bits) << 16
                | u64::from(self.scope.v4_bits) << 24
                | u64::from(self.soft) << 32;
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
pub struct Demand<'m> {
    /// Units to be charged: packets, bytes or connections. 0: the limit does not concern it.
    pub units: u32,
    /// Counts what it would drop, and lets it pass.
    pub shadow: bool,
    /// Which sources share a bucket.
    pub scope: Scope,
    soft: u64,
    line: &'m Line,
}

impl<'m> Demand<'m> {
    /// Reads what limit `id` of `generation` asks of `packet`.
    #[inline(always)]
    pub fn load(memory: &'m impl Memory, generation: u32, id: u8, packet: &Packet) -> Option<Self> {
        let line = limit_line(memory, generation, id)?;
        let (dimension, shadow, scope, soft) = Limit::head(line);
        let units = match dimension {
            Dimension::Packets => 1,
            Dimension::Bytes => packet.length,
            Dimension::Connections => u32::from(packet.opens_connection()),
            Dimension::Control => u32::from(packet.is_control()),
        };
        Some(Self { units, shadow, scope, soft, line })
    }

    /// Returns rate and burst for sources whose class has `profile`, and what their bucket may owe.
    #[inline(always)]
    #[must_use]
    pub fn terms(&self, profile: u8) -> (Profile, Bounds) {
        let Self { line, soft, .. } = *self;
        let at = 1 + 2 * u32::from(profile);
        let profile = Profile { increment: line.word(at).load(), tolerance: line.word(at + 1).load() };
        let bounds = Bounds {
            tolerance: profile.tolerance,
            soft: if soft == 0 { u64::MAX } else { profile.tolerance.wrapping_mul(soft) >> 8 },
            longest: line.word(LONGEST).load(),
        };
        (profile, bounds)
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

/// Returns the limits that `packet` for `service` meets: one byte each, from the lowest; 0 is none.
///
/// Limits on control packets stand on "service" 0. They concern packets without ports, and those
/// for declared services: what is not declared is never their collateral.
#[inline(always)]
pub fn limits_for(memory: &impl Memory, generation: u32, service: u8, packet: &Packet) -> u64 {
    let own = if service == 0 { 0 } else { limits_of(memory, generation, service) & 0xffff_ffff };
    if packet.is_control() && service != MANAGEMENT && (service != 0 || packet.destination_port == 0) {
        return own | limits_of(memory, generation, 0) << (8 * PER_SERVICE);
    }
    own
}

#[inline(always)]
fn limits_of(memory: &impl Memory, generation: u32, service: u8) -> u64 {
    match service_line(memory, generation, service) {
        Some(line) => line.word(u32::from(service)).load(),
        None => 0,
    }
}

/// Sets the limits of `service`, or of control packets (0); those beyond [`PER_SERVICE`] are left out.
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
