//! Frames that are never judged: without IP there is no source, and without neighbour discovery
//! there is no network.

use weir_common::{
    addr::Address,
    packet::{Fragment, Kind, Packet, protocol},
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

/// RFC 4861 section 4: types 133 to 137, hop limit 255, so not forwarded by any router. That alone says
/// that the sender is on the link. Its source may be of any kind: section 7.2.2 has hosts solicit from
/// the address for which they were asked, and one who floods the link can do so from a link-local
/// address as well. RFC 6980: never in fragments.
#[inline(always)]
fn is_neighbour_discovery(packet: &Packet) -> bool {
    matches!(packet.source, Address::V6(_))
        && packet.protocol == protocol::ICMPV6
        && matches!(packet.flags, 133..=137)
        && packet.hop_limit == 255
        && packet.fragment == Fragment::Whole
        && packet.defect.is_none()
}
