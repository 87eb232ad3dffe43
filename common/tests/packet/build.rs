//! Frames from their parts.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_common::packet::protocol;

pub(crate) const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 0x77);
pub(crate) const PORTS: (u16, u16) = (50_123, 443);

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;

/// Addresses, tags of (TPID, TCI), ethertype.
pub(crate) fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet with `ihl` words of header, at least five of which are there.
pub(crate) fn v4(ihl: u8, protocol: u8, flags_offset: u16, payload: &[u8]) -> Vec<u8> {
    let header = usize::from(ihl.max(5)) * 4;
    let mut packet = vec![1; header]; // options: no operation
    let total = (header + payload.len()) as u16;
    packet[0] = 0x40 | ihl;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[4..6].copy_from_slice(&[0xab, 0xcd]);
    packet[6..8].copy_from_slice(&flags_offset.to_be_bytes());
    packet[8..12].copy_from_slice(&[64, protocol, 0, 0]);
    packet[12..16].copy_from_slice(&SOURCE_V4.octets());
    packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
    packet.extend(payload);
    packet
}

/// An IPv6 packet.
pub(crate) fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(SOURCE_V6.octets());
    packet.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    packet.extend(payload);
    packet
}

/// An IPv6 extension header: its number, and its bytes, of which the first becomes the next.
pub(crate) type Extension = (u8, Vec<u8>);

/// A header of `8 * (length + 1)` bytes.
pub(crate) fn extension(number: u8, length: u8) -> Extension {
    let mut bytes = vec![0; 8 * (usize::from(length) + 1)];
    bytes[1] = length;
    (number, bytes)
}

/// An authentication header of `4 * (length + 2)` bytes.
pub(crate) fn authentication(length: u8) -> Extension {
    let mut bytes = vec![0xaa; 4 * (usize::from(length) + 2)];
    bytes[1] = length;
    (protocol::AH, bytes)
}

/// A fragment header; the offset in units of eight bytes.
pub(crate) fn fragment(offset: u16, more: bool) -> Extension {
    let field = offset << 3 | u16::from(more);
    let [high, low] = field.to_be_bytes();
    (protocol::FRAGMENT, vec![0, 0xee, high, low, 1, 2, 3, 4])
}

/// An IPv6 packet with extension headers in front of its payload.
pub(crate) fn v6_chain(extensions: &[Extension], last: u8, payload: &[u8]) -> Vec<u8> {
    let first = extensions.first().map_or(last, |(number, _)| *number);
    let mut bytes = vec![];
    for (i, (_, header)) in extensions.iter().enumerate() {
        let start = bytes.len();
        bytes.extend(header);
        bytes[start] = extensions.get(i + 1).map_or(last, |(number, _)| *number);
    }
    bytes.extend(payload);
    v6(first, &bytes)
}

/// The start of a transport header: ports, and zeros up to `length` bytes.
pub(crate) fn ports(length: usize) -> Vec<u8> {
    let mut header = [PORTS.0.to_be_bytes(), PORTS.1.to_be_bytes()].concat();
    header.resize(length, 0);
    header
}

pub(crate) fn tcp(flags: u8) -> Vec<u8> {
    let mut header = ports(20);
    header[12] = 0x50;
    header[13] = flags;
    header
}

pub(crate) fn udp() -> Vec<u8> {
    let mut header = ports(8);
    header[5] = 8;
    header
}

/// ICMP or ICMPv6.
pub(crate) fn icmp(kind: u8) -> Vec<u8> {
    vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1]
}
