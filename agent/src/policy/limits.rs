//! The numbers behind which the kernel knows limits.
//!
//! Buckets are kept by number, and so are counters. A limit keeps its number for as long as its
//! name is in the configuration, wherever it stands there: a reload forgets no debt.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use weir_common::limit::CAPACITY;

use crate::config::Limit;

/// Names of limits and their numbers, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitNumbers(BTreeMap<String, u8>);

impl LimitNumbers {
    /// Returns the limits with their numbers. Those of names that are gone are given again only
    /// when no other is left. The configuration has fewer limits than there are numbers.
    pub fn assign(&mut self, limits: &[Limit]) -> Vec<(u8, Limit)> {
        let wanted: HashSet<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
        limits.iter().filter_map(|limit| Some((self.number(&limit.name, &wanted)?, limit.clone()))).collect()
    }

    fn number(&mut self, name: &str, wanted: &HashSet<&str>) -> Option<u8> {
        if let Some(&number) = self.0.get(name) {
            return Some(number);
        }
        let taken: HashSet<u8> = self.0.values().copied().collect();
        let unused = (1..CAPACITY).filter_map(|n| u8::try_from(n).ok()).find(|n| !taken.contains(n));
        let number = unused.or_else(|| {
            let gone = self.0.keys().find(|known| !wanted.contains(known.as_str()))?.clone();
            self.0.remove(&gone)
        })?;
        self.0.insert(name.to_owned(), number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use weir_common::{
        gcra::Profile,
        limit::{Dimension, PROFILES, Scope},
    };

    use super::*;
    use crate::config::{Enforce, Pace};

    fn limits(names: &[&str]) -> Vec<Limit> {
        names
            .iter()
            .map(|name| Limit {
                name: (*name).to_owned(),
                service: Some("https".to_owned()),
                dimension: Dimension::Packets,
                paces: [Pace { rate: 1.0, burst: 1, profile: Profile::default() }; PROFILES],
                scope: Scope::SOURCE,
                soft: 0,
                enforce: Enforce::Enforce,
            })
            .collect()
    }

    fn numbers(assigned: &[(u8, Limit)]) -> Vec<u8> {
        assigned.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_name_keeps_its_number() {
        let mut known = LimitNumbers::default();
        assert_eq!(numbers(&known.assign(&limits(&["a", "b"]))), [1, 2]);
        assert_eq!(numbers(&known.assign(&limits(&["c", "b"]))), [3, 2]);
        assert_eq!(numbers(&known.assign(&limits(&["b", "a"]))), [2, 1]);
    }

    #[test]
    fn numbers_of_names_that_are_gone_are_given_last() {
        let mut known = LimitNumbers::default();
        for i in 1..CAPACITY {
            known.assign(&limits(&["stays", &format!("gone-{i}")]));
        }
        let assigned = known.assign(&limits(&["stays", "new"]));
        assert_eq!(assigned.len(), 2);
        assert_eq!(assigned[0].0, 1);
        assert_ne!(assigned[1].0, 1);
    }
}
