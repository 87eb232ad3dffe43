//! From a frame to the few facts that a verdict needs.
//!
//! Reputation asks for the source address alone, so it must be found in every frame that carries
//! one: behind VLAN tags and other headers of the link, in front of any protocol, in every fragment.
//! A frame that no honest sender makes is not refused here; its [`Defect`](crate::packet::Defect) is
//! one of the facts.

/// The usual frame, at once.
mod usual;
/// From the start of a frame to its IP header.
mod link;
/// From an IP header to the transport header.
mod ip;
/// Ports and flags.
mod transport;
/// Packets inside of packets.
pub mod tunnel;
/// IANA protocol numbers.
pub mod protocol;
/// Frames in plain memory.
mod slice;

pub use ip::EXTENSIONS_MAX;

use crate::{addr::Address, counter::Family, verdict::Reason};

/// A received frame.
pub trait Frame: Sized {
    /// Returns `N` 16-bit words in network order, `offset` bytes into the frame, or nothing where
    /// the frame ends before.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u16; N]>;

    /// Returns the first `N` words, like [`load`](Self::load), where they are cheap to have.
    fn head<const N: usize>(&self) -> Option<[u16; N]>;

    /// Returns true if the frame has at least `length` bytes.
    fn holds(&self, length: u32) -> bool;

    /// Returns the length of the frame in bytes.
    fn length(&self) -> u32;

    /// Returns `value`. In the kernel the verifier forgets what it knew of it, so that paths that
    /// differ in nothing else become one.
    fn opaque(&self, value: u32) -> u32 {
        value
    }

    /// Returns the frame anew. In the kernel the verifier forgets how far it is known to reach, which
    /// would otherwise tell paths apart for as long as the frame is in use.
    #[must_use]
    fn again(&self) -> Self;
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// See [`Reason::Truncated`].
    Truncated,
    /// See [`Reason::VlanDepth`].
    VlanDepth,
    /// See [`Reason::HeaderLength`].
    HeaderLength,
    /// See [`Reason::TotalLength`].
    TotalLength,
    /// See [`Reason::ExtensionChain`].
    ExtensionChain,
    /// See [`Reason::TinyFragment`].
    TinyFragment,
}

impl Defect {
    /// Returns the reason with which frames of this defect end.
    #[inline(always)]
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Truncated => Reason::Truncated,
            Self::VlanDepth => Reason::VlanDepth,
            Self::HeaderLength => Reason::HeaderLength,
            Self::TotalLength => Reason::TotalLength,
            Self::ExtensionChain => Reason::ExtensionChain,
            Self::TinyFragment => Reason::TinyFragment,
        }
    }
}

/// Which part of an IP packet a frame carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    #[default]
    Whole,
    /// The first fragment: it has the transport header.
    First,
    /// A later fragment: it has no ports.
    Later,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No IP.
    Other,
    /// It ends, or errs, before its source is found.
    Unreadable,
    /// An IP packet whose source is known, whatever else is wrong with it.
    Ip,
}

/// The facts of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it carries.
    pub kind: Kind,
    /// Who sent it. Means something for [`Kind::Ip`] only, like all that follows but the length
    /// and the defect.
    pub source: Address,
    /// Bytes from the start of the frame to the end of the IP packet. Those of the frame where there
    /// is none, or where its header is wrong.
    pub length: u32,
    /// IP protocol behind all IPv6 extension headers (IANA protocol numbers).
    pub protocol: u8,
    /// IPv6 hop limit or IPv4 time to live.
    pub hop_limit: u8,
    /// Which part of the IP packet this is.
    pub fragment: Fragment,
    /// Source port of TCP, UDP, UDP-Lite, SCTP and DCCP; else 0.
    pub source_port: u16,
    /// Destination port, likewise.
    pub destination_port: u16,
    /// TCP flags; the type of an ICMP or ICMPv6 message; else 0.
    pub flags: u8,
    /// Where the header of that protocol starts, in bytes from the start of the frame. 0 where it is
    /// not to be read: in a later fragment, and where something is wrong before it.
    pub transport: u32,
    /// What is wrong with it.
    pub defect: Option<Defect>,
}

impl Packet {
    /// A frame of which nothing is known.
    pub const UNKNOWN: Self = Self {
        kind: Kind::Other,
        source: Address::V4(0),
        length: 0,
        protocol: 0,
        hop_limit: 0,
        fragment: Fragment::Whole,
        source_port: 0,
        destination_port: 0,
        flags: 0,
        transport: 0,
        defect: None,
    };

    /// Returns what counters call it.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        match (self.kind, self.source) {
            (Kind::Ip, Address::V4(_)) => Family::V4,
            (Kind::Ip, Address::V6(_)) => Family::V6,
            (Kind::Other | Kind::Unreadable, _) => Family::Other,
        }
    }

    /// Returns true for a TCP segment that asks for a new connection: SYN without ACK.
    #[inline(always)]
    #[must_use]
    pub const fn opens_connection(&self) -> bool {
        self.protocol == protocol::TCP && self.flags & (transport::SYN | transport::ACK) == transport::SYN
    }

    /// Returns true for a packet that costs the host more than its sender: one that asks for a
    /// connection, ICMP, a fragment.
    #[inline(always)]
    #[must_use]
    pub const fn is_control(&self) -> bool {
        matches!(self.protocol, protocol::ICMP | protocol::ICMPV6)
            || !matches!(self.fragment, Fragment::Whole)
            || self.opens_connection()
    }
}

/// Reads the facts of a frame into `packet`.
#[inline(always)]
pub fn parse(frame: &impl Frame, packet: &mut Packet) {
    if let Some(usual) = usual::parse(frame) {
        *packet = usual;
        return;
    }
    *packet = Packet::UNKNOWN;
    match link::find_ip(frame, 0) {
        Ok((link::IPV4, at)) => ip::parse_v4(frame, at, false, packet),
        Ok((link::IPV6, at)) => ip::parse_v6(frame, at, false, packet),
        Ok((_, _)) => packet.length = frame.length(),
        Err(defect) => unreadable(frame, packet, defect),
    }
}

#[inline(always)]
fn unreadable(frame: &impl Frame, packet: &mut Packet, defect: Defect) {
    packet.kind = Kind::Unreadable;
    malformed(frame, packet, defect);
}

/// What a header in which something cannot be says of the length is not to be counted.
#[inline(always)]
fn malformed(frame: &impl Frame, packet: &mut Packet, defect: Defect) {
    packet.length = frame.length();
    packet.defect = Some(defect);
}

/// Joins two words in network order.
#[inline(always)]
const fn word(high: u16, low: u16) -> u32 {
    (u16::from_be(high) as u32) << 16 | u16::from_be(low) as u32
}

/// What it is called that a packet ends before its headers do.
#[inline(always)]
const fn cut_off(fragment: Fragment) -> Defect {
    match fragment {
        Fragment::First => Defect::TinyFragment,
        Fragment::Whole | Fragment::Later => Defect::Truncated,
    }
}
