//! What has come and gone between two states of a list.

use rustc_hash::FxHashMap;

use super::Entries;

/// How far two lists are compared crosswise where they part: most changes are some lines.
const NEAR: usize = 8;
/// How far one list is searched for what the other goes on with, where that does not help.
const FAR: usize = 2048;

/// What has come and gone. An entry that a list repeats counts as often as it stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What is not there any more.
    pub removed: Entries,
    /// What was not there before.
    pub added: Entries,
}

impl Difference {
    /// Returns what leads from one list to another. Costs a comparison for each entry where they are
    /// nearly the same in nearly the same order, and else a sort.
    #[must_use]
    pub fn between(before: &Entries, after: &Entries) -> Self {
        let (removed_v4, added_v4) = walk(&before.v4, &after.v4);
        let (removed_v6, added_v6) = walk(&before.v6, &after.v6);
        Self {
            removed: Entries { v4: removed_v4, v6: removed_v6 },
            added: Entries { v4: added_v4, v6: added_v6 },
        }
    }
}

/// Returns what is in `before` alone, and what is in `after` alone, each sorted.
fn walk<T: Copy + Ord + std::hash::Hash>(mut before: &[T], mut after: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    // What may be spent on searches before sorting is cheaper.
    let mut searches = before.len().max(after.len()) / (4 * FAR) + 1;
    loop {
        let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
        (before, after) = (&before[same..], &after[same..]);
        if before.is_empty() || after.is_empty() {
            break;
        }
        let meeting = near(before, after).or_else(|| {
            searches = searches.checked_sub(1)?;
            far(before, after)
        });
        let Some((gone, new)) = meeting else { break };
        removed.extend_from_slice(&before[..gone]);
        added.extend_from_slice(&after[..new]);
        (before, after) = (&before[gone..], &after[new..]);
    }
    removed.extend_from_slice(before);
    added.extend_from_slice(after);
    cancel(removed, added)
}

/// Returns after how many entries of each the lists go on alike, where that is soon.
fn near<T: PartialEq>(before: &[T], after: &[T]) -> Option<(usize, usize)> {
    (1..NEAR).find_map(|distance| {
        (0..=distance).map(|gone| (gone, distance - gone)).chain([(distance, distance)]).find(
            |&(gone, new)| matches!((before.get(gone), after.get(new)), (Some(one), Some(other)) if one == other),
        )
    })
}

/// The same, searched for further.
fn far<T: Copy + Eq + std::hash::Hash>(before: &[T], after: &[T]) -> Option<(usize, usize)> {
    // Of entries that repeat the first counts.
    let places: FxHashMap<T, usize> =
        before.iter().take(FAR).enumerate().rev().map(|(place, entry)| (*entry, place)).collect();
    after.iter().take(FAR).enumerate().find_map(|(new, entry)| Some((*places.get(entry)?, new)))
}

/// Sorts both and takes out what is in both: what has only moved.
fn cancel<T: Copy + Ord>(mut one: Vec<T>, mut other: Vec<T>) -> (Vec<T>, Vec<T>) {
    one.sort_unstable();
    other.sort_unstable();
    if one.is_empty() || other.is_empty() {
        return (one, other);
    }
    let (mut only_one, mut only_other) = (Vec::new(), Vec::new());
    let (mut ones, mut others) = (one.into_iter().peekable(), other.into_iter().peekable());
    loop {
        match (ones.peek(), others.peek()) {
            (Some(a), Some(b)) if a == b => {
                ones.next();
                others.next();
            }
            (Some(a), Some(b)) if a < b => only_one.extend(ones.next()),
            (Some(_), None) => only_one.extend(ones.next()),
            (_, Some(_)) => only_other.extend(others.next()),
            (None, None) => return (only_one, only_other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_common::addr::V6;

    use super::*;

    fn list(numbers: &[u32]) -> Entries {
        let v6 = |n: &u32| (V6 { high: u64::from(*n), low: 0 }, 64);
        Entries { v4: numbers.iter().map(|n| (*n, 32)).collect(), v6: numbers.iter().map(v6).collect() }
    }

    /// By taking each entry of one list out of the other.
    fn naive(before: &Entries, after: &Entries) -> Difference {
        fn only<T: Copy + Ord>(of: &[T], not: &[T]) -> Vec<T> {
            let mut rest = not.to_vec();
            let taken = |entry: &&T| match rest.iter().position(|other| other == *entry) {
                Some(place) => {
                    rest.swap_remove(place);
                    false
                }
                None => true,
            };
            let mut only: Vec<T> = of.iter().filter(taken).copied().collect();
            only.sort_unstable();
            only
        }
        let entries =
            |of: &Entries, not: &Entries| Entries { v4: only(&of.v4, &not.v4), v6: only(&of.v6, &not.v6) };
        Difference { removed: entries(before, after), added: entries(after, before) }
    }

    proptest! {
        #[test]
        fn is_what_is_in_one_alone(
            before in proptest::collection::vec(0u32..200, 0..100),
            cuts in proptest::collection::vec((0usize..100, 0usize..20, proptest::collection::vec(0u32..200, 0..20)), 0..6),
            other in proptest::collection::vec(0u32..200, 0..100),
        ) {
            let mut after = before.clone();
            for (at, length, new) in cuts {
                let at = at.min(after.len());
                let end = (at + length).min(after.len());
                after.splice(at..end, new);
            }
            for after in [after, other] {
                let (before, after) = (list(&before), list(&after));
                prop_assert_eq!(Difference::between(&before, &after), naive(&before, &after));
            }
        }
    }

    #[test]
    fn long_lists_with_a_long_run_of_others_are_compared_in_order() {
        let before: Vec<u32> = (0..100_000u32).map(|n| n.wrapping_mul(0x9e37_79b1)).collect();
        let mut after = before.clone();
        for entry in &mut after[5..1000] {
            *entry ^= 1;
        }
        after.drain(50_000..50_001);
        let change = Difference::between(&list(&before), &list(&after));
        assert_eq!((change.removed.v4.len(), change.added.v6.len()), (996, 995));
    }

    #[test]
    fn an_order_of_its_own_is_no_difference() {
        let before: Vec<u32> = (0..10_000).collect();
        let after: Vec<u32> = before.iter().rev().copied().collect();
        assert_eq!(Difference::between(&list(&before), &list(&after)), Difference::default());
    }
}
