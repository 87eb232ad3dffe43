//! Limits on declared services, and those on control packets. They are asked in the order in which
//! the policy names them; the first that is over ends it, unless it is in shadow mode.

use weir_common::{
    control::Global,
    counter::{Answer, Outcome},
    gcra::{self, Charge, Key},
    limit::{self, ASKED_MAX, Demand},
    verdict::Reason,
};

use crate::{Case, Step, World};

/// Finds the service that the packet is for.
#[inline(always)]
pub(super) fn find_service(world: &impl World, case: &mut Case) {
    case.service = limit::service(world, case.generation, &case.packet);
}

#[inline(always)]
pub(super) fn judge<W: World>(world: &W, case: &mut Case) -> Step {
    let mut ids = limit::limits_for(world, case.generation, case.service, &case.packet);
    let mut asked = 0;
    while asked < ASKED_MAX {
        if ids == 0 {
            break;
        }
        let id = (ids & 0xff) as u8;
        ids >>= 8;
        asked += 1;
        if id != 0 {
            ask(world, case, id)?;
        }
    }
    Step::Continue(())
}

/// Charges the packet to its source under limit `id`.
#[inline(always)]
fn ask<W: World>(world: &W, case: &mut Case, id: u8) -> Step {
    let Some(global) = &Global::load(world) else { return Step::Continue(()) };
    let demand = match Demand::load(world, case.generation, id, &case.packet) {
        Some(demand) if demand.units != 0 => demand,
        Some(_) | None => return Step::Continue(()),
    };
    let place = Key::new(global, case.packet.source, id, demand.scope).place(world);
    let (profile, bounds) = demand.terms(case.listing.profile);
    let over = case.dropping(demand.shadow);
    let (outcome, reason, answer) =
        match gcra::charge(world, world, global, place, profile.cost(demand.units), bounds) {
            Charge::Admitted | Charge::Valve { admitted: true } => {
                (Outcome::Pass, Reason::Clean, Answer::Within)
            }
            Charge::Near => (Outcome::Pass, Reason::Clean, Answer::Near),
            Charge::Over => (over, Reason::Limit, Answer::over(over)),
            Charge::Valve { admitted: false } => (over, Reason::Valve, Answer::over(over)),
        };
    // One that spoke against the packet stays the one that is named, unless another drops it.
    if case.answer == Answer::Within || answer == Answer::Drop {
        case.limit = id;
        case.answer = answer;
    }
    if outcome == Outcome::Pass { Step::Continue(()) } else { case.drop(reason, demand.shadow) }
}
