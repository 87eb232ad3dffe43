//! The numbers behind which the kernel knows what lists say.
//!
//! A class stands for a set of lists and what follows from it. Numbers are given once and kept, so
//! that the kernel's counters per class stay attributed across policies and restarts.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use weir_common::{
    class::{Action, CAPACITY, Class, ClassId},
    limit::{DEFAULT, PARTNER, SUSPICIOUS},
};

use super::{List, Origin, Protected, Vote};
use crate::config::Consensus;

/// Which lists name an address, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClassSpec {
    /// What follows.
    #[serde(with = "ActionName")]
    pub action: Action,
    /// Counts what it would do.
    pub shadow: bool,
    /// To which profile limits hold it.
    pub profile: u8,
    /// The lists, in the order of the policy.
    pub origins: Vec<Origin>,
}

/// Names of actions in the record.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Action", rename_all = "lowercase")]
enum ActionName {
    Observe,
    Allow,
    Drop,
}

impl ClassSpec {
    /// Returns what follows from being on these lists: allow, and with it balancers, beats all, then
    /// partner and trusted proxy, then a list that drops, then one that would, then one that only observes. What is
    /// suspicious to one list is held to that profile wherever it passes.
    #[must_use]
    pub fn of(lists: &[&List]) -> Self {
        let agreed = agreed(lists);
        let said: Vec<(Action, bool, u8)> = lists
            .iter()
            .map(|list| (list.action, list.shadow, list.profile))
            .chain(agreed.iter().map(|consensus| {
                let shadow = consensus.enforce.is_shadow();
                let (action, profile) = super::outcome(consensus.action, shadow);
                (action, shadow, profile)
            }))
            .collect();
        let any = |action: Action, shadow: bool| {
            said.iter().any(|said| said.0 == action && (said.1 == shadow || action == Action::Allow))
        };
        let named = |profile: u8| said.iter().any(|said| said.2 == profile);
        let hop = lists.iter().any(|list| list.origin == Origin::Protected(Protected::TrustedProxy));
        let profile = [PARTNER, SUSPICIOUS].into_iter().find(|profile| named(*profile));
        // What a list says of a hop is meant for one of those behind it.
        let profile = profile.filter(|profile| !(hop && *profile == SUSPICIOUS)).unwrap_or(DEFAULT);
        let (action, shadow) = if any(Action::Allow, false) {
            (Action::Allow, false)
        } else if profile == PARTNER || hop {
            (Action::Observe, false)
        } else if any(Action::Drop, false) {
            (Action::Drop, false)
        } else if any(Action::Drop, true) {
            (Action::Drop, true)
        } else {
            (Action::Observe, false)
        };
        let mut origins: Vec<Origin> = lists.iter().map(|list| list.origin.clone()).collect();
        // A stream has two lists of one name.
        origins.dedup();
        origins.extend(agreed.iter().map(|consensus| Origin::Consensus(consensus.name.clone())));
        Self { action, shadow, profile, origins }
    }

    /// Returns the class as the kernel sees it.
    #[must_use]
    pub fn class(&self) -> Class {
        // What else names a balancer does not keep its tunnels closed.
        let decap = self.origins.contains(&Origin::Balancer);
        Class { action: self.action, shadow: self.shadow, profile: self.profile, decap }
    }
}

/// All classes that were ever used, by number.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    specs: Vec<ClassSpec>,
    numbers: HashMap<ClassSpec, ClassId>,
}

/// More combinations of lists occur than there are classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lists overlap in more than {} combinations; use fewer lists", CAPACITY - 1)]
pub struct TooManyClasses;

impl Classes {
    /// Returns the classes with these specs, numbered from 1.
    #[must_use]
    pub fn from_specs(specs: Vec<ClassSpec>) -> Self {
        let mut classes = Self::default();
        for spec in specs {
            // A record that repeats a spec would number what follows differently; keep its place.
            let number = next_number(&classes.specs).unwrap_or(ClassId::MAX);
            classes.numbers.entry(spec.clone()).or_insert(number);
            classes.specs.push(spec);
        }
        classes
    }

    /// Returns the number of `spec`.
    ///
    /// # Errors
    /// [`TooManyClasses`] where no number is left.
    pub fn number(&mut self, spec: ClassSpec) -> Result<ClassId, TooManyClasses> {
        if let Some(&number) = self.numbers.get(&spec) {
            return Ok(number);
        }
        let number = next_number(&self.specs).ok_or(TooManyClasses)?;
        self.numbers.insert(spec.clone(), number);
        self.specs.push(spec);
        Ok(number)
    }

    /// Returns what class `id` stands for.
    #[must_use]
    pub fn get(&self, id: ClassId) -> Option<&ClassSpec> {
        self.specs.get(usize::from(id).checked_sub(1)?)
    }

    /// Returns all classes by number, from 1.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, &ClassSpec)> {
        (1..).zip(&self.specs)
    }

    /// Returns the specs, of class 1 and following.
    #[must_use]
    pub fn specs(&self) -> &[ClassSpec] {
        &self.specs
    }
}

fn next_number(specs: &[ClassSpec]) -> Option<ClassId> {
    ClassId::try_from(specs.len() + 1).ok().filter(|number| u32::from(*number) < CAPACITY)
}

/// Returns what these lists are enough for together. A feed's word counts once.
fn agreed<'l>(lists: &[&'l List]) -> Vec<&'l Consensus> {
    let mut sums: Vec<(&Consensus, u32)> = Vec::new();
    for (at, list) in lists.iter().enumerate() {
        if lists[..at].iter().any(|before| before.origin == list.origin) {
            continue;
        }
        for Vote { on, weight } in list.votes.iter() {
            match sums.iter_mut().find(|(consensus, _)| consensus.name == on.name) {
                Some((_, sum)) => *sum += weight,
                None => sums.push((on, *weight)),
            }
        }
    }
    sums.retain(|(consensus, sum)| *sum >= consensus.weight);
    sums.into_iter().map(|(consensus, _)| consensus).collect()
}
