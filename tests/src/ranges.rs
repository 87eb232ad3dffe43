//! What lists name, as ranges: for comparing with, so it does nothing cleverly.

/// Addresses of one family as ranges that do not meet, in order: the first and the last of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// Returns what ranges name together.
    #[must_use]
    pub fn union(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut union: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            match union.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => union.push((first, last)),
            }
        }
        Self(union)
    }

    /// Returns whether an address is in one of them.
    #[must_use]
    pub fn contain(&self, address: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns them.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }
}

/// Returns the last address of a prefix of a family whose addresses have so many bits.
#[must_use]
pub fn last(network: u128, length: u8, width: u8) -> u128 {
    network | u128::MAX.checked_shr(128 - u32::from(width.saturating_sub(length))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_one() {
        let ranges = Ranges::union([(20, 30), (5, 9), (10, 12), (22, 25), (14, 14), (28, 40)]);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(5, 12), (14, 14), (20, 40)]);
        let inside: Vec<u128> = (0..45).filter(|address| ranges.contain(*address)).collect();
        assert_eq!(inside, (5..=12).chain([14]).chain(20..=40).collect::<Vec<_>>());
        assert_eq!(Ranges::union([(0, u128::MAX), (3, 4)]).len(), 1);
    }

    #[test]
    fn prefixes_end_where_they_do() {
        assert_eq!(last(0x0a00_0000, 8, 32), 0x0aff_ffff);
        assert_eq!(last(0x0a00_0001, 32, 32), 0x0a00_0001);
        assert_eq!((last(0, 0, 32), last(0, 0, 128)), (u128::from(u32::MAX), u128::MAX));
        assert_eq!(last(0x2001 << 112, 16, 128) >> 112, 0x2001);
    }
}
