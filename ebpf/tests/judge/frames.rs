//! Frames by hand.

use std::net::{IpAddr, Ipv6Addr};

const ETHERNET: usize = 14;
const V6_HEADER: usize = 40;
/// Bytes of a frame with a neighbour solicitation.
pub(crate) const NS_TO_ALL: usize = ETHERNET + V6_HEADER + 24;

const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ip(source: &str, protocol: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| u16::try_from(header + payload.len()).unwrap().to_be_bytes();
    match source.parse().unwrap() {
        IpAddr::V4(source) => {
            let mut packet = vec![0x45, 0];
            packet.extend(length(20));
            packet.extend([0, 0, 0, 0, hop_limit, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend([192, 0, 2, 1]);
            packet.extend(payload);
            ethernet(0x0800, &packet)
        }
        IpAddr::V6(source) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(length(0));
            packet.extend([protocol, hop_limit]);
            packet.extend(source.octets());
            packet.extend(Ipv6Addr::LOCALHOST.octets());
            packet.extend(payload);
            ethernet(0x86dd, &packet)
        }
    }
}

/// The IP packet of a frame inside of another from `source`.
pub(crate) fn tunnel(source: &str, inner: &[u8]) -> Vec<u8> {
    let protocol = if inner[ETHERNET] >> 4 == 4 { 4 } else { 41 };
    ip(source, protocol, 64, &inner[ETHERNET..])
}

fn segment(port: u16, flags: u8) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![0xc0, 0, high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]
}

pub(crate) fn tcp(source: &str, port: u16, flags: u8) -> Vec<u8> {
    ip(source, TCP, 64, &segment(port, flags))
}

/// A SYN over IPv4 with one byte of its IP header changed.
pub(crate) fn tcp_patched(source: &str, at: usize, byte: u8) -> Vec<u8> {
    let mut frame = tcp(source, 443, 2);
    frame[ETHERNET + at] = byte;
    if at == 6 {
        // A first fragment: made tiny.
        frame[ETHERNET + 3] = 28;
    }
    frame
}

pub(crate) fn udp(source: &str, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    ip(source, UDP, 64, &[0xc0, 0, high, low, 0, 8, 0, 0])
}

/// An echo request.
pub(crate) fn echo(source: &str) -> Vec<u8> {
    let (protocol, kind) = if source.contains(':') { (ICMPV6, 128) } else { (ICMP, 8) };
    ip(source, protocol, 64, &[kind, 0, 0, 0, 0, 1, 0, 1])
}

/// A message of neighbour discovery, for all nodes.
pub(crate) fn neighbour(source: &str, kind: u8, hop_limit: u8) -> Vec<u8> {
    let mut message = vec![0; 24];
    message[0] = kind;
    ip(source, ICMPV6, hop_limit, &message)
}

/// A TCP segment over IPv4 to port 80 as a fragment; the offset in units of eight bytes.
pub(crate) fn fragment(source: &str, offset: u16, more: bool) -> Vec<u8> {
    let mut frame = ip(source, TCP, 64, &segment(80, 16));
    let field = offset | if more { 0x2000 } else { 0 };
    frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
    frame
}

/// A SYN over IPv6 behind as many extension headers.
pub(crate) fn v6_chain(source: &str, headers: usize) -> Vec<u8> {
    let mut payload = vec![];
    for i in 1..=headers {
        let next = if i == headers { TCP } else { DESTINATION_OPTIONS };
        payload.extend([next, 0, 1, 4, 0, 0, 0, 0]);
    }
    payload.extend(segment(443, 2));
    ip(source, DESTINATION_OPTIONS, 64, &payload)
}

pub(crate) fn arp() -> Vec<u8> {
    ethernet(0x0806, &[0; 28])
}

/// Puts VLAN tags into a frame.
pub(crate) fn tags(count: usize, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..count {
        frame.splice(12..12, [0x81, 0, 0, 7]);
    }
    frame
}

pub(crate) fn cut(mut frame: Vec<u8>, length: usize) -> Vec<u8> {
    frame.truncate(length);
    frame
}
