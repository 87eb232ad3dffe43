//! Several lists into one list of prefixes, each with a class.
//!
//! An address belongs to all lists that cover it, with whatever prefix. The result is a list in
//! which the longest prefix alone says which those are, sorted by first address, the wider first:
//! the order in which tables are filled.

use rustc_hash::FxHashMap;
use weir_common::{addr::V6, class::ClassId};

use super::{
    List,
    classes::{ClassSpec, Classes, TooManyClasses},
};

/// A network that can be sorted and compared by its first bits.
pub trait Network: Copy + Ord {
    /// Returns true if the prefix `self`/`length` covers `other`.
    fn covers(self, length: u8, other: Self) -> bool;
}

impl Network for u32 {
    fn covers(self, length: u8, other: Self) -> bool {
        weir_common::addr::network_v4(other, u32::from(length)) == self
    }
}

impl Network for V6 {
    fn covers(self, length: u8, other: Self) -> bool {
        other.network(u32::from(length)) == self
    }
}

/// A prefix and the class of the addresses that no longer prefix covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<N> {
    /// First address.
    pub network: N,
    /// Prefix length.
    pub length: u8,
    /// Class.
    pub class: ClassId,
}

/// All lists of a policy, merged.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// IPv4, sorted.
    pub v4: Vec<Entry<u32>>,
    /// IPv6, sorted.
    pub v6: Vec<Entry<V6>>,
}

/// Merges the lists of a policy.
///
/// # Errors
/// [`TooManyClasses`] where they overlap in too many ways.
pub fn merge(lists: &[List], classes: &mut Classes) -> Result<Merged, TooManyClasses> {
    let mut sets = Sets::new(lists, classes);
    let v4 = merge_family(lists.iter().map(|list| list.entries.v4.as_slice()), &mut sets)?;
    let v6 = merge_family(lists.iter().map(|list| list.entries.v6.as_slice()), &mut sets)?;
    Ok(Merged { v4, v6 })
}

fn merge_family<'a, N: Network + 'a>(
    lists: impl Iterator<Item = &'a [(N, u8)]> + Clone,
    sets: &mut Sets<'_>,
) -> Result<Vec<Entry<N>>, TooManyClasses> {
    let total = lists.clone().map(<[_]>::len).sum();
    let mut tagged: Vec<(N, u8, u32)> = Vec::with_capacity(total);
    for (list, entries) in (0..).zip(lists) {
        tagged.extend(entries.iter().map(|&(network, length)| (network, length, list)));
    }
    tagged.sort_unstable();
    let mut merged: Vec<Entry<N>> = Vec::with_capacity(total);
    // The prefixes that cover the present one, widest first, with the set of lists of each.
    let mut covering: Vec<(N, u8, SetId)> = Vec::new();
    let mut rest = tagged.as_slice();
    while let Some(&(network, length, _)) = rest.first() {
        while covering.last().is_some_and(|&(outer, outer_length, _)| !outer.covers(outer_length, network)) {
            covering.pop();
        }
        let outer = covering.last().map_or(Sets::EMPTY, |&(_, _, set)| set);
        let same = rest.iter().take_while(|entry| (entry.0, entry.1) == (network, length)).count();
        let (here, after) = rest.split_at(same);
        rest = after;
        let set = here.iter().fold(outer, |set, &(_, _, list)| sets.with(set, list));
        if set != outer {
            merged.push(Entry { network, length, class: sets.class(set)? });
            covering.push((network, length, set));
        }
    }
    Ok(merged)
}

type SetId = u32;

/// Sets of lists, each known by a number.
struct Sets<'a> {
    lists: &'a [List],
    classes: &'a mut Classes,
    members: Vec<Vec<u32>>,
    class: Vec<Option<ClassId>>,
    numbers: FxHashMap<Vec<u32>, SetId>,
    sums: FxHashMap<(SetId, u32), SetId>,
}

impl<'a> Sets<'a> {
    const EMPTY: SetId = 0;

    fn new(lists: &'a [List], classes: &'a mut Classes) -> Self {
        Self {
            lists,
            classes,
            members: vec![Vec::new()],
            class: vec![None],
            numbers: FxHashMap::from_iter([(Vec::new(), Self::EMPTY)]),
            sums: FxHashMap::default(),
        }
    }

    /// Returns the set with `list` added.
    fn with(&mut self, set: SetId, list: u32) -> SetId {
        if let Some(&sum) = self.sums.get(&(set, list)) {
            return sum;
        }
        let mut members = self.members[set as usize].clone();
        if let Err(place) = members.binary_search(&list) {
            members.insert(place, list);
        }
        let sum = match self.numbers.get(&members) {
            Some(&number) => number,
            None => {
                #[expect(clippy::cast_possible_truncation, reason = "there are fewer sets than entries")]
                let number = self.members.len() as SetId;
                self.numbers.insert(members.clone(), number);
                self.members.push(members);
                self.class.push(None);
                number
            }
        };
        self.sums.insert((set, list), sum);
        sum
    }

    fn class(&mut self, set: SetId) -> Result<ClassId, TooManyClasses> {
        if let Some(class) = self.class[set as usize] {
            return Ok(class);
        }
        let lists: Vec<_> = self.members[set as usize].iter().map(|&list| &self.lists[list as usize]).collect();
        let class = self.classes.number(ClassSpec::of(&lists))?;
        self.class[set as usize] = Some(class);
        Ok(class)
    }
}
