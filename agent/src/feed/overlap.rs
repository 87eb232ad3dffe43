//! How many addresses of clouds, search bots and resolvers a list names, so that an operator knows
//! before it is enforced. Pure.

use serde::{Deserialize, Serialize};
use weir_common::addr::V6;

use super::{Entries, pack};

/// What a list and a pack have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The pack.
    pub pack: String,
    /// IPv4 addresses that both name.
    pub ipv4_addresses: u64,
    /// IPv6 /64 networks, or parts of one, that both name.
    pub ipv6_networks: u64,
}

/// Ranges that do not meet, sorted: first and last.
type Ranges<N> = Vec<(N, N)>;

/// Packs, ready to be compared with.
#[derive(Debug)]
pub struct Packs(Vec<(&'static str, Ranges<u32>, Ranges<u64>)>);

impl Packs {
    /// Returns all packs.
    #[must_use]
    pub fn all() -> Self {
        let ranges = |pack: &pack::Pack| {
            let entries = pack.entries();
            (pack.name, v4_ranges(&entries), v6_ranges(&entries))
        };
        Self(pack::ALL.iter().map(ranges).collect())
    }

    /// Returns what `entries` have in common with each of them, where there is something.
    #[must_use]
    pub fn overlaps(&self, entries: &Entries) -> Vec<Overlap> {
        let (v4, v6) = (v4_ranges(entries), v6_ranges(entries));
        let overlap = |(name, pack_v4, pack_v6): &(&str, Ranges<u32>, Ranges<u64>)| Overlap {
            pack: (*name).to_owned(),
            ipv4_addresses: common(&v4, pack_v4),
            ipv6_networks: common(&v6, pack_v6),
        };
        let all = self.0.iter().map(overlap);
        all.filter(|overlap| overlap.ipv4_addresses > 0 || overlap.ipv6_networks > 0).collect()
    }
}

fn v4_ranges(entries: &Entries) -> Ranges<u32> {
    let last = |length: u8| u32::MAX.checked_shr(length.into()).unwrap_or(0);
    joined(entries.v4.iter().map(|&(network, length)| (network, network | last(length))).collect())
}

/// By /64: what is longer counts as all of it.
fn v6_ranges(entries: &Entries) -> Ranges<u64> {
    let last = |length: u8| u64::MAX.checked_shr(length.into()).unwrap_or(0);
    let range = |&(V6 { high, .. }, length): &(V6, u8)| (high, high | last(length));
    joined(entries.v6.iter().map(range).collect())
}

fn joined<N: Copy + Ord>(mut ranges: Ranges<N>) -> Ranges<N> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let inside = next.0 <= before.1;
        if inside {
            before.1 = before.1.max(next.1);
        }
        inside
    });
    ranges
}

/// Returns how many numbers are in both.
fn common<N: Copy + Ord + Into<u64>>(one: &[(N, N)], other: &[(N, N)]) -> u64 {
    let (mut sum, mut at, mut beside) = (0u64, 0, 0);
    while let (Some(a), Some(b)) = (one.get(at), other.get(beside)) {
        let (first, last) = (a.0.max(b.0), a.1.min(b.1));
        if first <= last {
            sum = sum.saturating_add(last.into() - first.into()).saturating_add(1);
        }
        if a.1 < b.1 { at += 1 } else { beside += 1 }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_of_a_family_overlaps_with_itself() {
        let all = Entries { v4: vec![(0, 0)], v6: vec![(V6 { high: 0, low: 0 }, 0)] };
        assert_eq!(common(&v4_ranges(&all), &v4_ranges(&all)), 1 << 32);
        assert_eq!(common(&v6_ranges(&all), &v6_ranges(&all)), u64::MAX);
    }

    proptest! {
        #[test]
        fn counts_addresses_that_both_name(
            one in proptest::collection::vec((0u32..256, 24u8..=32), 0..10),
            other in proptest::collection::vec((0u32..256, 24u8..=32), 0..10),
        ) {
            let entries = |list: &[(u32, u8)]| Entries {
                v4: list.iter().map(|&(n, l)| (weir_common::addr::network_v4(n, l.into()), l)).collect(),
                v6: Vec::new(),
            };
            let (one, other) = (entries(&one), entries(&other));
            let names = |list: &Entries, address: u32| {
                list.v4.iter().any(|&(n, l)| weir_common::addr::network_v4(address, l.into()) == n)
            };
            let want = (0..256).filter(|&a| names(&one, a) && names(&other, a)).count();
            prop_assert_eq!(common(&v4_ranges(&one), &v4_ranges(&other)), want as u64);
        }
    }
}
