//! Frames that are never judged: without IP there is no source, and without neighbour discovery
//! there is no network.

use weir_common::{
    addr::Address,
    packet::{Kind, Packet, protocol},
    verdict::Reason,
};

use crate::{Case, Step};

#[inline(always)]
pub(super) fn judge(case: &mut Case) -> Step {
    match case.packet.kind {
        Kind::Other => case.pass(Reason::NotIp),
        Kind::Ip if is_neighbour_discovery(&case.packet) => case.pass(Reason::Neighbour),
        Kind::Ip | Kind::Unreadable => Step::Continue(()),
    }
}

/// RFC 4861 section 4: types 133 to 137, hop limit 255 (so not forwarded by any router), from a
/// link-local address or, during address detection, from none.
#[inline(always)]
const fn is_neighbour_discovery(packet: &Packet) -> bool {
    match packet.source {
        Address::V6(source) => {
            packet.protocol == protocol::ICMPV6
                && matches!(packet.flags, 133..=137)
                && packet.hop_limit == 255
                && packet.defect.is_none()
                && (source.is_link_local() || source.is_unspecified())
        }
        Address::V4(_) => false,
    }
}
