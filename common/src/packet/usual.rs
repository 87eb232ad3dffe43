//! The usual frame: an IPv4 header without options behind an untagged Ethernet header, TCP or UDP,
//! all of it there. Its facts are read at once, where the parts for all frames look at every step
//! whether there is one more; they would find the same.

use super::{Fragment, Frame, Kind, Packet, link, protocol, word};
use crate::addr::Address;

const ETHERNET_HEADER: u32 = 14;
const IPV4_HEADER: u32 = 20;
/// Offset of a fragment, and that more follow (RFC 791 section 3.1).
const FRAGMENT: u16 = 0x3fff;

/// Reads the facts of a usual frame. Nothing for all others.
#[inline(always)]
pub(super) fn parse(frame: &impl Frame) -> Option<Packet> {
    let words = frame.head::<24>()?;
    let [version_ihl, _] = words[7].to_ne_bytes();
    let [hop_limit, protocol] = words[11].to_ne_bytes();
    if words[6] != link::IPV4.to_be() || version_ihl != 0x45 || words[10] & FRAGMENT.to_be() != 0 {
        return None;
    }
    let (header, flags) = match protocol {
        protocol::TCP => (20, words[23].to_ne_bytes()[1]),
        protocol::UDP => (8, 0),
        _ => return None,
    };
    let total = u32::from(u16::from_be(words[8]));
    let length = ETHERNET_HEADER + total;
    if total < IPV4_HEADER + header || !frame.holds(length) {
        return None;
    }
    Some(Packet {
        kind: Kind::Ip,
        source: Address::V4(word(words[13], words[14])),
        length,
        protocol,
        hop_limit,
        fragment: Fragment::Whole,
        source_port: u16::from_be(words[17]),
        destination_port: u16::from_be(words[18]),
        flags,
        transport: ETHERNET_HEADER + IPV4_HEADER,
        defect: None,
    })
}
