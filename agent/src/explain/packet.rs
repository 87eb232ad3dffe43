use weir_common::{
    addr::Address,
    packet::protocol::{TCP, UDP},
};

use crate::config::{Port, Protocol};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const HOPS: u8 = 64;
const TCP_ACK: u8 = 0x10;
/// Bytes of a transport header without options, of TCP: room enough for UDP as well.
const TRANSPORT: u8 = 20;

/// Returns a frame from `source` as an established connection sends it: Ethernet, IP (RFC 791, RFC
/// 8200) and TCP or UDP to `port`, port 0 without one.
pub(crate) fn from(source: Address, port: Option<Port>) -> Vec<u8> {
    let (protocol, number) = match port {
        Some(Port { number, protocol: Protocol::Udp }) => (UDP, number),
        Some(Port { number, protocol: Protocol::Tcp }) => (TCP, number),
        None => (TCP, 0),
    };
    let mut frame = vec![0; 12];
    match source {
        Address::V4(bits) => {
            frame.extend(IPV4);
            frame.extend([0x45, 0, 0, 20 + TRANSPORT, 0, 0, 0, 0, HOPS, protocol, 0, 0]);
            frame.extend(bits.to_be_bytes());
            frame.extend([0; 4]);
        }
        Address::V6(v6) => {
            frame.extend(IPV6);
            frame.extend([0x60, 0, 0, 0, 0, TRANSPORT, protocol, HOPS]);
            frame.extend(v6.high.to_be_bytes());
            frame.extend(v6.low.to_be_bytes());
            frame.extend([0; 16]);
        }
    }
    frame.extend([0, 0]);
    frame.extend(number.to_be_bytes());
    frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, TCP_ACK, 0, 0, 0, 0, 0, 0]);
    frame
}
