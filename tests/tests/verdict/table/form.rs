//! Frames that no honest sender makes: from a source in no list each has its own reason, a listed
//! source is dropped as such, an allowed one passes.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_common::verdict::Reason;
use weir_tests::frame::{Extension, Frame, Link, tpid};

use super::{ALLOWED4, ALLOWED6, CLEAN4, CLEAN6, LISTED4, LISTED6, SSH, Table, v4, v6};

type Malformed = (String, Frame, Reason);

pub(super) fn add(table: &mut Table) {
    for (name, frame, reason) in malformed(CLEAN4, CLEAN6) {
        table.malformed(&name, &frame, reason);
        table.malformed(&format!("{name}, in qinq"), &in_qinq(frame), reason);
    }
    for (name, frame, _) in malformed(LISTED4, LISTED6) {
        table.listed(&format!("listed, {name}"), &frame);
        table.listed(&format!("listed, {name}, in qinq"), &in_qinq(frame));
    }
    for (name, frame, _) in malformed(ALLOWED4, ALLOWED6) {
        table.passed(&format!("allowed, {name}"), &frame, Reason::Allow);
    }
    for (name, frame, reason) in unreadable() {
        table.malformed(&name, &frame, reason);
    }
}

fn in_qinq(frame: Frame) -> Frame {
    frame.vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6)
}

fn malformed(from4: Ipv4Addr, from6: Ipv6Addr) -> Vec<Malformed> {
    let mut frames = Vec::new();
    headers_v4(&mut frames, from4);
    headers_v6(&mut frames, from6);
    transports(&mut frames, from4, from6);
    chains(&mut frames, from6);
    frames
}

fn headers_v4(frames: &mut Vec<Malformed>, source: Ipv4Addr) {
    let tcp = || v4(source).tcp(40000, SSH);
    let mut add = |name: String, frame, reason| frames.push((name, frame, reason));
    for ihl in 0..5 {
        add(format!("ihl {ihl}"), tcp().ihl(ihl), Reason::HeaderLength);
    }
    // Behind the tags, if there are any, the first byte of the IP header stands elsewhere.
    for version in [0u8, 1, 3, 5, 6, 7, 15] {
        let bytes = [&[version << 4 | 5], &tcp().packet()[1..]].concat();
        let frame = Frame::new().ethertype(0x0800).payload(&bytes);
        add(format!("version {version} in ipv4"), frame, Reason::HeaderLength);
    }
    for total in [0, 1, 19, 41, 1000, 0xffff] {
        add(format!("total length {total}"), tcp().ip_length(total), Reason::TotalLength);
    }
    for ihl in [11, 15] {
        add(format!("ihl {ihl} beyond the packet"), tcp().ihl(ihl), Reason::TotalLength);
    }
    add("total length within the options".into(), tcp().options(&[1; 40]).ip_length(59), Reason::TotalLength);
    let later = v4(source).protocol(6).fragment(10, true).payload(&[1; 64]);
    add("later fragment longer than the frame".into(), later.ip_length(85), Reason::TotalLength);
}

fn headers_v6(frames: &mut Vec<Malformed>, source: Ipv6Addr) {
    let tcp = || v6(source).tcp(40000, SSH);
    let mut add = |name: String, frame, reason| frames.push((name, frame, reason));
    for version in [0u8, 4, 5, 7, 15] {
        let bytes = [&[version << 4], &tcp().packet()[1..]].concat();
        let frame = Frame::new().ethertype(0x86dd).payload(&bytes);
        add(format!("version {version} in ipv6"), frame, Reason::HeaderLength);
    }
    for payload in [21, 1000, 0xffff] {
        add(format!("payload length {payload}"), tcp().ip_length(payload), Reason::TotalLength);
    }
    add("payload length 0".into(), tcp().ip_length(0), Reason::Truncated);
}

/// Transport headers that are not all there, in a whole packet and in a first fragment.
fn transports(frames: &mut Vec<Malformed>, from4: Ipv4Addr, from6: Ipv6Addr) {
    let headers = [
        ("tcp", 6, 20),
        ("udp", 17, 8),
        ("udp-lite", 136, 8),
        ("sctp", 132, 12),
        ("dccp", 33, 12),
        ("icmp", 1, 8),
        ("icmpv6", 58, 4),
    ];
    for (name, protocol, header) in headers {
        for length in [0, 1, header - 1] {
            let payload = vec![0; length];
            let over_v4 = v4(from4).protocol(protocol).payload(&payload);
            let over_v6 = v6(from6).protocol(protocol).payload(&payload);
            frames.push((format!("v4 {length} bytes of {name}"), over_v4.clone(), Reason::Truncated));
            frames.push((format!("v6 {length} bytes of {name}"), over_v6.clone(), Reason::Truncated));
            for (version, frame) in [(4, over_v4), (6, over_v6)] {
                let name = format!("v{version} {length} bytes of {name} in a first fragment");
                frames.push((name, frame.fragment(0, true), Reason::TinyFragment));
            }
        }
    }
}

fn chains(frames: &mut Vec<Malformed>, source: Ipv6Addr) {
    let tcp = || v6(source).tcp(40000, SSH);
    let mut add = |name: String, frame, reason| frames.push((name, frame, reason));
    for (name, extension) in [
        ("hop-by-hop", Extension::hop_by_hop()),
        ("destination options", Extension::destination()),
        ("routing", Extension::routing()),
        ("authentication", Extension::authentication()),
        ("mobility", Extension::mobility()),
        ("fragments", Extension::fragment(0, false)),
    ] {
        for count in [9, 12] {
            let frame = (0..count).fold(tcp(), |frame, _| frame.extension(extension.clone()));
            add(format!("{count} of {name}"), frame, Reason::ExtensionChain);
        }
    }
    for protocol in [0, 43, 60, 135, 139, 140] {
        let beyond = Extension::new(protocol, &[200, 0, 0, 0, 0, 0, 0]);
        add(
            format!("header {protocol} beyond the packet"),
            tcp().extension(beyond.clone()),
            Reason::Truncated,
        );
        let first = tcp().fragment(0, true).extension(beyond);
        add(format!("header {protocol} beyond a first fragment"), first, Reason::TinyFragment);
    }
    let beyond = Extension::new(51, &[200, 0, 0, 0, 0, 0, 0]);
    add("authentication beyond the packet".into(), tcp().extension(beyond), Reason::Truncated);
    for (name, protocol, bytes) in
        [("fragment", 44, 7), ("fragment", 44, 0), ("routing", 43, 1), ("options", 0, 3)]
    {
        let frame = v6(source).protocol(protocol).payload(&vec![0; bytes]);
        add(format!("{bytes} bytes of a {name} header"), frame, Reason::Truncated);
    }
}

/// Frames in which no source can be found.
fn unreadable() -> Vec<Malformed> {
    let tcp4 = || v4(CLEAN4).tcp(40000, SSH);
    let tcp6 = || v6(CLEAN6).tcp(40000, SSH);
    let mut frames = Vec::new();
    let mut add = |name: String, frame, reason| frames.push((name, frame, reason));
    for third in [tpid::VLAN, tpid::QINQ, tpid::QINQ_OLD] {
        let frame = in_qinq(tcp4()).vlan(third, 3);
        add(format!("three tags, the last {third:#x}"), frame, Reason::VlanDepth);
        add(format!("three tags {third:#x}, ipv6"), in_qinq(tcp6()).vlan(third, 3), Reason::VlanDepth);
    }
    let many = (0..9).fold(tcp4(), |frame, id| frame.vlan(tpid::VLAN, id));
    add("nine tags".into(), many, Reason::VlanDepth);
    let labels = Link::Mpls(vec![1, 2, 3, 4, 5]);
    add("five labels".into(), tcp4().link(labels.clone()), Reason::VlanDepth);
    add("five labels in a vlan".into(), tcp6().link(labels).vlan(tpid::VLAN, 5), Reason::VlanDepth);
    let tagged = [&[0, 5, 8, 0], &tcp4().packet()[..]].concat();
    let snap = Frame::new().ethertype(tpid::VLAN).payload(&tagged).link(Link::Snap([0; 3]));
    add("a tag in snap".into(), snap, Reason::VlanDepth);
    for (number, packet) in [(0x21, tcp4().packet()), (0x57, tcp6().packet())] {
        let bytes = [&[0x11, 0, 0, 7, 0, 60, number], &packet[..]].concat();
        let frame = Frame::new().ethertype(0x8864).payload(&bytes);
        add(format!("ppp protocol {number:#x} in a byte"), frame, Reason::VlanDepth);
    }
    frames
}
