//! Which prefix lengths a table has.
//!
//! A packet looks for each length in turn, so there is a bound on them. Where lists have more, those
//! that cost least are expanded: 2^n prefixes that are n bits longer cover the same addresses
//! (controlled prefix expansion, Srinivasan and Varghese 1998). Entries are inserted the wider first,
//! so an expanded one never hides a longer one.

use super::LENGTHS_MAX;
use crate::addr::V6;

const LONGEST: usize = 128;

/// Under which length entries of each length stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths([u8; LONGEST + 1]);

impl Lengths {
    /// Returns the lengths for entries, given by their lengths from 1 to 128.
    #[must_use]
    pub fn of(entries: impl Iterator<Item = u32>) -> Self {
        let mut counts = [0u64; LONGEST + 1];
        for length in entries {
            if let Some(count) = counts.get_mut(length as usize) {
                *count += 1;
            }
        }
        let mut stored = [0; LONGEST + 1];
        for length in (1..=LONGEST).filter(|length| counts[*length] > 0) {
            stored[length] = length as u8;
        }
        let present = |stored: &[u8], length: usize| usize::from(stored[length]) == length;
        while (1..=LONGEST).filter(|length| present(&stored, *length)).count() > LENGTHS_MAX as usize {
            // Of all pairs of neighbours the one that costs least to make one.
            let mut cheapest = (u64::MAX, 0, 0);
            let mut longer = 0;
            for length in (1..=LONGEST).rev().filter(|length| present(&stored, *length)) {
                if longer != 0 {
                    let cost = counts[length]
                        .saturating_mul(1u64.checked_shl((longer - length) as u32).unwrap_or(u64::MAX));
                    if cost < cheapest.0 {
                        cheapest = (cost, length, longer);
                    }
                }
                longer = length;
            }
            let (cost, length, longer) = cheapest;
            if length == 0 {
                break;
            }
            counts[longer] = counts[longer].saturating_add(cost);
            for stands in stored.iter_mut().filter(|stands| usize::from(**stands) == length) {
                *stands = longer as u8;
            }
        }
        Self(stored)
    }

    /// Returns the length under which entries of `length` stand; 0 where there are none.
    #[must_use]
    pub fn stored(&self, length: u32) -> u32 {
        self.0.get(length as usize).map_or(0, |length| u32::from(*length))
    }

    /// Returns true if no entry is expanded.
    #[must_use]
    pub fn are_exact(&self) -> bool {
        (0..).zip(&self.0).all(|(length, stored)| *stored == 0 || *stored == length)
    }

    /// Returns the prefixes, all of the length under which they stand, that are `network`/`length`.
    pub fn expand(&self, network: V6, length: u32) -> impl Iterator<Item = (V6, u32)> + use<> {
        let stored = self.stored(length).max(length);
        let start = u128::from(network.high) << 64 | u128::from(network.low);
        let step = 1u128 << (128 - stored);
        (0..1u64 << (stored - length).min(63)).map(move |n| {
            let bits = start + u128::from(n) * step;
            (V6 { high: (bits >> 64) as u64, low: bits as u64 }, stored)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lengths_stay() {
        let lengths = Lengths::of([32, 48, 48, 64, 128].into_iter());
        assert_eq!([32, 48, 64, 128, 56].map(|length| lengths.stored(length)), [32, 48, 64, 128, 0]);
        let network = V6 { high: 0x2001_0db8 << 32, low: 0 };
        assert_eq!(lengths.expand(network, 48).collect::<std::vec::Vec<_>>(), [(network, 48)]);
    }

    #[test]
    fn many_are_expanded_where_it_costs_least() {
        // One of each, and many /64.
        let lengths = Lengths::of((1..=128).chain([64; 1000]));
        let stored: std::collections::BTreeSet<u32> =
            (1..=128).map(|length| lengths.stored(length)).collect();
        assert_eq!(stored.len(), LENGTHS_MAX as usize);
        assert_eq!(lengths.stored(64), 64);
        assert_eq!(lengths.stored(128), 128);
        for length in 1..=128 {
            let stored = lengths.stored(length);
            assert!((length..length + 6).contains(&stored), "/{length} stands under /{stored}");
            let network = V6 { high: u64::MAX, low: u64::MAX }.network(length);
            let expanded: std::vec::Vec<_> = lengths.expand(network, length).collect();
            assert_eq!(expanded.len(), 1 << (stored - length));
            assert!(expanded.iter().all(|(part, _)| part.network(length) == network));
            let distinct: std::collections::HashSet<_> =
                expanded.iter().map(|(part, _)| (part.high, part.low)).collect();
            assert_eq!(distinct.len(), expanded.len());
        }
    }
}
