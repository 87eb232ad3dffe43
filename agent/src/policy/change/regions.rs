//! Regions of the address space: /20s of IPv4, the blocks of the table, and /48s of IPv6.

use crate::policy::merge::Network;

/// Bits of the sieve in front of the search for a region.
const SIEVE_BITS: u32 = 20;
/// Marks of the sieve above which all may as well be merged.
const MARKS_MAX: u64 = 1 << 16;

/// Some regions.
pub(super) struct Regions<N> {
    /// First and last of each run, sorted, none touching another.
    ranges: Vec<(u64, u64)>,
    /// A bit for each value of [`Network::mark`]; without it no region of that mark is among these.
    sieve: Vec<u64>,
    family: std::marker::PhantomData<N>,
}

impl<N: Network> Regions<N> {
    /// Returns the regions that these prefixes meet; nothing where they are too many.
    pub(super) fn of(prefixes: &[(N, u8)]) -> Option<Self> {
        let mut all: Vec<(u64, u64)> =
            prefixes.iter().map(|&(network, length)| run(network, length)).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        let mut sieve = if ranges.is_empty() { Vec::new() } else { vec![0; 1 << SIEVE_BITS >> 6] };
        let mut marks = 0;
        for &(first, last) in &ranges {
            marks += N::marks(last) - N::marks(first) + 1;
            if marks > MARKS_MAX {
                return None;
            }
            for number in N::marks(first)..=N::marks(last) {
                let mark = N::mark(number);
                sieve[mark >> 6] |= 1 << (mark & 63);
            }
        }
        Some(Self { ranges, sieve, family: std::marker::PhantomData })
    }

    pub(super) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Returns the entries of lists that meet the regions, tagged and sorted.
    pub(super) fn select<'a>(&self, lists: impl Iterator<Item = &'a [(N, u8)]>) -> Vec<N::Tagged>
    where
        N: 'a,
    {
        let mut selected = Vec::new();
        if self.ranges.is_empty() {
            return selected;
        }
        for (list, entries) in (0..).zip(lists) {
            let meeting = entries.iter().filter(|&&(network, length)| self.meet(network, length));
            selected.extend(meeting.map(|&(network, length)| network.tag(length, list)));
        }
        selected.sort_unstable();
        selected
    }

    fn meet(&self, network: N, length: u8) -> bool {
        let narrow = length >= N::REGION_LENGTH;
        if narrow {
            let mark = N::mark(N::marks(network.region()));
            if self.sieve[mark >> 6] >> (mark & 63) & 1 == 0 {
                return false;
            }
        }
        let (first, last) = run(network, length);
        let next = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.get(next).is_some_and(|range| range.0 <= last)
    }
}

/// Returns the first and the last region of a prefix.
fn run<N: Network>(network: N, length: u8) -> (u64, u64) {
    let first = network.region();
    let wider = N::REGION_LENGTH.saturating_sub(length);
    (first, first | ((1 << wider) - 1))
}
