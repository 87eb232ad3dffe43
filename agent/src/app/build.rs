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
        limits::LimitNumbers,
        merge::{self, Merged},
        protect::{self, Conflicts},
    },
};

/// What a policy is made of, and what came out.
pub(super) struct Built {
    pub(super) conflicts: Vec<Conflicts>,
    pub(super) policy: Policy,
    pub(super) merged: Merged,
    pub(super) demand: Demand,
}

/// Makes a policy.
pub(super) fn build(
    config: &Config,
    feeds: &[Feed],
    classes: &mut Classes,
    numbers: &mut LimitNumbers,
) -> Result<Built, TooManyClasses> {
    let protected = host::protected(&config.management);
    let policy = Policy::new(config, feeds, &protected, numbers);
    let conflicts = protect::conflicts(&policy.lists, &protected);
    let merged = merge::merge(&policy.lists, classes)?;
    let demand = Demand::of(&merged);
    Ok(Built { conflicts, policy, merged, demand })
}

/// Chooses table sizes: those of the configuration, else as large as what there is asks for. A list
/// that grows finds larger ones.
pub(super) fn sizes(config: &Config, demand: Demand) -> Sizes {
    let Demand { v4, v6 } = demand;
    let room = Demand { v4: config.tables.ipv4.unwrap_or(v4), v6: config.tables.ipv6.unwrap_or(v6) };
    compile::sizes(room, config.tables.limiter_bits)
}
