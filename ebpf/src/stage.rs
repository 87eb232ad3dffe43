//! The order of the stages. Each says how it ends the way of a packet, or lets it go on.

/// Frames that are never judged.
mod trust;
/// What the lists say of the source.
mod reputation;
/// What bans and manual rules say of the source.
mod overlay;
/// What a declared load balancer has wrapped up.
mod tunnel;
/// Frames that no honest sender makes.
mod form;
/// Limits on declared services.
mod limit;

use weir_common::packet::Frame;

use crate::{Case, Step, World};

/// Runs the stages. All of them are here, in order.
///
/// Between two of them the case is read back from memory. In the kernel that is a map value, of
/// which the verifier knows nothing, so that the paths through a stage do not multiply with those
/// through the next. For the same reason settings are read where they are needed: a number that
/// stays in a register from one stage to the next keeps paths apart.
#[inline(always)]
pub(crate) fn run<W: World>(world: &W, frame: &impl Frame, case: &mut Case) -> Step {
    let case = world.again(case);
    trust::judge(case)?;
    let case = world.again(case);
    // Before the table: what lies between that and the bucket is to be so short that the CPU asks memory
    // for both at once.
    limit::find_service(world, case);
    let case = world.again(case);
    reputation::look_up(world, case);
    let case = world.again(case);
    tunnel::judge(world, frame, case)?;
    let case = world.again(case);
    reputation::admit(case)?;
    let case = world.again(case);
    overlay::look_up(world, case)?;
    let case = world.again(case);
    reputation::judge(case)?;
    let case = world.again(case);
    form::judge(case)?;
    let case = world.again(case);
    limit::judge(world, case)
}
