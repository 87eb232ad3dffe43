//! What the ring buffer carries: a sample of packets that a rule spoke about.

use core::net::{IpAddr, Ipv6Addr};

use crate::{
    addr::{Address, V6},
    counter::{Answer, Outcome},
    verdict::Reason,
};

/// One sampled packet. Little-endian like the kernels that weir runs on; no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Jiffies at the packet, times the tick: µs since an arbitrary point.
    pub time: u64,
    /// Upper half of the source; 0 for IPv4.
    pub source_high: u64,
    /// Lower half of the source; `::ffff:a.b.c.d` for IPv4.
    pub source_low: u64,
    /// Index of the interface.
    pub ifindex: u32,
    /// Bytes, as counted.
    pub length: u32,
    /// Class of the source.
    pub class: u16,
    /// Source port, 0 without.
    pub source_port: u16,
    /// Destination port, 0 without.
    pub destination_port: u16,
    /// [`Reason`].
    pub reason: u8,
    /// [`Outcome`].
    pub outcome: u8,
    /// IP protocol.
    pub protocol: u8,
    /// Limit that spoke, 0 without.
    pub limit: u8,
    /// [`Answer`] of that limit.
    pub answer: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

impl Event {
    /// Size of an event in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Returns the two halves in which an event carries an address.
    #[inline(always)]
    #[must_use]
    pub const fn source_halves(address: Address) -> (u64, u64) {
        match address {
            Address::V4(bits) => (0, 0xffff << 32 | bits as u64),
            Address::V6(v6) => (v6.high, v6.low),
        }
    }

    /// Decodes an event from the ring buffer. Nothing where the length or an enum is not ours.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        let u64_at = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let u16_at = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let event = Self {
            time: u64_at(0)?,
            source_high: u64_at(8)?,
            source_low: u64_at(16)?,
            ifindex: u32_at(24)?,
            length: u32_at(28)?,
            class: u16_at(32)?,
            source_port: u16_at(34)?,
            destination_port: u16_at(36)?,
            reason: bytes[38],
            outcome: bytes[39],
            protocol: bytes[40],
            limit: bytes[41],
            answer: bytes[42],
            reserved: [0; 5],
        };
        Reason::from_wire(event.reason)?;
        Outcome::ALL.get(usize::from(event.outcome))?;
        Answer::ALL.get(usize::from(event.answer))?;
        Some(event)
    }

    /// Returns the source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        let v6 = V6 { high: self.source_high, low: self.source_low };
        match Address::from_v6(v6) {
            Address::V4(bits) => IpAddr::V4(bits.into()),
            Address::V6(v6) => IpAddr::V6(Ipv6Addr::from(v6)),
        }
    }
}
