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

/// Smallest tables, in entries: a list that grows later finds room.
const V4_ENTRIES_MIN: u64 = 1 << 20;
const V6_ENTRIES_MIN: u64 = 1 << 16;

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

/// Chooses table sizes: those of the configuration, else twice what there is.
pub(super) fn sizes(config: &Config, demand: Demand) -> Sizes {
    let entries = |set: Option<u64>, need: u64, min: u64| set.unwrap_or((need * 2).max(min));
    Sizes {
        v4_bits: compile::v4_bits(entries(config.tables.ipv4, demand.v4, V4_ENTRIES_MIN)),
        v6_bits: compile::v6_bits(entries(config.tables.ipv6, demand.v6, V6_ENTRIES_MIN)),
        limiter_bits: config.tables.limiter_bits,
    }
}
