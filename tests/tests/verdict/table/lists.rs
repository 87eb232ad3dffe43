//! What lists say, and what is none of theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_common::verdict::Reason;
use weir_tests::frame::{Extension, Frame, Link, tpid};

use super::{ALLOWED4, ALLOWED6, LISTED4, LISTED6, ON_TRIAL4, TO4, TO6, Table, WATCHED4, v4, v6};

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(super) fn add(table: &mut Table) {
    prefixes(table);
    other_forms_of_ipv4(table);
    odd_sources(table);
    neighbours(table);
    without_ip(table);
}

fn prefixes(table: &mut Table) {
    let listed: [(&str, [u8; 4]); 6] = [
        ("first of /24", [198, 51, 100, 0]),
        ("last of /24", [198, 51, 100, 255]),
        ("host", [203, 0, 113, 9]),
        ("first of /25", [203, 0, 113, 128]),
        ("first of /10", [100, 64, 0, 0]),
        ("last of /10", [100, 127, 255, 255]),
    ];
    for (name, source) in listed {
        table.listed(&format!("listed, {name}"), &v4(source.into()).udp(1, 53));
    }
    let neighbours: [[u8; 4]; 6] = [
        [198, 51, 99, 255],
        [198, 51, 101, 0],
        [203, 0, 113, 8],
        [203, 0, 113, 127],
        [100, 63, 255, 255],
        [100, 128, 0, 0],
    ];
    for source in neighbours {
        table.clean(&format!("beside a list {source:?}"), &v4(source.into()).udp(1, 53));
    }
    table.listed("listed twice", &v4([198, 51, 100, 1].into()).udp(1, 53));
    table.dropped("listed for trial", &v4(ON_TRIAL4).udp(1, 53), Reason::Feed, true);
    table.passed("listed to be watched", &v4(WATCHED4).udp(1, 53), Reason::Observe);
    table.passed("allowed around listed", &v4(ALLOWED4).udp(1, 53), Reason::Allow);
    table.passed("allowed inside listed", &v4([198, 51, 100, 77].into()).udp(1, 53), Reason::Allow);
    table.passed("allowed inside listed6", &v6(ALLOWED6).udp(1, 53), Reason::Allow);
    table.passed("allowed and malformed", &v4(ALLOWED4).udp(1, 53).ihl(4), Reason::Allow);
    table.passed("allowed over a limit", &v4(ALLOWED4).udp(1, 443), Reason::Allow).times = 9;
}

/// RFC 4291 section 2.5.5: a mapped address is the IPv4 address, a compatible one is its own.
fn other_forms_of_ipv4(table: &mut Table) {
    table.listed("listed, v4-mapped", &v6(LISTED4.to_ipv6_mapped()).udp(1, 53));
    let chain = v6(LISTED4.to_ipv6_mapped()).udp(1, 53).extension(Extension::hop_by_hop());
    table.listed("listed, v4-mapped, hop-by-hop", &chain);
    table.clean("clean, v4-mapped", &v6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped()).udp(1, 53));
    table.passed("allowed, v4-mapped", &v6(ALLOWED4.to_ipv6_mapped()).udp(1, 53), Reason::Allow);
    let compatible = |v4: [u8; 4]| {
        let [a, b, c, d] = v4.map(u16::from);
        v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, a << 8 | b, c << 8 | d)).udp(1, 53)
    };
    table.clean("v4-compatible of a listed address", &compatible(LISTED4.octets()));
    table.listed("listed as v4-compatible", &compatible([198, 51, 100, 9]));
    // NAT64, 6to4 and Teredo: the address of a translator or relay is not ours to take apart.
    for source in ["64:ff9b::198.51.100.7", "2002:c633:6407::1", "2001:0:c633:6407::1"] {
        let source: Ipv6Addr = source.parse().expect("an address");
        table.clean(&format!("{source}, which holds a listed address"), &v6(source).udp(1, 53));
    }
}

/// Sources that no packet from afar has. Whether the stack wants them is its own affair.
fn odd_sources(table: &mut Table) {
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [169, 254, 7, 7], [224, 0, 0, 1], [255, 255, 255, 255]] {
        table.clean(&format!("from {source:?}"), &v4(source.into()).udp(1, 53));
    }
    let dhcp = Frame::new().ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST).udp(68, 67).payload(&[1; 240]);
    table.clean("dhcp discover", &dhcp.destination_mac([0xff; 6]));
    for source in ["::", "::1", "ff02::1", "fec0::1", "fc00::1"] {
        let source: Ipv6Addr = source.parse().expect("an address");
        table.clean(&format!("from {source}"), &v6(source).udp(1, 53));
    }
    let groups: [(IpAddr, IpAddr); 2] =
        [(TO4.into(), [224, 0, 0, 251].into()), (TO6.into(), ALL_NODES.into())];
    for (source, group) in groups {
        table.clean(&format!("from {source} to {group}"), &Frame::new().ip(source, group).udp(5353, 5353));
    }
    let group = Frame::new().ipv4(LISTED4, [224, 0, 0, 251].into()).udp(5353, 5353);
    table.listed("listed to a group", &group);
    table.listed("listed6 to a group", &Frame::new().ipv6(LISTED6, ALL_NODES).udp(5353, 5353));
}

/// RFC 4861. The list covers fe80::/16 and the listed network; only discovery is spared.
fn neighbours(table: &mut Table) {
    let discovery = |source: Ipv6Addr, kind| {
        Frame::new().ipv6(source, ALL_NODES).hop_limit(255).icmpv6(kind, 0).payload(&[0; 20])
    };
    for kind in 133..=137 {
        let frame = discovery(LINK_LOCAL, kind);
        table.passed(&format!("neighbour discovery {kind}"), &frame, Reason::Neighbour);
        let frame = frame.vlan(tpid::VLAN, 7);
        table.passed(&format!("neighbour discovery {kind} in a vlan"), &frame, Reason::Neighbour);
        let frame = discovery(LISTED6, kind);
        table.passed(&format!("neighbour discovery {kind}, global source"), &frame, Reason::Neighbour);
        table.listed(&format!("neighbour discovery {kind} from afar"), &frame.hop_limit(254));
    }
    let detection = discovery(Ipv6Addr::UNSPECIFIED, 135);
    table.passed("address detection", &detection, Reason::Neighbour);
    let options = discovery(LINK_LOCAL, 135).extension(Extension::hop_by_hop());
    table.passed("discovery with options", &options, Reason::Neighbour);
    table.listed("discovery in a fragment", &discovery(LINK_LOCAL, 135).fragment(0, true));
    table.listed("discovery cut short", &discovery(LINK_LOCAL, 135).truncate(60));
    table.listed("discovery over ipv4", &v4(LISTED4).hop_limit(255).protocol(58).payload(&[135; 24]));
    for kind in [1, 128, 129, 132, 138] {
        let frame = discovery(LINK_LOCAL, kind);
        table.listed(&format!("icmpv6 {kind} of a listed neighbour"), &frame);
    }
    let report = v6(CLEAN_NEIGHBOUR).hop_limit(1).icmpv6(143, 0).payload(&[0; 24]);
    table.clean("multicast listener report", &report.extension(Extension::new(0, &[0, 5, 2, 0, 0, 1, 0])));
}

const CLEAN_NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfe81, 0, 0, 0, 0, 0, 0, 1);

fn without_ip(table: &mut Table) {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1];
    arp.extend(LISTED4.octets());
    arp.extend([0; 6]);
    arp.extend(TO4.octets());
    let arp = Frame::new().ethertype(0x0806).payload(&arp);
    table.passed("arp for a listed address", &arp, Reason::NotIp);
    table.passed("arp in a vlan", &arp.clone().vlan(tpid::VLAN, 5), Reason::NotIp);
    table.passed("arp in qinq", &arp.clone().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6), Reason::NotIp);
    table.passed("arp in snap", &arp.clone().link(Link::Snap([0; 3])), Reason::NotIp);
    table.passed("arp padded", &arp.padded(), Reason::NotIp);
    let packet = v4(LISTED4).udp(1, 53).packet();
    for (name, ethertype) in [
        ("rarp", 0x8035),
        ("wake on lan", 0x0842),
        ("ipx", 0x8137),
        ("eapol", 0x888e),
        ("profinet", 0x8892),
        ("lldp", 0x88cc),
        ("macsec", 0x88e5),
        ("802.1ah", 0x88e7),
        ("ptp", 0x88f7),
        ("cfm", 0x8902),
        ("fcoe", 0x8906),
        ("loopback", 0x9000),
        ("hsr", 0x892f),
        ("pppoe discovery", 0x8863),
        ("nobody's ethertype", 0x0600),
        ("the last ethertype", 0xffff),
    ] {
        table.passed(name, &Frame::new().ethertype(ethertype).payload(&packet), Reason::NotIp);
    }
    let llc = |header: &[u8]| Frame::new().ethertype(46).payload(header).payload(&packet);
    table.passed("spanning tree", &llc(&[0x42, 0x42, 3]), Reason::NotIp);
    table.passed("is-is", &llc(&[0xfe, 0xfe, 3]), Reason::NotIp);
    table.passed("llc by the sap of ip", &llc(&[6, 6, 3]), Reason::NotIp);
    table.passed("raw 802.3", &llc(&[0xff, 0xff]), Reason::NotIp);
    table.passed("snap of a maker", &llc(&[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0]), Reason::NotIp);
    let ppp = |protocol| Frame::new().ethertype(protocol).link(Link::Pppoe).payload(&[1; 30]);
    table.passed("lcp", &ppp(0xc021), Reason::NotIp);
    table.passed("ipcp", &ppp(0x8021), Reason::NotIp);
    table.passed("compressed ppp", &ppp(0x00fd), Reason::NotIp);
    let pseudowire = Frame::new().link(Link::Mpls(vec![18])).payload(&[0; 60]);
    table.passed("pseudowire", &pseudowire, Reason::NotIp);
    table.passed("nothing behind ethernet", &Frame::new(), Reason::NotIp);
}
