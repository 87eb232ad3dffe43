//! From configuration and lists to a policy, and the tables that it takes.

use weir_common::map::Sizes;

use crate::{
    config::Config,
    feed::Feed,
    host,
    policy::{
        Policy,
        classes::{Classes, TooManyClasses},
        compile::{self, Demand},
        generations::{Delta, InForce, Next},
        limits::LimitNumbers,
        merge::Merged,
        protect::{self, Conflicts},
    },
};

/// What a policy is made of, and what came out.
pub(super) struct Built {
    pub(super) conflicts: Vec<Conflicts>,
    pub(super) policy: Policy,
    pub(super) merged: Merged,
    pub(super) demand: Demand,
    pub(super) delta: Option<Delta>,
}

impl Built {
    pub(super) fn next<'b>(&'b self, classes: &'b Classes) -> Next<'b> {
        Next { policy: &self.policy, merged: &self.merged, classes, delta: self.delta.as_ref() }
    }

    /// Returns it as what is in force.
    pub(super) fn published(self, publication: u64) -> InForce {
        InForce { publication, lists: self.policy.lists, merged: self.merged }
    }
}

/// Makes a policy; of lists that differ little from those in force what is different.
pub(super) fn build(
    config: &Config,
    feeds: &[Feed],
    in_force: Option<&InForce>,
    classes: &mut Classes,
    numbers: &mut LimitNumbers,
) -> Result<Built, TooManyClasses> {
    let protected = host::protected(config);
    let policy = Policy::new(config, feeds, &protected, numbers);
    let conflicts = protect::conflicts(&policy.lists, &protected);
    let (merged, delta) = InForce::merge(in_force, &policy.lists, classes)?;
    let demand = Demand::of(&merged);
    Ok(Built { conflicts, policy, merged, demand, delta })
}

/// Chooses table sizes: those of the configuration, else as large as what there is asks for. A list
/// that grows finds larger ones.
pub(super) fn sizes(config: &Config, demand: Demand) -> Sizes {
    let Demand { v4, v6 } = demand;
    let room = Demand { v4: config.tables.ipv4.unwrap_or(v4), v6: config.tables.ipv6.unwrap_or(v6) };
    compile::sizes(room, config.tables.limiter_bits)
}
