//! Headers between Ethernet and IP: LLC/SNAP, PPPoE, MPLS.

use weir_common::packet::{Defect, Kind, Packet, protocol};

use crate::{
    build::{IPV4, IPV6, ethernet, udp, v4, v6},
    cases::{Case, V4, case, v6_facts, with_ports},
};

const PPPOE: u16 = 0x8864;
const MPLS: [u16; 2] = [0x8847, 0x8848];
const LABELS_MAX: usize = 4;
const DEEP: Packet = Packet { kind: Kind::Unreadable, defect: Some(Defect::VlanDepth), ..Packet::UNKNOWN };

pub(crate) fn cases(cases: &mut Vec<Case>) {
    for tags in [&[][..], &[(0x8100, 5)], &[(0x88a8, 5), (0x8100, 6)]] {
        let mut add = |name: &str, (ethertype, payload): (u16, Vec<u8>), want| {
            let name = format!("{name} behind {} tags", tags.len());
            cases.push(case(name, ethernet(tags, ethertype, &payload), want));
        };
        for (name, ethertype, packet, facts) in packets() {
            snap(&mut add, name, ethertype, &packet, facts);
            pppoe(&mut add, name, ethertype, &packet, facts);
            mpls(&mut add, name, ethertype, &packet, facts);
        }
        without_ip(&mut add);
    }
}

fn packets() -> [(&'static str, u16, Vec<u8>, Packet); 2] {
    let facts = |ip: Packet| Packet { protocol: protocol::UDP, ..with_ports(ip) };
    [
        ("v4", IPV4, v4(5, protocol::UDP, 0, &udp()), facts(V4)),
        ("v6", IPV6, v6(protocol::UDP, &udp()), facts(v6_facts())),
    ]
}

fn in_llc(organisation: [u8; 3], ethertype: u16, payload: &[u8]) -> (u16, Vec<u8>) {
    let [high, low] = ethertype.to_be_bytes();
    let [a, b, c] = organisation;
    let bytes = [&[0xaa, 0xaa, 3, a, b, c, high, low], payload].concat();
    (bytes.len() as u16, bytes)
}

fn in_pppoe(protocol: u16, payload: &[u8]) -> (u16, Vec<u8>) {
    let [high, low] = (payload.len() as u16 + 2).to_be_bytes();
    let [first, second] = protocol.to_be_bytes();
    (PPPOE, [&[0x11, 0, 0, 9, high, low, first, second], payload].concat())
}

fn in_mpls(ethertype: u16, labels: usize, payload: &[u8]) -> (u16, Vec<u8>) {
    let label = |i| [0, 1, 0x40 | u8::from(i == labels), 64];
    (ethertype, [(1..=labels).flat_map(label).collect(), payload.to_vec()].concat())
}

type Add<'a> = &'a mut dyn FnMut(&str, (u16, Vec<u8>), Packet);

fn snap(add: Add<'_>, name: &str, ethertype: u16, packet: &[u8], facts: Packet) {
    add(&format!("{name} in snap"), in_llc([0; 3], ethertype, packet), facts);
    add(&format!("{name} in snap of bridges"), in_llc([0, 0, 0xf8], ethertype, packet), facts);
    add(&format!("{name} in snap of others"), in_llc([0, 0, 0x0c], ethertype, packet), Packet::UNKNOWN);
    let tagged = [&[0, 5, 0x08, 0], packet].concat();
    add(&format!("{name} in a tag in snap"), in_llc([0; 3], 0x8100, &tagged), DEEP);
    let (kind, inner) = in_pppoe(if ethertype == IPV4 { 0x21 } else { 0x57 }, packet);
    add(&format!("{name} in pppoe in snap"), in_llc([0; 3], kind, &inner), facts);
    // Any length below the ethertypes, whatever there is.
    for length in [0, 46, 1500, 0x05ff] {
        let (_, payload) = in_llc([0; 3], ethertype, packet);
        add(&format!("{name} in snap of length {length}"), (length, payload), facts);
    }
    let (_, payload) = in_llc([0; 3], ethertype, packet);
    add(&format!("{name} in no snap"), (0x0600, payload), Packet::UNKNOWN);
}

fn pppoe(add: Add<'_>, name: &str, ethertype: u16, packet: &[u8], facts: Packet) {
    let number = if ethertype == IPV4 { 0x21 } else { 0x57 };
    add(&format!("{name} in pppoe"), in_pppoe(number, packet), facts);
    add(&format!("{name} in pppoe, compressed"), in_pppoe(number << 8 | 0x45, packet), DEEP);
    let (_, labelled) = in_mpls(MPLS[0], 2, packet);
    add(&format!("{name} in mpls in pppoe"), in_pppoe(0x0281, &labelled), facts);
    add(&format!("{name} in mpls of upstream in pppoe"), in_pppoe(0x0283, &labelled), facts);
    let mut odd = in_pppoe(number, packet);
    odd.1[..2].copy_from_slice(&[0x25, 0x77]);
    add(&format!("{name} in pppoe of version 2, code 0x77"), odd, facts);
}

fn mpls(add: Add<'_>, name: &str, _: u16, packet: &[u8], facts: Packet) {
    for ethertype in MPLS {
        for labels in 1..=LABELS_MAX {
            let frame = in_mpls(ethertype, labels, packet);
            add(&format!("{name} behind {labels} labels of {ethertype:#x}"), frame, facts);
        }
        let frame = in_mpls(ethertype, LABELS_MAX + 1, packet);
        add(&format!("{name} behind too many labels of {ethertype:#x}"), frame, DEEP);
    }
}

fn without_ip(add: Add<'_>) {
    let nothing = Packet::UNKNOWN;
    let bridge = [&[0x42, 0x42, 3], &[0u8; 35][..]].concat();
    add("spanning tree", (38, bridge), nothing);
    add("novell's own", (30, vec![0xff; 30]), nothing);
    add("arp in snap", in_llc([0; 3], 0x0806, &[0; 28]), nothing);
    add("lcp", in_pppoe(0xc021, &[9, 1, 0, 8, 0, 0, 0, 0]), nothing);
    add("ipcp", in_pppoe(0x8021, &[1, 1, 0, 4]), nothing);
    // A pseudowire starts with 0, its control channel with 1.
    add("pseudowire", in_mpls(MPLS[0], 2, &[0; 40]), nothing);
    add("control channel", in_mpls(MPLS[0], 1, &[0x10, 0, 0, 0x21, 0, 0]), nothing);
}
