//! Random and mutated frames, and etherparse beside our parser.
//!
//! etherparse is the stricter one: what it refuses may still have a source for us, with a defect.
//! The other way round ours must find the same source, with these differences that are meant:
//! - three VLAN tags and MACsec: we do not look behind them (the first is a defect, the second no IP);
//! - a v4-mapped source is the IPv4 address that it names;
//! - an IPv6 payload length of 0 is 0 unless hop-by-hop options follow, as it is for Linux;
//! - the ethertype says which IP it is, as it does for Linux; their lax parser goes by the version;
//! - an authentication header is followed in IPv6 only; in IPv4 it is a protocol like ESP.

use etherparse::{
    LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket, LinkExtSlice, NetSlice, SlicedPacket, TransportSlice,
};
use proptest::prelude::*;
use weir_common::{
    addr::Address,
    counter::Family,
    packet::{Defect, Fragment, Kind, Packet, protocol},
};

use crate::{build::ethernet, cases::cases, read};

/// Checks what holds for every frame.
fn sane(frame: &[u8], packet: &Packet) -> Result<(), TestCaseError> {
    prop_assert!(packet.length as usize <= frame.len());
    if packet.kind != Kind::Ip {
        prop_assert_eq!(packet.length as usize, frame.len());
        prop_assert_eq!(packet.family(), Family::Other);
        prop_assert_eq!((packet.source_port, packet.destination_port, packet.flags), (0, 0, 0));
    }
    match (packet.kind, packet.defect) {
        (Kind::Other, defect) => prop_assert_eq!(defect, None),
        (Kind::Unreadable, defect) => {
            prop_assert!(matches!(defect, Some(Defect::Truncated | Defect::VlanDepth)), "{:?}", defect);
        }
        (Kind::Ip, Some(Defect::HeaderLength | Defect::TotalLength)) => {
            prop_assert_eq!(packet.length as usize, frame.len());
        }
        (Kind::Ip, Some(Defect::TinyFragment)) => prop_assert_eq!(packet.fragment, Fragment::First),
        (Kind::Ip, defect) => prop_assert_ne!(defect, Some(Defect::VlanDepth)),
    }
    let ported = matches!(
        packet.protocol,
        protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::SCTP | protocol::DCCP
    );
    if packet.fragment == Fragment::Later || !ported || packet.defect.is_some() {
        prop_assert_eq!((packet.source_port, packet.destination_port), (0, 0));
    }
    if packet.opens_connection() {
        prop_assert_eq!(packet.protocol, protocol::TCP);
    }
    Ok(())
}

/// Compares with what etherparse finds, if it finds anything.
fn agrees(frame: &[u8], packet: &Packet) -> Result<(), TestCaseError> {
    if let Ok(theirs) = SlicedPacket::from_ethernet(frame)
        && theirs.link_exts.len() <= 2
        && theirs.link_exts.iter().all(|ext| matches!(ext, LinkExtSlice::Vlan(_)))
    {
        let source = match &theirs.net {
            Some(NetSlice::Ipv4(ip)) => Some(Address::V4(ip.header().source_addr().to_bits())),
            Some(NetSlice::Ipv6(ip)) => Some(Address::from_v6(ip.header().source_addr().into())),
            Some(NetSlice::Arp(_)) | None => None,
        };
        let kind = if source.is_some() { Kind::Ip } else { Kind::Other };
        prop_assert_eq!(packet.kind, kind);
        prop_assert_eq!(packet.source, source.unwrap_or(packet.source));
        let theirs_ports = match &theirs.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                Some((tcp.source_port(), tcp.destination_port(), tcp.slice()[13]))
            }
            Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port(), 0)),
            Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) | None => {
                None
            }
        };
        let endless = matches!(&theirs.net, Some(NetSlice::Ipv6(ip)) if ip.header().payload_length() == 0);
        let too_long = packet.defect == Some(Defect::ExtensionChain);
        let behind_ah = matches!(packet.source, Address::V4(_)) && packet.protocol == protocol::AH;
        if let Some(ports) = theirs_ports
            && !endless
            && !too_long
            && !behind_ah
        {
            prop_assert_eq!((packet.source_port, packet.destination_port, packet.flags), ports);
            prop_assert_eq!(packet.defect, None);
        }
    }
    // The lax one goes on where lengths lie.
    if let Ok(theirs) = LaxSlicedPacket::from_ethernet(frame)
        && theirs.link_exts.len() <= 2
        && theirs.link_exts.iter().all(|ext| matches!(ext, LaxLinkExtSlice::Vlan(_)))
    {
        let at = 12 + 4 * theirs.link_exts.len();
        let ethertype = [frame[at], frame[at + 1]];
        let source = match &theirs.net {
            Some(LaxNetSlice::Ipv4(ip)) if ethertype == [0x08, 0x00] => {
                Address::V4(ip.header().source_addr().to_bits())
            }
            Some(LaxNetSlice::Ipv6(ip)) if ethertype == [0x86, 0xdd] => {
                Address::from_v6(ip.header().source_addr().into())
            }
            Some(LaxNetSlice::Ipv4(_) | LaxNetSlice::Ipv6(_) | LaxNetSlice::Arp(_)) | None => return Ok(()),
        };
        prop_assert_eq!((packet.kind, packet.source), (Kind::Ip, source));
    }
    Ok(())
}

fn any_ethertype() -> impl Strategy<Value = u16> {
    prop_oneof![6 => Just(0x0800u16), 6 => Just(0x86dd), 1 => Just(0x0806), 1 => any::<u16>()]
}

fn any_tags() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let tpid = prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]);
    proptest::collection::vec((tpid, any::<u16>()), 0..4)
}

/// Bytes with a version and a header length that often are right.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![3 => Just(0x45u8), 2 => 0x40u8..0x50, 4 => Just(0x60u8), 1 => any::<u8>()];
    (first, proptest::collection::vec(any::<u8>(), 0..160)).prop_map(|(first, mut bytes)| {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        bytes
    })
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let frames: Vec<_> =
        cases().into_iter().map(|case| case.frame).filter(|frame| frame.len() < 4096).collect();
    let interesting = prop_oneof![
        2 => any::<u8>(),
        2 => prop::sample::select(vec![0u8, 1, 4, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 139, 140]),
        1 => Just(0xffu8),
    ];
    let changes = proptest::collection::vec((0usize..120, interesting), 0..5);
    (prop::sample::select(frames), changes, prop_oneof![3 => Just(usize::MAX), 1 => 0usize..160]).prop_map(
        |(mut frame, changes, cut)| {
            for (at, byte) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(cut);
            frame
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn any_bytes(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let packet = read(&frame);
        sane(&frame, &packet)?;
        agrees(&frame, &packet)?;
    }

    #[test]
    fn any_ip(tags in any_tags(), ethertype in any_ethertype(), packet in any_packet()) {
        let frame = ethernet(&tags, ethertype, &packet);
        let packet = read(&frame);
        sane(&frame, &packet)?;
        agrees(&frame, &packet)?;
    }

    #[test]
    fn any_change(frame in mutated()) {
        let packet = read(&frame);
        sane(&frame, &packet)?;
        agrees(&frame, &packet)?;
    }
}
