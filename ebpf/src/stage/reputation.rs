//! What the lists say of the source, and what follows.

use weir_common::{
    class::{self, Action, NONE},
    limit::MANAGEMENT,
    overlay::Sentence,
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

/// Lets an allowed source pass.
#[inline(always)]
pub(super) fn admit(case: &mut Case) -> Step {
    if case.class == NONE {
        return Step::Continue(());
    }
    case.reason = Reason::Observe;
    match case.listing.action {
        Action::Allow => case.pass(Reason::Allow),
        Action::Drop | Action::Observe => Step::Continue(()),
    }
}

/// Drops what a ban or a list speaks against, unless it is for a management port.
#[inline(always)]
pub(super) fn judge(case: &mut Case) -> Step {
    let ban = match case.rule {
        Some(rule) if rule.sentence == Sentence::Drop => Some(rule.shadow),
        Some(_) | None => None,
    };
    let listed = case.listing.action == Action::Drop;
    if ban.is_none() && !listed {
        return Step::Continue(());
    }
    if case.service == MANAGEMENT {
        return case.pass(Reason::Management);
    }
    if let Some(shadow) = ban {
        case.drop(Reason::Ban, shadow)?;
    }
    if !listed {
        return Step::Continue(());
    }
    case.class_outcome = case.dropping(case.listing.shadow);
    case.drop(Reason::Feed, case.listing.shadow)
}
