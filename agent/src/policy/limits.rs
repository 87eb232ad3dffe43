//! The numbers behind which the kernel knows limits.
//!
//! Buckets are kept by number, and so are counters. A limit keeps its number for as long as its
//! name is in the configuration, wherever it stands there: a reload forgets no debt.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use weir_common::limit::{CAPACITY, DEFAULT, Dimension, SUSPICIOUS};

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

/// Spoofed sources a second that a limiter should stand: 10 GbE of small packets.
const FLOOD: f64 = 10e6;
/// Buckets of a line.
const BUCKETS: f64 = 8.0;

/// Returns a warning for each limit under which a spoofed flood would fill the limiter, whose size
/// is 2^`limiter_bits` lines. A bucket is taken for the time that one unit takes to earn, so a slow
/// limit keeps more of them taken.
#[must_use]
pub fn crowded(limits: &[Limit], limiter_bits: u32) -> Vec<String> {
    let buckets = f64::from(1u32 << limiter_bits.min(31)) * BUCKETS;
    // At half load lines begin to be full.
    let slowest = 2.0 * FLOOD / buckets;
    let warn = |limit: &Limit| {
        let rate = limit.paces.iter().map(|pace| pace.rate).fold(f64::INFINITY, f64::min);
        (limit.scope.v4_bits != 0 && rate < slowest).then(|| {
            format!(
                "limit {}: {rate}/s is slow for a limiter of {} MiB: 10M spoofed sources a second would fill it, and \
                 new sources would share buckets (reason `valve`); raise tables.limiter, or leave limits below \
                 {slowest:.1}/s to quotas of the proxy",
                limit.name,
                (64u64 << limiter_bits) >> 20,
            )
        })
    };
    limits.iter().filter(|limit| limit.dimension != Dimension::Bytes).filter_map(warn).collect()
}

/// Tells whether limits hold suspicious sources to the pace of everybody.
#[must_use]
pub fn suspicious_as_others(limits: &[Limit]) -> bool {
    limits.iter().all(|limit| limit.paces[usize::from(SUSPICIOUS)] == limit.paces[usize::from(DEFAULT)])
}

#[cfg(test)]
mod tests {
    use weir_common::{
        gcra::Profile,
        limit::{PROFILES, Scope},
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
    fn slow_limits_are_told_and_others_are_not() {
        let paced = |rate: f64, scope| {
            let pace = Pace { rate, burst: 1, profile: Profile::default() };
            Limit { paces: [pace; PROFILES], scope, ..limits(&["slow"])[0].clone() }
        };
        // 128 MiB hold 16.8M buckets: below 1.2/s a flood fills half of them.
        assert_eq!(crowded(&[paced(1.3, Scope::SOURCE)], 21), Vec::<String>::new());
        assert_eq!(crowded(&[paced(0.1, Scope::ALL)], 21), Vec::<String>::new());
        let warned = crowded(&[paced(1.1, Scope::SOURCE)], 21);
        assert!(warned[0].contains("limit slow: 1.1/s") && warned[0].contains("128 MiB"), "{warned:?}");
        assert_eq!(crowded(&[paced(4.0, Scope::SOURCE)], 19).len(), 1);
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
