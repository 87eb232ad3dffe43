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
        let Some(demand) = Demand::load(world, case.generation, id, &case.packet, case.listing.profile) else {
            break;
        };
        if demand.units == 0 {
            continue;
        }
        case.limit = id;
        case.limit_outcome = Outcome::Pass;
        let key = Key::new(global, case.packet.source, id, demand.v6_bits);
        let cost = demand.profile.cost(demand.units, world.dither());
        let reason = match gcra::charge(world, world, global, key, cost, demand.profile.tolerance) {
            Charge::Admitted | Charge::Valve { admitted: true } => continue,
            Charge::Over => Reason::Limit,
            Charge::Valve { admitted: false } => Reason::Valve,
        };
        case.limit_outcome = case.dropping(demand.shadow);
        case.drop(reason, demand.shadow)?;
    }
    Step::Continue(())
}
