//! From the lists before and the lists now to what is different in the tables.
//!
//! Whatever a list gains or loses has an effect on the addresses of that prefix alone, so the address
//! space is cut into regions, and only those that meet a prefix that came or went are merged anew.

/// Regions of the address space.
mod regions;

use weir_common::{
    addr::V6,
    class::{ClassId, NONE},
    table::v4::BLOCK_LENGTH,
};

use super::{
    List,
    classes::{Classes, TooManyClasses},
    merge::{self, Entry, Merged, Network},
};
use crate::feed::{Entries, difference::Difference};
use regions::Regions;

/// How the tables of a policy differ from those of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// IPv4, by /20, sorted.
    pub v4: Vec<Block>,
    /// IPv6, by prefix, sorted.
    pub v6: Vec<Edit>,
}

/// What is different in an IPv4 /20; in part it may be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first address.
    pub network: u32,
    /// The class now of the longest prefix that covers all of it.
    pub base: ClassId,
    /// All longer prefixes inside before, sorted.
    pub before: Vec<Entry<u32>>,
    /// And now.
    pub after: Vec<Entry<u32>>,
}

/// What is different about an IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// First address.
    pub network: V6,
    /// Prefix length.
    pub length: u8,
    /// Its class before, [`NONE`] where it was no entry.
    pub before: ClassId,
    /// And now.
    pub after: ClassId,
}

impl Change {
    /// Returns how many entries of tables it touches.
    #[must_use]
    pub fn len(&self) -> usize {
        let v4 = self.v4.iter().map(|block| 1 + block.before.len() + block.after.len());
        v4.sum::<usize>() + self.v6.len()
    }

    /// Returns true if nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Returns both changes as one; `next` is the later.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let v4 = joined(
            &self.v4,
            &next.v4,
            |block| block.network,
            |first, last| Block { before: first.before.clone(), ..last.clone() },
        );
        let v6 = joined(
            &self.v6,
            &next.v6,
            |edit| (edit.network, edit.length),
            |first, last| Edit { before: first.before, ..*last },
        );
        Self { v4, v6 }
    }
}

/// Returns what is in either of two sorted slices, sorted, with those of the same key made one.
fn joined<T: Clone, K: Ord>(
    first: &[T],
    last: &[T],
    key: impl Fn(&T) -> K,
    both: impl Fn(&T, &T) -> T,
) -> Vec<T> {
    let mut all = Vec::with_capacity(first.len() + last.len());
    let (mut firsts, mut lasts) = (first.iter().peekable(), last.iter().peekable());
    while let (Some(&one), Some(&other)) = (firsts.peek(), lasts.peek()) {
        let order = key(one).cmp(&key(other));
        if order.is_le() {
            firsts.next();
        }
        if order.is_ge() {
            lasts.next();
        }
        all.push(match order {
            std::cmp::Ordering::Less => one.clone(),
            std::cmp::Ordering::Equal => both(one, other),
            std::cmp::Ordering::Greater => other.clone(),
        });
    }
    all.extend(firsts.cloned());
    all.extend(lasts.cloned());
    all
}

/// Returns the prefixes that have come to lists or gone from them. Nothing where the lists are others
/// than before, or what they say is: then everything may be different.
#[must_use]
pub fn touched(before: &[List], now: &[List]) -> Option<Entries> {
    let same = |(one, other): (&List, &List)| {
        (&one.origin, one.action, one.shadow, one.profile, &one.votes)
            == (&other.origin, other.action, other.shadow, other.profile, &other.votes)
    };
    if before.len() != now.len() || !before.iter().zip(now).all(same) {
        return None;
    }
    let mut touched = Entries::default();
    for (one, other) in before.iter().zip(now) {
        if !std::sync::Arc::ptr_eq(&one.entries, &other.entries) {
            let Difference { removed, added } = Difference::between(&one.entries, &other.entries);
            for entries in [removed, added] {
                touched.v4.extend(entries.v4);
                touched.v6.extend(entries.v6);
            }
        }
    }
    Some(touched)
}

/// Merges `lists`, which differ in the `touched` prefixes from those of which `before` is made.
/// Returns what [`merge::merge`] returns, and how that differs. Nothing where so much is touched that
/// it costs no less to merge all.
///
/// # Errors
/// [`TooManyClasses`] where they overlap in too many ways.
pub fn merge(
    before: &Merged,
    lists: &[List],
    touched: &Entries,
    classes: &mut Classes,
) -> Result<Option<(Merged, Change)>, TooManyClasses> {
    let (Some(v4_regions), Some(v6_regions)) = (Regions::of(&touched.v4), Regions::of(&touched.v6)) else {
        return Ok(None);
    };
    let mut sets = merge::Sets::new(lists, classes);
    let v4_lists = lists.iter().map(|list| list.entries.v4.as_slice());
    let v4_fresh = merge::merge_family(&v4_regions.select(v4_lists), &mut sets)?;
    let v6_lists = lists.iter().map(|list| list.entries.v6.as_slice());
    let v6_fresh = merge::merge_family(&v6_regions.select(v6_lists), &mut sets)?;
    let (v4, v4_parts) = splice(&before.v4, &v4_fresh, &v4_regions);
    let (v6, v6_parts) = splice(&before.v6, &v6_fresh, &v6_regions);
    let change = Change {
        v4: blocks(&v4_parts, &v4_fresh, &v4_regions),
        v6: v6_parts.iter().flat_map(|part| edits(part)).collect(),
    };
    Ok(Some((Merged { v4, v6 }, change)))
}

/// The entries of a range of regions, before and now.
struct Part<'m, N> {
    before: &'m [Entry<N>],
    after: &'m [Entry<N>],
}

/// Puts what is `fresh` in place of what `before` has in the same regions.
fn splice<'m, N: Network>(
    before: &'m [Entry<N>],
    fresh: &'m [Entry<N>],
    regions: &Regions<N>,
) -> (Vec<Entry<N>>, Vec<Part<'m, N>>) {
    let mut merged = Vec::with_capacity(before.len() + fresh.len());
    let mut parts = Vec::with_capacity(regions.ranges().len());
    let (mut rest, mut fresh) = (before, fresh);
    for &(first, last) in regions.ranges() {
        let (untouched, from) = split(rest, |region| region < first);
        let (old, after) = split(from, |region| region <= last);
        // In front are prefixes that reach into it from regions before, where they have not changed.
        let (_, from) = split(fresh, |region| region < first);
        let (new, fresh_after) = split(from, |region| region <= last);
        merged.extend_from_slice(untouched);
        merged.extend_from_slice(new);
        parts.push(Part { before: old, after: new });
        (rest, fresh) = (after, fresh_after);
    }
    merged.extend_from_slice(rest);
    (merged, parts)
}

/// Parts sorted entries where `front` no longer holds for their regions. That is near the beginning,
/// so it is searched for from there on, in steps that double.
fn split<N: Network>(entries: &[Entry<N>], front: impl Fn(u64) -> bool) -> (&[Entry<N>], &[Entry<N>]) {
    let (mut start, mut step) = (0, 1);
    while entries.get(start + step).is_some_and(|entry| front(entry.network.region())) {
        start += step;
        step *= 2;
    }
    let end = entries.len().min(start + step);
    entries.split_at(start + entries[start..end].partition_point(|entry| front(entry.network.region())))
}

/// Cuts parts of IPv4 into blocks. `fresh` has all that covers them.
fn blocks(parts: &[Part<'_, u32>], fresh: &[Entry<u32>], regions: &Regions<u32>) -> Vec<Block> {
    const SHIFT: u32 = 32 - BLOCK_LENGTH as u32;
    let mut blocks = Vec::new();
    let mut wide = fresh.iter().filter(|entry| entry.length <= BLOCK_LENGTH).peekable();
    // Prefixes that cover the present block, widest first.
    let mut covering: Vec<&Entry<u32>> = Vec::new();
    for (part, &(first, last)) in parts.iter().zip(regions.ranges()) {
        let (mut before, mut after) = (part.before, part.after);
        #[expect(clippy::cast_possible_truncation, reason = "a region of IPv4 is a number of 20 bits")]
        for network in (first..=last).map(|region| (region as u32) << SHIFT) {
            while let Some(entry) = wide.next_if(|entry| entry.network <= network) {
                covering.retain(|outer| outer.network.covers(outer.length, entry.network));
                covering.push(entry);
            }
            covering.retain(|outer| outer.network.covers(outer.length, network));
            blocks.push(Block {
                network,
                base: covering.last().map_or(NONE, |entry| entry.class),
                before: inside(&mut before, network),
                after: inside(&mut after, network),
            });
        }
    }
    blocks
}

/// Takes the entries of a block off the front of sorted ones, and returns those that are longer.
fn inside(entries: &mut &[Entry<u32>], block: u32) -> Vec<Entry<u32>> {
    let (these, rest) = split(entries, |region| region <= block.region());
    *entries = rest;
    these.iter().filter(|entry| entry.length > BLOCK_LENGTH).copied().collect()
}

/// Returns the prefixes whose class is not the same.
fn edits(part: &Part<'_, V6>) -> Vec<Edit> {
    let edits = |entries: &[Entry<V6>], of: fn(&Entry<V6>) -> (ClassId, ClassId)| -> Vec<Edit> {
        let edit = |entry: &Entry<V6>| {
            let (before, after) = of(entry);
            Edit { network: entry.network, length: entry.length, before, after }
        };
        entries.iter().map(edit).collect()
    };
    let (before, after) =
        (edits(part.before, |entry| (entry.class, NONE)), edits(part.after, |entry| (NONE, entry.class)));
    let key = |edit: &Edit| (edit.network, edit.length);
    let mut all = joined(&before, &after, key, |old, new| Edit { before: old.before, ..*new });
    all.retain(|edit| edit.before != edit.after);
    all
}

#[cfg(test)]
mod tests;
