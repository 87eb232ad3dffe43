//! Ports and flags of transport protocols.

use super::{Defect, Fragment, Frame, Packet, cut_off, protocol};

/// Flags of a TCP header (RFC 9293 section 3.1).
pub(super) const SYN: u8 = 0x02;
pub(super) const ACK: u8 = 0x10;

/// Reads ports and flags, `at` bytes into the frame.
#[inline(always)]
pub(super) fn transport(frame: &impl Frame, at: u32, packet: &mut Packet) {
    if packet.fragment == Fragment::Later {
        return;
    }
    packet.transport = at;
    let header = match packet.protocol {
        protocol::TCP => 20,
        protocol::SCTP | protocol::DCCP => 12,
        protocol::UDP | protocol::UDP_LITE | protocol::ICMP => 8,
        protocol::ICMPV6 => 4,
        _ => return,
    };
    let words = if at + header > packet.length { None } else { frame.load::<2>(at) };
    let Some([first, second]) = words else {
        packet.defect = Some(cut_off(packet.fragment));
        return;
    };
    if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
        packet.flags = first.to_ne_bytes()[0];
        return;
    }
    if packet.protocol == protocol::TCP {
        // Missing though the length says otherwise: in the first fragment of a tunnel.
        let Some([offset_flags]) = frame.load::<1>(at + 12) else {
            packet.defect = Some(Defect::Truncated);
            return;
        };
        packet.flags = offset_flags.to_ne_bytes()[1];
    }
    packet.source_port = u16::from_be(first);
    packet.destination_port = u16::from_be(second);
}
