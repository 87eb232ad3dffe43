//! What bans and manual rules say of the source. An allow entry has been heard before, so no ban
//! cuts a trusted source off.

use weir_common::{
    control::Global,
    overlay::{self, Sentence},
    packet::Kind,
    verdict::Reason,
};

use crate::{Case, Step, World};

#[inline(always)]
pub(super) fn look_up(world: &impl World, case: &mut Case) -> Step {
    if case.packet.kind != Kind::Ip {
        return Step::Continue(());
    }
    if !overlay::any(world, case.packet.source) {
        return Step::Continue(());
    }
    let Some(global) = Global::load(world) else { return Step::Continue(()) };
    case.rule = overlay::lookup(world, global.seed, case.packet.source, world.coarse());
    match case.rule {
        Some(rule) => match rule.sentence {
            Sentence::Allow => case.pass(Reason::Allow),
            Sentence::Limit => {
                case.listing.profile = rule.profile;
                Step::Continue(())
            }
            Sentence::Drop => Step::Continue(()),
        },
        None => Step::Continue(()),
    }
}
