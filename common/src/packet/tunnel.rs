//! Packets inside of packets: what a load balancer in front sends on.
//!
//! One level only. Who may be trusted to tell the truth about the inner packet is not decided here.

use super::{Fragment, Frame, Kind, Packet, ip, link, protocol, unreadable};

const UDP_HEADER: u32 = 8;
/// Generic UDP encapsulation (draft-ietf-intarea-gue section 3).
const GUE_PORT: u16 = 6080;
/// RFC 7348 section 5.
const VXLAN_PORT: u16 = 4789;
const VXLAN_HEADER: u32 = 8;
/// Outer headers that are followed, in bytes, so that all of the inner ones is within reach.
const OUTER_MAX: u32 = 0x1000;
/// A whole frame (RFC 1701: transparent Ethernet bridging).
const ETHERNET: u16 = 0x6558;

/// If `packet`, which was read from `frame`, is a tunnel, replaces its facts by those of the packet
/// inside and returns true. Its length stays: that is what was sent. Known are IP in IP (RFC 2003,
/// RFC 2473, RFC 4213), GUE and VXLAN.
#[inline(always)]
pub fn enter(frame: &impl Frame, packet: &mut Packet) -> bool {
    let Some((kind, at)) = find(frame, packet) else { return false };
    // The rest of the inner packet is in the other fragments of the outer one.
    let open = frame.opaque(u32::from(packet.fragment == Fragment::First)) != 0;
    let length = packet.length;
    let (kind, at) = (frame.opaque(u32::from(kind)), frame.opaque(at));
    *packet = Packet::UNKNOWN;
    let found = if kind == u32::from(ETHERNET) { link::find_ip(frame, at) } else { Ok((kind as u16, at)) };
    match found {
        Ok((link::IPV4, at)) => ip::parse_v4(frame, at, open, packet),
        Ok((link::IPV6, at)) => ip::parse_v6(frame, at, open, packet),
        Ok((_, _)) => {}
        Err(defect) => unreadable(frame, packet, defect),
    }
    packet.length = length;
    true
}

/// Returns what the packet carries if it is a tunnel, as an ethertype, and where that starts.
#[inline(always)]
fn find(frame: &impl Frame, packet: &Packet) -> Option<(u16, u32)> {
    let at = packet.transport;
    if packet.kind != Kind::Ip || packet.defect.is_some() || at == 0 || at > OUTER_MAX {
        return None;
    }
    // The compiler may not conclude from this bound that the offset needs no mask: the verifier does
    // not follow it.
    let at = frame.opaque(at);
    match (packet.protocol, packet.destination_port) {
        (protocol::IPV4, _) => Some((link::IPV4, at)),
        (protocol::IPV6, _) => Some((link::IPV6, at)),
        (protocol::UDP, GUE_PORT) => behind_gue(frame, at + UDP_HEADER),
        (protocol::UDP, VXLAN_PORT) => Some((ETHERNET, at + UDP_HEADER + VXLAN_HEADER)),
        _ => None,
    }
}

/// Variant 0 has a header, variant 1 is told from it by the version of IP.
#[inline(always)]
fn behind_gue(frame: &impl Frame, at: u32) -> Option<(u16, u32)> {
    let [first] = frame.load::<1>(at)?;
    let [first, carried] = first.to_ne_bytes();
    let behind = at + 4 + u32::from(first & 0x1f) * 4;
    match (first >> 4, carried) {
        // Two bits of variant, and one that says: a control message.
        (0 | 1, protocol::IPV4) => Some((link::IPV4, behind)),
        (0 | 1, protocol::IPV6) => Some((link::IPV6, behind)),
        (4, _) => Some((link::IPV4, at)),
        (6, _) => Some((link::IPV6, at)),
        _ => None,
    }
}
