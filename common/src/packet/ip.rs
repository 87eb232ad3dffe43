//! IPv4 and IPv6 headers, and the extension headers of the latter.

use super::{
    Defect, Fragment, Frame, Kind, Packet, cut_off, malformed, protocol, transport::transport, unreadable,
    word,
};
use crate::addr::{Address, V6};

const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;

/// IPv6 extension headers that are followed. RFC 8200 section 4.1 recommends an order in which at
/// most seven occur.
pub const EXTENSIONS_MAX: u32 = 8;

/// Reads an IPv4 packet (RFC 791 section 3.1), `at` bytes into the frame. If it is `open`, it goes on
/// in another frame, and may be longer than this one.
#[inline(always)]
pub(super) fn parse_v4(frame: &impl Frame, at: u32, open: bool, packet: &mut Packet) {
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
    } else if total < header_length || !(open || frame.holds(at + total)) {
        malformed(frame, packet, Defect::TotalLength);
    } else {
        transport(frame, frame.opaque(at + header_length), packet);
    }
}

/// Reads an IPv6 packet (RFC 8200 sections 3 and 4), likewise.
#[inline(always)]
pub(super) fn parse_v6(frame: &impl Frame, at: u32, open: bool, packet: &mut Packet) {
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
    } else if !(open || frame.holds(packet.length)) {
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

#[inline(always)]
const fn fragment(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}
