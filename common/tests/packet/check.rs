//! What holds for every frame, and another parser beside ours: etherparse. Fuzzing runs the same.
//!
//! etherparse is the stricter one: what it refuses may still have a source for us, with a defect.
//! Where both read a frame they must find the same source, protocol, ports and fragment, with these
//! differences that are meant:
//! - it knows no LLC/SNAP, PPPoE and MPLS: those are taken off for it by [`peel`] below;
//! - three VLAN tags and MACsec: we do not look behind them (the first is a defect, the second no IP);
//! - a v4-mapped source is the IPv4 address that it names;
//! - an IPv6 payload length of 0 is 0 unless hop-by-hop options follow, as it is for Linux; for
//!   etherparse it is always "to the end";
//! - the ethertype says which IP it is, as it does for Linux; their lax parser goes by the version;
//! - an authentication header is followed in IPv6 only; in IPv4 it is a protocol like ESP;
//! - mobility, HIP and shim6 headers, and hop-by-hop options in the wrong place, are followed by us;
//! - behind the header of a later fragment we read nothing, and of two fragment headers the last
//!   counts;
//! - a first fragment has ports for us, so its transport header must be whole.

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice};
use weir_common::{
    addr::Address,
    counter::Family,
    packet::{Defect, Fragment, Kind, Packet, parse, protocol, tunnel},
};

/// What became of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Compared {
    /// They refuse the frame, or it has none for both of us.
    Nothing,
    /// The sources agree.
    Source,
    /// Protocol, fragment and ports as well.
    All,
}

/// Checks a frame.
pub(crate) fn check(frame: &[u8]) -> Compared {
    let mut packet = Packet::UNKNOWN;
    parse(&frame, &mut packet);
    sane(frame, &packet);
    inner_is_sane(frame, packet);
    agrees(frame, &packet)
}

fn sane(frame: &[u8], packet: &Packet) {
    assert!(packet.length as usize <= frame.len());
    if packet.kind != Kind::Ip {
        assert_eq!(packet.length as usize, frame.len());
        assert_eq!(packet.family(), Family::Other);
        assert_eq!((packet.source_port, packet.destination_port, packet.flags), (0, 0, 0));
    }
    if packet.transport != 0 {
        assert!(packet.kind == Kind::Ip && packet.transport <= packet.length);
    }
    match (packet.kind, packet.defect) {
        (Kind::Other, defect) => assert_eq!(defect, None),
        (Kind::Ip, Some(Defect::HeaderLength | Defect::TotalLength)) => {
            assert_eq!(packet.length as usize, frame.len());
        }
        _ => facts_are_sane(packet),
    }
}

/// What holds wherever the packet comes from.
fn facts_are_sane(packet: &Packet) {
    match (packet.kind, packet.defect) {
        (Kind::Other, defect) => assert_eq!(defect, None),
        (Kind::Unreadable, defect) => {
            assert!(matches!(defect, Some(Defect::Truncated | Defect::VlanDepth)), "{defect:?}");
        }
        (Kind::Ip, Some(Defect::TinyFragment)) => assert_eq!(packet.fragment, Fragment::First),
        (Kind::Ip, defect) => assert_ne!(defect, Some(Defect::VlanDepth)),
    }
    if packet.fragment == Fragment::Later || !has_ports(packet.protocol) || packet.defect.is_some() {
        assert_eq!((packet.source_port, packet.destination_port), (0, 0));
    }
    if packet.opens_connection() {
        assert_eq!(packet.protocol, protocol::TCP);
    }
}

/// What is inside of a tunnel is a packet like any other, of the length of the outer one.
fn inner_is_sane(frame: &[u8], outer: Packet) {
    let mut packet = outer;
    if tunnel::enter(&frame, &mut packet) {
        assert!(outer.kind == Kind::Ip && outer.defect.is_none() && outer.transport != 0);
        assert_eq!(packet.length, outer.length);
        facts_are_sane(&packet);
    } else {
        assert_eq!(packet, outer);
    }
}

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::SCTP | protocol::DCCP)
}

/// A frame without the headers of its link.
enum Peeled<'a> {
    /// An ethertype that is no header of the link, and what follows.
    Type(u16, &'a [u8]),
    /// Nothing that is looked into.
    Other,
    /// Cut off, or too deep.
    Unreadable,
}

/// Takes the headers of the link off, on slices and by the tables of the standards.
fn peel(frame: &[u8]) -> Peeled<'_> {
    let mut rest = frame.get(12..).unwrap_or_default();
    let mut tags = 0;
    let mut behind_llc = false;
    loop {
        let &[high, low, ref after @ ..] = rest else { return Peeled::Unreadable };
        let kind = u16::from_be_bytes([high, low]);
        match kind {
            0x8100 | 0x88a8 | 0x9100 if tags == 2 || behind_llc => return Peeled::Unreadable,
            0x8100 | 0x88a8 | 0x9100 => {
                tags += 1;
                let [_, _, after @ ..] = after else { return Peeled::Unreadable };
                rest = after;
            }
            0..0x0600 if behind_llc => return Peeled::Type(kind, after),
            0..0x0600 => match after {
                [0xaa, 0xaa, 3, 0, 0, 0 | 0xf8, after @ ..] => {
                    behind_llc = true;
                    rest = after;
                }
                [0xaa, 0xaa, 3, 0, _, _, _, _, ..] => return Peeled::Other,
                [0xaa, 0xaa, 3, 0, ..] | [] | [_] | [_, _] | [_, _, _] => return Peeled::Unreadable,
                _ => return Peeled::Other,
            },
            0x8864 => return peel_ppp(after.get(6..).unwrap_or_default()),
            0x8847 | 0x8848 => return peel_labels(after),
            _ => return Peeled::Type(kind, after),
        }
    }
}

fn peel_ppp(rest: &[u8]) -> Peeled<'_> {
    match rest {
        [0, 0x21, after @ ..] => Peeled::Type(0x0800, after),
        [0, 0x57, after @ ..] => Peeled::Type(0x86dd, after),
        [2, 0x81 | 0x83, after @ ..] => peel_labels(after),
        [] | [_] | [0x21 | 0x57, ..] => Peeled::Unreadable,
        _ => Peeled::Other,
    }
}

fn peel_labels(rest: &[u8]) -> Peeled<'_> {
    let Some(labels) = rest.chunks_exact(4).take(4).position(|label| label[2] & 1 != 0) else {
        return Peeled::Unreadable;
    };
    match &rest[4 * (labels + 1)..] {
        [] | [_] => Peeled::Unreadable,
        packet @ [0x40..=0x4f, ..] => Peeled::Type(0x0800, packet),
        packet @ [0x60..=0x6f, ..] => Peeled::Type(0x86dd, packet),
        _ => Peeled::Other,
    }
}

/// Compares with what etherparse finds, if it finds anything.
fn agrees(frame: &[u8], packet: &Packet) -> Compared {
    let (kind, rest) = match peel(frame) {
        Peeled::Type(kind @ (0x0800 | 0x86dd), rest) => (kind, rest),
        Peeled::Type(..) | Peeled::Other => {
            assert_eq!(packet.kind, Kind::Other);
            return Compared::Nothing;
        }
        Peeled::Unreadable => {
            assert_eq!(packet.kind, Kind::Unreadable);
            return Compared::Nothing;
        }
    };
    // Where it knows the headers of the link, it must find the same network header itself.
    if let Ok(whole) = SlicedPacket::from_ethernet(frame)
        && let Some(source) = whole.net.as_ref().and_then(source_of)
    {
        assert_eq!((packet.kind, packet.source), (Kind::Ip, source));
    }
    let lax = LaxSlicedPacket::from_ether_type(EtherType(kind), rest);
    let source = match (kind, &lax.net) {
        (0x0800, Some(LaxNetSlice::Ipv4(ip))) => Address::V4(ip.header().source_addr().to_bits()),
        (0x86dd, Some(LaxNetSlice::Ipv6(ip))) => Address::from_v6(ip.header().source_addr().into()),
        _ => return Compared::Nothing,
    };
    assert_eq!((packet.kind, packet.source), (Kind::Ip, source));
    match SlicedPacket::from_ether_type(EtherType(kind), rest) {
        Ok(theirs) => agrees_in_all(packet, &theirs),
        Err(_) => Compared::Source,
    }
}

fn source_of(net: &NetSlice<'_>) -> Option<Address> {
    match net {
        NetSlice::Ipv4(ip) => Some(Address::V4(ip.header().source_addr().to_bits())),
        NetSlice::Ipv6(ip) => Some(Address::from_v6(ip.header().source_addr().into())),
        NetSlice::Arp(_) => None,
    }
}

/// Compares protocol, fragment and ports with those of a frame in which they found nothing wrong.
fn agrees_in_all(packet: &Packet, theirs: &SlicedPacket<'_>) -> Compared {
    let payload = match &theirs.net {
        Some(NetSlice::Ipv4(ip)) if ip.header().protocol().0 != protocol::AH => ip.payload(),
        Some(NetSlice::Ipv6(ip)) if ip.header().payload_length() != 0 => ip.payload(),
        Some(NetSlice::Ipv4(_) | NetSlice::Ipv6(_) | NetSlice::Arp(_)) | None => return Compared::Source,
    };
    let followed = [protocol::MOBILITY, protocol::HIP, protocol::SHIM6];
    let is_v6 = matches!(theirs.net, Some(NetSlice::Ipv6(_)));
    if packet.defect == Some(Defect::ExtensionChain)
        || is_v6 && (packet.fragment == Fragment::Later || followed.contains(&payload.ip_number.0))
    {
        return Compared::Source;
    }
    assert_eq!(packet.protocol, payload.ip_number.0);
    if !is_v6 {
        assert_eq!(packet.fragment != Fragment::Whole, payload.fragmented);
    } else if packet.fragment != Fragment::Whole {
        assert!(payload.fragmented);
    }
    let ports = match &theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port(), tcp.slice()[13]),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port(), 0),
        Some(TransportSlice::Icmpv4(icmp)) => (0, 0, icmp.type_u8()),
        Some(TransportSlice::Icmpv6(icmp)) => (0, 0, icmp.type_u8()),
        Some(TransportSlice::Igmp(_)) | None => return Compared::All,
    };
    assert_eq!((packet.source_port, packet.destination_port, packet.flags), ports);
    assert_eq!(packet.defect, None);
    Compared::All
}
