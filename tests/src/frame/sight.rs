//! What stands in a frame, for those who count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{IPV4, IPV6, tpid};

/// What a received frame is, as far as a count needs it. Read by other code than weir's parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// VLAN tags before the IP header.
    pub tags: usize,
    /// Source of the IP packet.
    pub source: IpAddr,
    /// Destination of the IP packet.
    pub destination: IpAddr,
    /// IPv4 protocol, or IPv6 next header: the first of a chain.
    pub protocol: u8,
}

impl Sight {
    /// Reads a frame. Nothing where it carries no IP packet, or not all of its header.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let mut tags = 0;
        let mut at = 12;
        let mut kind = word(frame, at)?;
        while matches!(kind, tpid::VLAN | tpid::QINQ | tpid::QINQ_OLD) {
            tags += 1;
            at += 4;
            kind = word(frame, at)?;
        }
        let packet = frame.get(at + 2..)?;
        match kind {
            IPV4 => Some(Self {
                tags,
                source: Ipv4Addr::from(bytes::<4>(packet, 12)?).into(),
                destination: Ipv4Addr::from(bytes::<4>(packet, 16)?).into(),
                protocol: packet[9],
            }),
            IPV6 => Some(Self {
                tags,
                source: Ipv6Addr::from(bytes::<16>(packet, 8)?).into(),
                destination: Ipv6Addr::from(bytes::<16>(packet, 24)?).into(),
                protocol: packet[6],
            }),
            _ => None,
        }
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes(frame, at)?))
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}
