//! What a declared load balancer has wrapped up: the packet inside is the one that is judged, by its
//! own source. From anybody else a tunnel is a packet like any other.

use core::hint::cold_path;

use weir_common::{
    class::{Class, NONE},
    packet::{Frame, Kind, tunnel},
    verdict::Reason,
};

use super::{limit, reputation};
use crate::{Case, Step, World};

#[inline(always)]
pub(super) fn judge(world: &impl World, frame: &impl Frame, case: &mut Case) -> Step {
    if !case.listing.decap {
        return Step::Continue(());
    }
    // Where its code is laid out, and whose values stay in registers: those of all other packets.
    cold_path();
    if !tunnel::enter(&frame.again(), &mut case.packet) {
        return Step::Continue(());
    }
    let case = world.again(case);
    case.class = NONE;
    case.listing = Class::UNLISTED;
    if case.packet.kind == Kind::Other {
        return case.pass(Reason::NotIp);
    }
    limit::find_service(world, case);
    reputation::look_up(world, case);
    Step::Continue(())
}
