use etherparse::{
    EtherType, Ipv6ExtensionSlice, LinkExtSlice, LinkSlice, NetSlice, SlicedPacket, TransportSlice,
    checksum::Sum16BitWords,
};

use super::*;

const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(192, 0, 2, 1));
const V6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

fn v4() -> Frame {
    Frame::new().ipv4(V4.0, V4.1)
}

fn v6() -> Frame {
    Frame::new().ipv6(V6.0, V6.1)
}

fn parsed(frame: &[u8]) -> SlicedPacket<'_> {
    SlicedPacket::from_ethernet(frame).expect("parses")
}

#[test]
fn ethernet_and_tags() {
    let bytes = v4().source_mac([1; 6]).destination_mac([2; 6]).vlan(tpid::QINQ, 0x2007).vlan(tpid::VLAN, 5);
    let bytes = bytes.udp(1, 2).build();
    let packet = parsed(&bytes);
    let Some(LinkSlice::Ethernet2(ethernet)) = packet.link else { panic!("no Ethernet") };
    assert_eq!((ethernet.source(), ethernet.destination()), ([1; 6], [2; 6]));
    assert_eq!(ethernet.ether_type(), EtherType(tpid::QINQ));
    let ids: Vec<u16> = packet
        .link_exts
        .iter()
        .map(|tag| match tag {
            LinkExtSlice::Vlan(tag) => tag.vlan_identifier().value(),
            LinkExtSlice::Macsec(_) => panic!("no tag"),
        })
        .collect();
    assert_eq!(ids, [7, 5]);
}

#[test]
fn ipv4_header() {
    let bytes = v4().options(&[1, 1, 1]).hop_limit(3).tcp(1234, 443).syn().payload(b"hello").build();
    let packet = parsed(&bytes);
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.source, V4.0.octets());
    assert_eq!(header.destination, V4.1.octets());
    assert_eq!((header.time_to_live, header.options.len()), (3, 4));
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(usize::from(header.total_len), bytes.len() - 14);
}

#[test]
fn transport_checksums_over_ipv4() {
    for payload in [&b""[..], b"odd", b"even"] {
        let bytes = v4().tcp(1234, 443).syn().payload(payload).build();
        let Some(TransportSlice::Tcp(tcp)) = parsed(&bytes).transport else { panic!("no TCP") };
        let sum = tcp.calc_checksum_ipv4(V4.0.octets(), V4.1.octets());
        assert_eq!(tcp.checksum(), sum.expect("short enough"));
        assert!(tcp.syn() && !tcp.ack());
        assert_eq!((tcp.source_port(), tcp.destination_port()), (1234, 443));

        let bytes = v4().udp(53, 443).payload(payload).build();
        let Some(TransportSlice::Udp(udp)) = parsed(&bytes).transport else { panic!("no UDP") };
        let header = udp.to_header();
        let sum = header.calc_checksum_ipv4_raw(V4.0.octets(), V4.1.octets(), udp.payload());
        assert_eq!(header.checksum, sum.expect("short enough"));
        assert_eq!((header.source_port, header.destination_port), (53, 443));

        let bytes = v4().icmp(8, 0).payload(payload).build();
        let Some(TransportSlice::Icmpv4(icmp)) = parsed(&bytes).transport else { panic!("no ICMP") };
        assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
        assert_eq!((icmp.type_u8(), icmp.payload()), (8, payload));
    }
}

#[test]
fn transport_checksums_over_ipv6() {
    for payload in [&b""[..], b"odd", b"even"] {
        let bytes = v6().tcp(1234, 443).payload(payload).build();
        let Some(TransportSlice::Tcp(tcp)) = parsed(&bytes).transport else { panic!("no TCP") };
        assert_eq!(
            tcp.checksum(),
            tcp.calc_checksum_ipv6(V6.0.octets(), V6.1.octets()).expect("short enough")
        );
        assert!(tcp.ack());

        let bytes = v6().udp(53, 443).payload(payload).build();
        let Some(TransportSlice::Udp(udp)) = parsed(&bytes).transport else { panic!("no UDP") };
        let header = udp.to_header();
        let sum = header.calc_checksum_ipv6_raw(V6.0.octets(), V6.1.octets(), udp.payload());
        assert_eq!(header.checksum, sum.expect("short enough"));

        let bytes = v6().hop_limit(255).icmpv6(135, 0).payload(payload).build();
        let Some(TransportSlice::Icmpv6(icmp)) = parsed(&bytes).transport else { panic!("no ICMPv6") };
        assert!(icmp.is_checksum_valid(V6.0.octets(), V6.1.octets()));
        assert_eq!(icmp.type_u8(), 135);
    }
}

#[test]
fn ipv6_chain() {
    let chain = [
        Extension::hop_by_hop(),
        Extension::destination(),
        Extension::routing(),
        Extension::fragment(0, true),
        Extension::authentication(),
        Extension::mobility(),
        Extension::host_identity(),
        Extension::shim6(),
    ];
    let frame = chain.iter().fold(v6().udp(1, 2), |frame, extension| frame.extension(extension.clone()));
    let bytes = frame.build();
    let mut at = 14 + 40;
    let mut next = bytes[14 + 6];
    for extension in &chain {
        assert_eq!(next, extension.protocol);
        let [after, length] = [bytes[at], bytes[at + 1]].map(usize::from);
        at += match next {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        next = u8::try_from(after).expect("a byte");
    }
    assert_eq!((next, at), (17, bytes.len() - 8));

    let bytes = v6().extension(Extension::hop_by_hop()).fragment(3, true).payload(&[0; 16]).build();
    let Some(NetSlice::Ipv6(ip)) = parsed(&bytes).net else { panic!("no IPv6") };
    assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), V6);
    let last = ip.extensions().clone().into_iter().last();
    let Some(Ipv6ExtensionSlice::Fragment(fragment)) = last else { panic!("no fragment header") };
    assert_eq!((fragment.fragment_offset().value(), fragment.more_fragments()), (3, true));
}

#[test]
fn fragments_of_ipv4() {
    let bytes = v4().protocol(17).fragment(185, true).payload(&[0; 16]).build();
    let packet = parsed(&bytes);
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    assert_eq!((ip.header().fragments_offset().value(), ip.header().more_fragments()), (185, true));
    assert!(packet.transport.is_none());
}

#[test]
fn sctp_sum_is_over_a_sum_of_zero() {
    let bytes = v4().sctp(1, 2).payload(b"chunk").build();
    let zeroed = v4().sctp(1, 2).payload(b"chunk").overwrite(34 + 8, &[0; 4]).build();
    assert_ne!(bytes, zeroed);
    assert_eq!(bytes[23], 132);
    assert_eq!(bytes[34..38], [0, 1, 0, 2]);
}

#[test]
fn lies_keep_the_header_checksum_right() {
    let bytes = v4().ihl(4).ip_length(9000).udp(1, 2).build();
    assert_eq!(bytes[14], 0x44);
    assert_eq!(bytes[16..18], 9000_u16.to_be_bytes());
    assert_eq!(Sum16BitWords::new().add_slice(&bytes[14..34]).ones_complement(), 0);
    assert_eq!(v6().ip_length(7).build()[18..20], [0, 7]);
}

#[test]
fn padding_cutting_and_overwriting() {
    let bytes = v4().icmp(8, 0).padded().build();
    assert_eq!((bytes.len(), &bytes[16..18]), (60, &[0, 28][..]));
    assert_eq!(v4().truncate(20).build().len(), 20);
    assert_eq!(v4().overwrite(12, &[0xab, 0xcd]).build()[12..14], [0xab, 0xcd]);
    assert_eq!(Frame::new().payload(b"raw").build()[12..], [0x88, 0xb5, b'r', b'a', b'w']);
}

#[test]
fn headers_of_the_link() {
    let packet = v4().udp(1, 2).packet();
    let snap = v4().udp(1, 2).vlan(tpid::VLAN, 5).link(Link::Snap([0, 0, 0xf8])).build();
    assert_eq!(snap[16..26], [0, 36, 0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0]);
    assert_eq!(snap[26..], packet);
    let labels = v4().udp(1, 2).link(Link::Pppoe).link(Link::Mpls(vec![3, 0xf_ffff])).build();
    assert_eq!(labels[12..22], [0x88, 0x64, 0x11, 0, 0, 7, 0, 38, 2, 0x81]);
    assert_eq!(labels[22..30], [0, 0, 0x30, 64, 0xff, 0xff, 0xf1, 64]);
    assert_eq!(labels[30..], packet);
}

#[test]
fn tunnels() {
    let inner = v6().udp(1, 2);
    let bytes = v4().ip_in_ip(&inner).build();
    let Some(NetSlice::Ipv4(ip)) = parsed(&bytes).net else { panic!("no IPv4") };
    assert_eq!((ip.payload().ip_number.0, ip.payload().payload), (41, &inner.packet()[..]));
    let bytes = v4().vxlan(&inner).build();
    let Some(TransportSlice::Udp(udp)) = parsed(&bytes).transport else { panic!("no UDP") };
    assert_eq!((udp.destination_port(), udp.payload()[8..].to_vec()), (4789, inner.build()));
    let bytes = v4().gue(2, &inner).build();
    let Some(TransportSlice::Udp(udp)) = parsed(&bytes).transport else { panic!("no UDP") };
    assert_eq!((udp.destination_port(), &udp.payload()[..2]), (6080, &[2, 41][..]));
    assert_eq!(udp.payload()[12..], inner.packet());
    let bytes = v4().gue_direct(&inner).build();
    assert_eq!(bytes[14 + 20 + 8..], inner.packet());
}

#[test]
fn sight_agrees() {
    let bytes = v6().vlan(tpid::QINQ, 1).vlan(tpid::VLAN, 2).tcp(1, 2).build();
    let sight = Sight { tags: 2, source: V6.0.into(), destination: V6.1.into(), protocol: 6 };
    assert_eq!(Sight::of(&bytes), Some(sight));
    assert_eq!(Sight::of(&v4().udp(1, 2).build()).map(|sight| sight.source), Some(V4.0.into()));
    assert_eq!(Sight::of(&v4().truncate(33).build()), None);
    assert_eq!(Sight::of(&Frame::new().build()), None);
}
