//! Frames, and what is to be found in them.

use std::net::{IpAddr, Ipv6Addr};

use weir_common::{
    addr::Address,
    packet::{Defect, EXTENSIONS_MAX, Fragment, Kind, Packet, protocol},
};

use crate::build::{
    Extension, IPV4, IPV6, PORTS, SOURCE_V4, SOURCE_V6, authentication, ethernet, extension, fragment, icmp,
    ports, tcp, udp, v4, v6, v6_chain,
};

/// A frame and its facts.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) frame: Vec<u8>,
    pub(crate) want: Packet,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![];
    protocols(&mut cases);
    tags(&mut cases);
    v4_headers(&mut cases);
    v4_fragments(&mut cases);
    v6_headers(&mut cases);
    v6_fragments(&mut cases);
    v6_chains(&mut cases);
    without_ip(&mut cases);
    crate::links::cases(&mut cases);
    cases
}

const SYN: u8 = 2;
const NO_NEXT: u8 = 59;
const MORE: u16 = 0x2000;
const DONT: u16 = 0x4000;

pub(crate) const V4: Packet =
    Packet { kind: Kind::Ip, source: Address::V4(SOURCE_V4.to_bits()), hop_limit: 64, ..Packet::UNKNOWN };

pub(crate) fn v6_facts() -> Packet {
    Packet { source: Address::from(IpAddr::from(SOURCE_V6)), ..V4 }
}

/// The ports of TCP, UDP and the like.
pub(crate) fn with_ports(packet: Packet) -> Packet {
    Packet { source_port: PORTS.0, destination_port: PORTS.1, ..packet }
}

/// A frame of which all bytes are the packet's.
pub(crate) fn case(name: impl Into<String>, frame: Vec<u8>, want: Packet) -> Case {
    let want = Packet { length: frame.len() as u32, ..want };
    Case { name: name.into(), frame, want }
}

fn v4_frame(packet: &[u8]) -> Vec<u8> {
    ethernet(&[], IPV4, packet)
}

fn v6_frame(packet: &[u8]) -> Vec<u8> {
    ethernet(&[], IPV6, packet)
}

/// Transport headers, and what is read of them.
fn transports() -> Vec<(&'static str, u8, Vec<u8>, Packet)> {
    let ported = with_ports(Packet::UNKNOWN);
    vec![
        ("tcp syn", protocol::TCP, tcp(SYN), Packet { flags: SYN, ..ported }),
        ("tcp all flags", protocol::TCP, tcp(0xff), Packet { flags: 0xff, ..ported }),
        ("udp", protocol::UDP, udp(), ported),
        ("udp-lite", protocol::UDP_LITE, ports(8), ported),
        ("sctp", protocol::SCTP, ports(12), ported),
        ("dccp", protocol::DCCP, ports(16), ported),
        ("icmp", protocol::ICMP, icmp(8), Packet { flags: 8, ..Packet::UNKNOWN }),
        ("icmpv6", protocol::ICMPV6, icmp(128), Packet { flags: 128, ..Packet::UNKNOWN }),
        ("gre", 47, vec![0, 0, 8, 0, 0x45, 0, 0, 20], Packet::UNKNOWN),
        ("esp", 50, vec![0x11; 24], Packet::UNKNOWN),
        ("ip in ip", 4, v4(5, protocol::TCP, 0, &tcp(SYN)), Packet::UNKNOWN),
        ("ipv6 in ip", 41, v6(protocol::TCP, &tcp(SYN)), Packet::UNKNOWN),
        ("reserved protocol", 255, vec![0xff; 40], Packet::UNKNOWN),
        ("gre without a byte", 47, vec![], Packet::UNKNOWN),
    ]
}

fn protocols(cases: &mut Vec<Case>) {
    for (name, protocol, payload, facts) in transports() {
        let Packet { source_port, destination_port, flags, .. } = facts;
        let facts = |ip: Packet| Packet { protocol, source_port, destination_port, flags, ..ip };
        cases.push(case(format!("v4 {name}"), v4_frame(&v4(5, protocol, DONT, &payload)), facts(V4)));
        cases.push(case(format!("v6 {name}"), v6_frame(&v6(protocol, &payload)), facts(v6_facts())));
    }
    // One byte less than the header that has to be there.
    for (name, protocol, header) in [
        ("tcp", protocol::TCP, 20),
        ("udp", protocol::UDP, 8),
        ("udp-lite", protocol::UDP_LITE, 8),
        ("sctp", protocol::SCTP, 12),
        ("dccp", protocol::DCCP, 12),
        ("icmp", protocol::ICMP, 8),
        ("icmpv6", protocol::ICMPV6, 4),
    ] {
        let payload = vec![1; header - 1];
        let facts = |ip: Packet| Packet { protocol, defect: Some(Defect::Truncated), ..ip };
        cases.push(case(format!("v4 short {name}"), v4_frame(&v4(5, protocol, 0, &payload)), facts(V4)));
        cases.push(case(format!("v6 short {name}"), v6_frame(&v6(protocol, &payload)), facts(v6_facts())));
    }
}

fn tags(cases: &mut Vec<Case>) {
    const TPIDS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
    let (v4_packet, v6_packet) = (v4(5, protocol::UDP, 0, &udp()), v6(protocol::UDP, &udp()));
    let v4_facts = Packet { protocol: protocol::UDP, ..with_ports(V4) };
    let v6_facts = Packet { protocol: protocol::UDP, ..with_ports(v6_facts()) };
    let mut stacks = vec![vec![(0x8100, 0)], vec![(0x8100, 0xe000)], vec![(0x88a8, 0xffff), (0x8100, 0)]];
    for outer in TPIDS {
        stacks.push(vec![(outer, 7)]);
        stacks.extend(TPIDS.map(|inner| vec![(outer, 7), (inner, 0x2fff)]));
    }
    for stack in stacks {
        cases.push(case(format!("v4 behind {stack:x?}"), ethernet(&stack, IPV4, &v4_packet), v4_facts));
        cases.push(case(format!("v6 behind {stack:x?}"), ethernet(&stack, IPV6, &v6_packet), v6_facts));
    }
    for third in TPIDS {
        let stack = [(0x88a8, 1), (0x8100, 2), (third, 3)];
        let want = Packet { kind: Kind::Unreadable, defect: Some(Defect::VlanDepth), ..Packet::UNKNOWN };
        cases.push(case(format!("three tags, {third:#x}"), ethernet(&stack, IPV4, &v4_packet), want));
    }
}

fn v4_headers(cases: &mut Vec<Case>) {
    let udp_facts = Packet { protocol: protocol::UDP, ..with_ports(V4) };
    for ihl in 5..=15 {
        cases.push(case(format!("v4 ihl {ihl}"), v4_frame(&v4(ihl, protocol::UDP, 0, &udp())), udp_facts));
    }
    let header_length = Packet { protocol: protocol::UDP, defect: Some(Defect::HeaderLength), ..V4 };
    for ihl in 0..5 {
        cases.push(case(
            format!("v4 ihl {ihl}"),
            v4_frame(&v4(ihl, protocol::UDP, 0, &udp())),
            header_length,
        ));
    }
    for version in [0, 3, 5, 6, 15] {
        let mut packet = v4(5, protocol::UDP, 0, &udp());
        packet[0] = version << 4 | 5;
        cases.push(case(format!("v4 of version {version}"), v4_frame(&packet), header_length));
    }
    let total_length = Packet { defect: Some(Defect::TotalLength), ..header_length };
    for (ihl, total) in [(5, 0u16), (5, 19), (5, 29), (5, 0xffff), (6, 23), (15, 59), (15, 69)] {
        let mut packet = v4(ihl, protocol::UDP, 0, &udp());
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        cases.push(case(format!("v4 ihl {ihl}, total length {total}"), v4_frame(&packet), total_length));
    }
    // Ends within its header, though the frame goes on.
    let mut packet = v4(5, protocol::UDP, 0, &udp());
    packet[2..4].copy_from_slice(&24u16.to_be_bytes());
    let want = Packet { length: 14 + 24, defect: Some(Defect::Truncated), ..total_length };
    cases.push(Case { name: "v4 ends within udp".into(), frame: v4_frame(&packet), want });
    // The shortest frames of Ethernet are longer than the packet in them.
    let mut frame = v4_frame(&v4(5, protocol::UDP, 0, &udp()));
    let want = Packet { length: frame.len() as u32, ..udp_facts };
    frame.resize(60, 0x5a);
    cases.push(Case { name: "v4 padded".into(), frame, want });
}

fn v4_fragments(cases: &mut Vec<Case>) {
    for (name, field, payload, fragment, defect) in [
        ("do not fragment", DONT, tcp(SYN), Fragment::Whole, None),
        ("reserved flag", 0x8000, tcp(SYN), Fragment::Whole, None),
        ("first", MORE, tcp(SYN), Fragment::First, None),
        ("tiny first", MORE, tcp(SYN)[..8].to_vec(), Fragment::First, Some(Defect::TinyFragment)),
        ("empty first", MORE, vec![], Fragment::First, Some(Defect::TinyFragment)),
        ("second by eight bytes", MORE | 1, tcp(SYN), Fragment::Later, None),
        ("middle", MORE | 0xb9, tcp(SYN), Fragment::Later, None),
        ("last", 370, tcp(SYN), Fragment::Later, None),
        ("furthest", 0x1fff, vec![1], Fragment::Later, None),
        ("empty last", 370, vec![], Fragment::Later, None),
    ] {
        let facts = Packet { protocol: protocol::TCP, fragment, defect, ..V4 };
        let want = match (fragment, defect) {
            (Fragment::Whole | Fragment::First, None) => Packet { flags: SYN, ..with_ports(facts) },
            _ => facts,
        };
        cases.push(case(
            format!("v4 fragment: {name}"),
            v4_frame(&v4(5, protocol::TCP, field, &payload)),
            want,
        ));
    }
}

fn v6_headers(cases: &mut Vec<Case>) {
    let udp_facts = Packet { protocol: protocol::UDP, ..with_ports(v6_facts()) };
    for version in [0, 4, 5, 7, 15] {
        let mut packet = v6(protocol::UDP, &udp());
        packet[0] = version << 4;
        let want = Packet { protocol: protocol::UDP, defect: Some(Defect::HeaderLength), ..v6_facts() };
        cases.push(case(format!("v6 of version {version}"), v6_frame(&packet), want));
    }
    for claim in [9u16, 1000, 0xffff] {
        let mut packet = v6(protocol::UDP, &udp());
        packet[4..6].copy_from_slice(&claim.to_be_bytes());
        let want = Packet { protocol: protocol::UDP, defect: Some(Defect::TotalLength), ..v6_facts() };
        cases.push(case(format!("v6 payload length {claim}"), v6_frame(&packet), want));
    }
    let mut packet = v6(protocol::UDP, &udp());
    packet[4..6].copy_from_slice(&0u16.to_be_bytes());
    let want = Packet { protocol: protocol::UDP, length: 54, defect: Some(Defect::Truncated), ..v6_facts() };
    cases.push(Case { name: "v6 payload length 0".into(), frame: v6_frame(&packet), want });
    // RFC 2675: the length is in a hop-by-hop option.
    let mut packet =
        v6_chain(&[extension(protocol::HOP_BY_HOP, 0)], protocol::UDP, &[udp(), vec![0; 66_000]].concat());
    packet[4..6].copy_from_slice(&0u16.to_be_bytes());
    cases.push(case("v6 jumbogram", v6_frame(&packet), udp_facts));
    let mut frame = v6_frame(&v6(protocol::UDP, &udp()));
    let want = Packet { length: frame.len() as u32, ..udp_facts };
    frame.extend([0x5a; 20]);
    cases.push(Case { name: "v6 padded".into(), frame, want });
    // RFC 4291 section 2.5.5.2.
    let mut packet = v6(protocol::UDP, &udp());
    packet[8..24].copy_from_slice(&SOURCE_V4.to_ipv6_mapped().octets());
    cases.push(case(
        "v6 from a mapped address",
        v6_frame(&packet),
        Packet { source: V4.source, ..udp_facts },
    ));
    // Not mapped: one bit away from it on each side, and v4-compatible.
    for other in ["::fffe:198.51.100.7", "::1:ffff:198.51.100.7", "::198.51.100.7", "::"] {
        let address: Ipv6Addr = other.parse().unwrap();
        packet[8..24].copy_from_slice(&address.octets());
        let want = Packet { source: Address::V6(address.into()), ..udp_facts };
        cases.push(case(format!("v6 from {other}"), v6_frame(&packet), want));
    }
}

fn v6_fragments(cases: &mut Vec<Case>) {
    let payload = tcp(SYN);
    for (name, header, payload, part, defect) in [
        ("atomic", fragment(0, false), &payload[..], Fragment::Whole, None),
        ("first", fragment(0, true), &payload, Fragment::First, None),
        ("tiny first", fragment(0, true), &payload[..8], Fragment::First, Some(Defect::TinyFragment)),
        ("empty first", fragment(0, true), &[], Fragment::First, Some(Defect::TinyFragment)),
        ("middle", fragment(181, true), &payload, Fragment::Later, None),
        ("last", fragment(362, false), &payload, Fragment::Later, None),
        ("furthest", fragment(0x1fff, false), &[], Fragment::Later, None),
    ] {
        let facts = Packet { protocol: protocol::TCP, fragment: part, defect, ..v6_facts() };
        let want = match (part, defect) {
            (Fragment::Whole | Fragment::First, None) => Packet { flags: SYN, ..with_ports(facts) },
            _ => facts,
        };
        cases.push(case(
            format!("v6 fragment: {name}"),
            v6_frame(&v6_chain(&[header], protocol::TCP, payload)),
            want,
        ));
    }
    // What follows the header of a later fragment is payload, also where it looks like a chain.
    let packet = v6_chain(&[fragment(9, true)], protocol::DESTINATION, &[6, 200, 0, 0, 0, 0, 0, 0]);
    let want = Packet { protocol: protocol::DESTINATION, fragment: Fragment::Later, ..v6_facts() };
    cases.push(case("v6 fragment: later, in a chain", v6_frame(&packet), want));
    // RFC 7112: the whole chain belongs into the first fragment.
    let packet = v6_chain(&[fragment(0, true), extension(protocol::DESTINATION, 0)], protocol::TCP, &[]);
    let facts = Packet { fragment: Fragment::First, defect: Some(Defect::TinyFragment), ..v6_facts() };
    let want = Packet { protocol: protocol::TCP, ..facts };
    cases.push(case("v6 fragment: first, without transport", v6_frame(&packet), want));
    let packet = v6_chain(&[fragment(0, true)], protocol::DESTINATION, &[6, 1, 0, 0, 0, 0, 0, 0]);
    let want = Packet { protocol: protocol::DESTINATION, ..facts };
    cases.push(case("v6 fragment: first, chain cut off", v6_frame(&packet), want));
}

fn v6_chains(cases: &mut Vec<Case>) {
    use protocol::{DESTINATION, HIP, HOP_BY_HOP, MOBILITY, ROUTING, SHIM6, TCP};
    let syn = Packet { protocol: TCP, flags: SYN, ..with_ports(v6_facts()) };
    let mut good: Vec<(String, Vec<Extension>)> = vec![];
    for number in [HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY, HIP, SHIM6] {
        good.extend(
            [0, 1, 7, 255]
                .map(|length| (format!("{number} of length {length}"), vec![extension(number, length)])),
        );
    }
    good.extend(
        [0, 1, 4, 5, 255].map(|length| (format!("AH of length {length}"), vec![authentication(length)])),
    );
    let recommended = vec![
        extension(HOP_BY_HOP, 0),
        extension(DESTINATION, 2),
        extension(ROUTING, 1),
        fragment(0, false),
        authentication(4),
        extension(MOBILITY, 0),
        extension(DESTINATION, 1),
    ];
    good.push(("all in the order of RFC 8200".into(), recommended));
    good.push((
        "routing and destination in turns".into(),
        (0..EXTENSIONS_MAX).map(|i| extension([ROUTING, DESTINATION][i as usize % 2], 0)).collect(),
    ));
    good.push((
        "as many as are followed, as long as can be".into(),
        (0..EXTENSIONS_MAX).map(|_| extension(DESTINATION, 255)).collect(),
    ));
    for (name, chain) in good {
        cases.push(case(format!("v6 chain: {name}"), v6_frame(&v6_chain(&chain, TCP, &tcp(SYN))), syn));
    }
    for number in [DESTINATION, HOP_BY_HOP, ROUTING] {
        let chain: Vec<_> = (0..=EXTENSIONS_MAX).map(|_| extension(number, 0)).collect();
        let want = Packet { protocol: number, defect: Some(Defect::ExtensionChain), ..v6_facts() };
        cases.push(case(
            format!("v6 chain: one too many of {number}"),
            v6_frame(&v6_chain(&chain, TCP, &tcp(SYN))),
            want,
        ));
    }
    // Eight, and no transport behind them.
    let chain: Vec<_> = (0..EXTENSIONS_MAX).map(|_| extension(DESTINATION, 0)).collect();
    let nothing = Packet { protocol: NO_NEXT, ..v6_facts() };
    cases.push(case("v6 chain: eight, then nothing", v6_frame(&v6_chain(&chain, NO_NEXT, &[])), nothing));
    cases.push(case("v6 no next header", v6_frame(&v6(NO_NEXT, &[1, 2, 3])), nothing));
    let esp = Packet { protocol: 50, ..v6_facts() };
    cases.push(case("v6 chain: esp", v6_frame(&v6_chain(&[extension(DESTINATION, 0)], 50, &[7; 24])), esp));
    // The last header claims more than is there; by a byte, and by all of it.
    for (name, number, bytes) in [
        ("options", DESTINATION, vec![TCP, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
        ("AH", protocol::AH, vec![TCP, 4, 0, 0, 0, 0, 0, 1]),
        ("fragment", protocol::FRAGMENT, vec![TCP, 0, 0, 0, 0, 0, 0]),
        ("header of a byte", ROUTING, vec![TCP]),
        ("header of no byte", ROUTING, vec![]),
    ] {
        let want = Packet { protocol: number, defect: Some(Defect::Truncated), ..v6_facts() };
        cases.push(case(format!("v6 chain: {name} cut off"), v6_frame(&v6(number, &bytes)), want));
    }
}

fn without_ip(cases: &mut Vec<Case>) {
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1];
    for (name, ethertype) in
        [("arp", 0x0806), ("lldp", 0x88cc), ("pppoe discovery", 0x8863), ("macsec", 0x88e5), ("length", 28)]
    {
        cases.push(case(name, ethernet(&[], ethertype, &arp), Packet::UNKNOWN));
        cases.push(case(
            format!("{name} behind a tag"),
            ethernet(&[(0x8100, 5)], ethertype, &arp),
            Packet::UNKNOWN,
        ));
    }
    let truncated = Packet { kind: Kind::Unreadable, defect: Some(Defect::Truncated), ..Packet::UNKNOWN };
    cases.push(case("an empty frame", vec![], truncated));
    cases.push(case("half a frame header", vec![0xff; 13], truncated));
    cases.push(case("nothing behind ethernet", ethernet(&[], IPV4, &[]), truncated));
    cases.push(case("half a tag", ethernet(&[(0x8100, 5)], IPV4, &[])[..17].to_vec(), truncated));
    cases.push(case("19 bytes of IPv4", ethernet(&[], IPV4, &v4(5, 6, 0, &[])[..19]), truncated));
    cases.push(case("39 bytes of IPv6", ethernet(&[], IPV6, &v6(6, &[])[..39]), truncated));
}
