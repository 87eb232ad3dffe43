//! What the lists say of the source.

use weir_common::{
    class::{self, Action, NONE},
    packet::Kind,
    table,
    verdict::Reason,
};

use crate::{Case, Step, World};

/// Finds the class of the source.
#[inline(always)]
pub(super) fn look_up(world: &impl World, case: &mut Case) {
    if case.packet.kind != Kind::Ip {
        return;
    }
    case.class = table::lookup(world, case.generation, &case.policy, case.packet.source);
    if case.class != NONE {
        case.listing = class::load(world, case.generation, case.class);
    }
}

/// Does what the class says.
#[inline(always)]
pub(super) fn judge(case: &mut Case) -> Step {
    if case.class == NONE {
        return Step::Continue(());
    }
    match case.listing.action {
        Action::Allow => case.pass(Reason::Allow),
        Action::Drop => {
            case.class_outcome = case.dropping(case.listing.shadow);
            case.drop(Reason::Feed, case.listing.shadow)
        }
        Action::Observe => {
            case.reason = Reason::Observe;
            Step::Continue(())
        }
    }
}
