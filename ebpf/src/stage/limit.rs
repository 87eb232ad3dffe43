//! Limits on declared services. They are asked in the order in which the policy names them; the
//! first that is over ends it, unless it is in shadow mode.

use weir_common::{
    control::Global,
    counter::Outcome,
    gcra::{self, Charge, Key},
    limit::{self, Demand, PER_SERVICE},
    verdict::Reason,
};

use crate::{Case, Step, World};

#[inline(always)]
pub(super) fn judge<W: World>(world: &W, global: &Global, case: &mut Case) -> Step {
    let service = limit::service(world, case.generation, &case.packet);
    if service == 0 {
        return Step::Continue(());
    }
    let mut ids = limit::limits_of(world, case.generation, service);
    let mut asked = 0;
    while asked < PER_SERVICE {
        let id = (ids & 0xff) as u8;
        if id == 0 {
            break;
        }
        ids >>= 8;
        asked += 1;
        let Some(demand) = Demand::load(world, case.generation, id, &case.packet, case.listing.profile)
        else {
            break;
        };
        if demand.units == 0 {
            continue;
        }
        let key = Key::new(global, case.packet.source, id, demand.v6_bits);
        let cost = demand.profile.cost(demand.units, world.dither());
        let tolerance = demand.profile.tolerance;
        let (outcome, reason) = match gcra::charge(world, world, global, key, cost, tolerance, demand.longest)
        {
            Charge::Admitted | Charge::Valve { admitted: true } => (Outcome::Pass, Reason::Clean),
            Charge::Over => (case.dropping(demand.shadow), Reason::Limit),
            Charge::Valve { admitted: false } => (case.dropping(demand.shadow), Reason::Valve),
        };
        // One that would have dropped the packet stays the one that is named, unless another drops it.
        if case.limit_outcome == Outcome::Pass || outcome == Outcome::Drop {
            case.limit = id;
            case.limit_outcome = outcome;
        }
        if outcome != Outcome::Pass {
            case.drop(reason, demand.shadow)?;
        }
    }
    Step::Continue(())
}
