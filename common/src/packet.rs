//! From a frame to the few facts that a verdict needs.
//!
//! Reputation asks for the source address alone, so it must be found in every frame that carries
//! one: behind VLAN tags, in front of any protocol, in every fragment. A frame that no honest
//! sender makes is not refused here; its [`Defect`](crate::packet::Defect) is one of the facts.

/// IANA protocol numbers.
pub mod protocol;
/// Frames in plain memory.
mod slice;

use crate::{
    addr::{Address, V6},
    counter::Family,
    verdict::Reason,
};

/// A received frame.
pub trait Frame {
    /// Returns `N` 16-bit words in network order, `offset` bytes into the frame, or nothing where
    /// the frame ends before.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u16; N]>;

    /// Returns true if the frame has at least `length` bytes.
    fn holds(&self, length: u32) -> bool;

    /// Returns the length of the frame in bytes.
    fn length(&self) -> u32;

    /// Returns `value`. In the kernel the verifier forgets what it knew of it, so that paths that
    /// differ in nothing else become one.
    fn opaque(&self, value: u32) -> u32 {
        value
    }
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
        self.protocol == protocol::TCP && self.flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    }
}

mod tcp {
    pub(super) const SYN: u8 = 0x02;
    pub(super) const ACK: u8 = 0x10;
}

/// IEEE 802 numbers.
mod ethertype {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const VLAN: u16 = 0x8100;
    pub(super) const QINQ: u16 = 0x88a8;
    pub(super) const QINQ_OLD: u16 = 0x9100;
}

const ETHERNET_HEADER: u32 = 14;
const VLAN_TAG: u32 = 4;
const TAGS_MAX: u32 = 2;
const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;

/// IPv6 extension headers that are followed. RFC 8200 section 4.1 recommends an order in which at
/// most seven occur.
pub const EXTENSIONS_MAX: u32 = 8;

/// Reads the facts of a frame into `packet`.
#[inline(always)]
pub fn parse(frame: &impl Frame, packet: &mut Packet) {
    *packet = Packet::UNKNOWN;
    match find_ip(frame) {
        Ok((ethertype::IPV4, at)) => parse_v4(frame, at, packet),
        Ok((ethertype::IPV6, at)) => parse_v6(frame, at, packet),
        Ok((_, _)) => packet.length = frame.length(),
        Err(defect) => unreadable(frame, packet, defect),
    }
}

/// Returns the ethertype behind at most two VLAN tags, and where its payload starts.
#[inline(always)]
fn find_ip(frame: &impl Frame) -> Result<(u16, u32), Defect> {
    let [kind] = frame.load::<1>(ETHERNET_HEADER - 2).ok_or(Defect::Truncated)?;
    let mut kind = u16::from_be(kind);
    let mut at = ETHERNET_HEADER;
    let mut tags = 0;
    while is_tag(kind) {
        if tags == TAGS_MAX {
            return Err(Defect::VlanDepth);
        }
        tags += 1;
        let [_, inner] = frame.load::<2>(at).ok_or(Defect::Truncated)?;
        kind = u16::from_be(inner);
        at += VLAN_TAG;
    }
    Ok((kind, at))
}

const fn is_tag(kind: u16) -> bool {
    matches!(kind, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD)
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

/// RFC 791 section 3.1.
#[inline(always)]
fn parse_v4(frame: &impl Frame, at: u32, packet: &mut Packet) {
    let Some(header) = frame.load::<10>(at) else {
        return unreadable(frame, packet, Defect::Truncated);
    };
    let [version_ihl, _] = header[0].to_ne_bytes();
    let [hop_limit, protocol] = header[4].to_ne_bytes();
    let header_length = u32::from(version_ihl & 0xf) * 4;
    let total = u32::from(u16::from_be(header[1]));
    let offset = u16::from_be(header[3]);
    packet.kind = Kind::Ip;
    packet.source = Address::V4(word(header[6], header[7]));
    packet.length = at + total;
    packet.protocol = protocol;
    packet.hop_limit = hop_limit;
    packet.fragment = fragment(offset & 0x1fff, offset & 0x2000 != 0);
    if version_ihl >> 4 != 4 || header_length < IPV4_HEADER {
        malformed(frame, packet, Defect::HeaderLength);
    } else if total < header_length || !frame.holds(at + total) {
        malformed(frame, packet, Defect::TotalLength);
    } else {
        transport(frame, frame.opaque(at + header_length), packet);
    }
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn parse_v6(frame: &impl Frame, at: u32, packet: &mut Packet) {
    let Some(header) = frame.load::<20>(at) else {
        return unreadable(frame, packet, Defect::Truncated);
    };
    let [version, _] = header[0].to_ne_bytes();
    let [next, hop_limit] = header[3].to_ne_bytes();
    let payload = u32::from(u16::from_be(header[2]));
    packet.kind = Kind::Ip;
    packet.source = Address::from_v6(V6 {
        high: u64::from(word(header[4], header[5])) << 32 | u64::from(word(header[6], header[7])),
        low: u64::from(word(header[8], header[9])) << 32 | u64::from(word(header[10], header[11])),
    });
    packet.protocol = next;
    packet.hop_limit = hop_limit;
    // A jumbogram (RFC 2675) names its length in an option; the frame's own is as good here.
    let jumbo = payload == 0 && next == protocol::HOP_BY_HOP;
    packet.length = if jumbo { frame.length() } else { at + IPV6_HEADER + payload };
    if version >> 4 != 6 {
        malformed(frame, packet, Defect::HeaderLength);
    } else if !frame.holds(packet.length) {
        malformed(frame, packet, Defect::TotalLength);
    } else if let Some(at) = follow_extensions(frame, at + IPV6_HEADER, packet) {
        transport(frame, at, packet);
    }
}

/// Follows the extension headers of IPv6 to the transport header, and returns where it is. Nothing
/// where there is none to be read: a later fragment, or a chain that is cut off or too long.
#[inline(always)]
fn follow_extensions(frame: &impl Frame, at: u32, packet: &mut Packet) -> Option<u32> {
    let mut at = at;
    let mut followed = 0;
    // A loop that begins with a `match` is laid out tail first, which Linux 6.1 refuses ("back-edge").
    while followed < EXTENSIONS_MAX {
        if !is_extension(packet.protocol) {
            return Some(at);
        }
        at = skip_extension(frame, at, packet)?;
        followed += 1;
    }
    if !is_extension(packet.protocol) {
        return Some(at);
    }
    packet.defect = Some(Defect::ExtensionChain);
    None
}

/// Returns where the header behind this extension begins; nothing where there is none to be read.
#[inline(always)]
fn skip_extension(frame: &impl Frame, at: u32, packet: &mut Packet) -> Option<u32> {
    let Some(words) = frame.load::<2>(at) else {
        packet.defect = Some(cut_off(packet.fragment));
        return None;
    };
    let [after, length] = words[0].to_ne_bytes();
    let this = packet.protocol;
    let length = match this {
        protocol::FRAGMENT => 8,
        protocol::AH => (u32::from(length) + 2) * 4,
        _ => (u32::from(length) + 1) * 8,
    };
    let at = frame.opaque(at + length);
    if at > packet.length {
        packet.defect = Some(cut_off(packet.fragment));
        return None;
    }
    packet.protocol = after;
    if this == protocol::FRAGMENT {
        let offset = u16::from_be(words[1]);
        packet.fragment = fragment(offset >> 3, offset & 1 != 0);
        if packet.fragment == Fragment::Later {
            // What follows is the middle of a payload, whatever it looks like.
            return None;
        }
    }
    Some(at)
}

const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AH
            | protocol::DESTINATION
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}

/// Reads ports and flags, `at` bytes into the frame.
#[inline(always)]
fn transport(frame: &impl Frame, at: u32, packet: &mut Packet) {
    if packet.fragment == Fragment::Later {
        return;
    }
    let header = match packet.protocol {
        protocol::TCP => 20,
        protocol::SCTP | protocol::DCCP => 12,
        protocol::UDP | protocol::UDP_LITE | protocol::ICMP => 8,
        protocol::ICMPV6 => 4,
        _ => return,
    };
    let words = if at + header > packet.length { None } else { frame.load::<2>(at) };
    let Some([first, second]) = words else {
        packet.defect = Some(cut_off(packet.fragment));
        return;
    };
    if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
        packet.flags = first.to_ne_bytes()[0];
        return;
    }
    packet.source_port = u16::from_be(first);
    packet.destination_port = u16::from_be(second);
    if packet.protocol == protocol::TCP {
        match frame.load::<1>(at + 12) {
            Some([offset_flags]) => packet.flags = offset_flags.to_ne_bytes()[1],
            None => packet.defect = Some(Defect::Truncated),
        }
    }
}

/// What it is called that a packet ends before its headers do.
#[inline(always)]
const fn cut_off(fragment: Fragment) -> Defect {
    match fragment {
        Fragment::First => Defect::TinyFragment,
        Fragment::Whole | Fragment::Later => Defect::Truncated,
    }
}

/// Joins two words in network order.
#[inline(always)]
const fn word(high: u16, low: u16) -> u32 {
    (u16::from_be(high) as u32) << 16 | u16::from_be(low) as u32
}

#[inline(always)]
const fn fragment(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}
