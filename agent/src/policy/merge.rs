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
    /// A prefix and the list that it is from; sorts by address, the wider first, then by list.
    type Tagged: Copy + Ord;

    /// Returns the three as one.
    fn tag(self, length: u8, list: u32) -> Self::Tagged;

    /// Returns the three.
    fn untag(tagged: Self::Tagged) -> (Self, u8, u32);

    /// Returns true if the prefix `self`/`length` covers `other`.
    fn covers(self, length: u8, other: Self) -> bool;

    /// Length of the prefixes into which the address space is cut where lists change.
    const REGION_LENGTH: u8;

    /// Returns the number of the one that it is in.
    fn region(self) -> u64;

    /// Returns the number of the mark of a region in a sieve. Regions that follow each other share
    /// one or have numbers that follow each other.
    fn marks(region: u64) -> u64;

    /// Returns the place of a mark, below 2^20.
    fn mark(number: u64) -> usize;
}

/// Bits of a list's number in a tagged IPv4 network.
const LIST_BITS: u32 = 24;

impl Network for u32 {
    /// One number, which sorts several times faster than three.
    type Tagged = u64;

    fn tag(self, length: u8, list: u32) -> u64 {
        u64::from(self) << 32 | u64::from(length) << LIST_BITS | u64::from(list)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the fields of `tag`")]
    fn untag(tagged: u64) -> (Self, u8, u32) {
        ((tagged >> 32) as u32, (tagged >> LIST_BITS) as u8, tagged as u32 & ((1 << LIST_BITS) - 1))
    }

    fn covers(self, length: u8, other: Self) -> bool {
        weir_common::addr::network_v4(other, u32::from(length)) == self
    }

    const REGION_LENGTH: u8 = weir_common::table::v4::BLOCK_LENGTH;

    fn region(self) -> u64 {
        u64::from(self) >> (32 - Self::REGION_LENGTH)
    }

    fn marks(region: u64) -> u64 {
        region
    }

    #[expect(clippy::cast_possible_truncation, reason = "20 bits")]
    fn mark(number: u64) -> usize {
        number as usize
    }
}

impl Network for V6 {
    type Tagged = (Self, u8, u32);

    fn tag(self, length: u8, list: u32) -> Self::Tagged {
        (self, length, list)
    }

    fn untag(tagged: Self::Tagged) -> (Self, u8, u32) {
        tagged
    }

    fn covers(self, length: u8, other: Self) -> bool {
        other.network(u32::from(length)) == self
    }

    const REGION_LENGTH: u8 = 48;

    fn region(self) -> u64 {
        self.high >> 16
    }

    /// By /32, which are few enough to be counted one by one.
    fn marks(region: u64) -> u64 {
        region >> 16
    }

    fn mark(number: u64) -> usize {
        // Neighbours far apart, by the golden ratio.
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as usize
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
    let v4 = merge_family(&tagged(lists.iter().map(|list| list.entries.v4.as_slice())), &mut sets)?;
    let v6 = merge_family(&tagged(lists.iter().map(|list| list.entries.v6.as_slice())), &mut sets)?;
    Ok(Merged { v4, v6 })
}

/// Returns all entries of lists, tagged and sorted.
fn tagged<'a, N: Network + 'a>(lists: impl Iterator<Item = &'a [(N, u8)]> + Clone) -> Vec<N::Tagged> {
    let mut tagged = Vec::with_capacity(lists.clone().map(<[_]>::len).sum());
    for (list, entries) in (0..).zip(lists) {
        tagged.extend(entries.iter().map(|&(network, length)| network.tag(length, list)));
    }
    tagged.sort_unstable();
    tagged
}

/// Merges entries that are tagged and sorted.
pub(super) fn merge_family<N: Network>(
    tagged: &[N::Tagged],
    sets: &mut Sets<'_>,
) -> Result<Vec<Entry<N>>, TooManyClasses> {
    let mut merged: Vec<Entry<N>> = Vec::with_capacity(tagged.len());
    // The prefixes that cover the present one, widest first, with the set of lists of each.
    let mut covering: Vec<(N, u8, SetId)> = Vec::new();
    let mut rest = tagged;
    while let Some(&first) = rest.first() {
        let (network, length, _) = N::untag(first);
        while covering.last().is_some_and(|&(outer, outer_length, _)| !outer.covers(outer_length, network)) {
            covering.pop();
        }
        let outer = covering.last().map_or(Sets::EMPTY, |&(_, _, set)| set);
        let mut set = outer;
        while let Some((&next, after)) = rest.split_first() {
            let (next_network, next_length, list) = N::untag(next);
            if (next_network, next_length) != (network, length) {
                break;
            }
            set = sets.with(set, list);
            rest = after;
        }
        if set != outer {
            merged.push(Entry { network, length, class: sets.class(set)? });
            covering.push((network, length, set));
        }
    }
    Ok(merged)
}

type SetId = u32;

/// Sets of lists, each known by a number.
pub(super) struct Sets<'a> {
    lists: &'a [List],
    classes: &'a mut Classes,
    members: Vec<Vec<u32>>,
    class: Vec<Option<ClassId>>,
    numbers: FxHashMap<Vec<u32>, SetId>,
    sums: FxHashMap<(SetId, u32), SetId>,
    /// The sum that was asked for last: lists are long, and their entries alike.
    last: ((SetId, u32), SetId),
}

impl<'a> Sets<'a> {
    const EMPTY: SetId = 0;

    pub(super) fn new(lists: &'a [List], classes: &'a mut Classes) -> Self {
        Self {
            lists,
            classes,
            members: vec![Vec::new()],
            class: vec![None],
            numbers: FxHashMap::from_iter([(Vec::new(), Self::EMPTY)]),
            sums: FxHashMap::default(),
            last: ((Self::EMPTY, u32::MAX), Self::EMPTY),
        }
    }

    /// Returns the set with `list` added.
    fn with(&mut self, set: SetId, list: u32) -> SetId {
        if self.last.0 != (set, list) {
            self.last = ((set, list), self.add(set, list));
        }
        self.last.1
    }

    fn add(&mut self, set: SetId, list: u32) -> SetId {
        if let Some(&sum) = self.sums.get(&(set, list)) {
            return sum;
        }
        let mut members = self.members[set as usize].clone();
        if let Err(place) = members.binary_search(&list) {
            members.insert(place, list);
        }
        let sum = if let Some(&number) = self.numbers.get(&members) {
            number
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "there are fewer sets than entries")]
            let number = self.members.len() as SetId;
            self.numbers.insert(members.clone(), number);
            self.members.push(members);
            self.class.push(None);
            number
        };
        self.sums.insert((set, list), sum);
        sum
    }

    fn class(&mut self, set: SetId) -> Result<ClassId, TooManyClasses> {
        if let Some(class) = self.class[set as usize] {
            return Ok(class);
        }
        let lists: Vec<_> =
            self.members[set as usize].iter().map(|&list| &self.lists[list as usize]).collect();
        let class = self.classes.number(ClassSpec::of(&lists))?;
        self.class[set as usize] = Some(class);
        Ok(class)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use weir_common::class::Action;

    use super::*;
    use crate::{
        config::{self, FeedAction},
        feed::Entries,
        policy::{Origin, Vote},
    };

    fn list(name: &str, action: Action, shadow: bool, v4: &[(u32, u8)]) -> List {
        let entries = Entries { v4: v4.to_vec(), v6: Vec::new() };
        let origin = if action == Action::Allow { Origin::Allow } else { Origin::Feed(name.to_owned()) };
        List { origin, action, shadow, profile: 0, votes: Arc::default(), entries: Arc::new(entries) }
    }

    /// The class of an address by the longest prefix of what was merged.
    fn looked_up(merged: &Merged, classes: &Classes, address: u32) -> Option<ClassSpec> {
        let longest = merged
            .v4
            .iter()
            .filter(|entry| entry.network.covers(entry.length, address))
            .max_by_key(|entry| entry.length)?;
        classes.get(longest.class).cloned()
    }

    /// The class of an address by asking every list.
    fn asked(lists: &[List], address: u32) -> Option<ClassSpec> {
        let naming: Vec<&List> = lists
            .iter()
            .filter(|list| list.entries.v4.iter().any(|&(network, length)| network.covers(length, address)))
            .collect();
        (!naming.is_empty()).then(|| ClassSpec::of(&naming))
    }

    fn prefixes() -> impl Strategy<Value = Vec<(u32, u8)>> {
        // 256 addresses, so that prefixes nest and meet.
        let prefix = (0u32..256, 24u8..=32).prop_map(|(bits, length)| {
            (weir_common::addr::network_v4(0x0a00_0000 | bits, length.into()), length)
        });
        proptest::collection::vec(prefix, 0..12)
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_list(
            allow in prefixes(), bad in prefixes(), trial in prefixes(), watch in prefixes(),
        ) {
            let lists = [
                list("", Action::Allow, false, &allow),
                list("bad", Action::Drop, false, &bad),
                list("trial", Action::Drop, true, &trial),
                list("watch", Action::Observe, false, &watch),
            ];
            let mut classes = Classes::default();
            let merged = merge(&lists, &mut classes).unwrap();
            for address in 0x0a00_0000..0x0a00_0100 {
                prop_assert_eq!(looked_up(&merged, &classes, address), asked(&lists, address));
            }
            prop_assert!(merged.v4.is_sorted_by_key(|entry| (entry.network, entry.length)));
        }
    }

    #[test]
    fn allow_beats_all_and_enforced_beats_shadow() {
        let host = [(0x0a00_0001, 32)];
        let allow = list("", Action::Allow, false, &host);
        let bad = list("bad", Action::Drop, false, &host);
        let trial = list("trial", Action::Drop, true, &host);
        let watch = list("watch", Action::Observe, false, &host);
        for (lists, action, shadow) in [
            (vec![&allow, &bad, &trial], Action::Allow, false),
            (vec![&trial, &bad, &watch], Action::Drop, false),
            (vec![&trial, &watch], Action::Drop, true),
            (vec![&watch], Action::Observe, false),
        ] {
            let spec = ClassSpec::of(&lists);
            assert_eq!((spec.action, spec.shadow, spec.origins.len()), (action, shadow, lists.len()));
        }
    }

    #[test]
    fn a_balancer_passes_and_opens_its_tunnels_whatever_else_names_it() {
        let host = [(0x0a00_0001, 32)];
        let allow = list("", Action::Allow, false, &host);
        let bad = list("bad", Action::Drop, false, &host);
        let balancer = List { origin: Origin::Balancer, ..allow.clone() };
        for lists in [vec![&balancer], vec![&allow, &balancer], vec![&balancer, &bad]] {
            let class = ClassSpec::of(&lists).class();
            assert_eq!((class.action, class.shadow, class.decap), (Action::Allow, false, true));
        }
        assert!(!ClassSpec::of(&[&allow, &bad]).class().decap);
    }

    #[test]
    fn feeds_that_agree_are_enough_together() {
        let consensus = |weight, action| config::Consensus {
            name: "several".to_owned(),
            feeds: Vec::new(),
            weight,
            action,
            enforce: config::Enforce::Enforce,
        };
        let on = |name: &str, weight: u32, on: &config::Consensus| List {
            votes: Arc::new([Vote { on: on.clone(), weight }]),
            ..list(name, Action::Observe, false, &[(0x0a00_0001, 32)])
        };
        let two = consensus(2, FeedAction::Drop);
        let (one, other, heavy) = (on("one", 1, &two), on("other", 1, &two), on("heavy", 2, &two));
        let allow = list("", Action::Allow, false, &[(0x0a00_0001, 32)]);
        for (lists, action, agreed) in [
            (vec![&one], Action::Observe, false),
            // Two lists of one feed are one voice.
            (vec![&one, &one], Action::Observe, false),
            (vec![&one, &other], Action::Drop, true),
            (vec![&heavy], Action::Drop, true),
            (vec![&allow, &one, &other], Action::Allow, true),
        ] {
            let spec = ClassSpec::of(&lists);
            assert_eq!(spec.action, action);
            assert_eq!(spec.origins.contains(&Origin::Consensus("several".to_owned())), agreed);
        }
    }

    #[test]
    fn classes_keep_their_numbers() {
        let bad = list("bad", Action::Drop, false, &[(0x0a00_0001, 32)]);
        let watch = list("watch", Action::Observe, false, &[(0x0a00_0002, 32)]);
        let mut classes = Classes::default();
        merge(&[bad.clone(), watch.clone()], &mut classes).unwrap();
        let mut later = Classes::from_specs(classes.specs().to_vec());
        let merged = merge(&[watch], &mut later).unwrap();
        assert_eq!(merged.v4[0].class, 2);
        assert_eq!(merge(&[bad], &mut later).unwrap().v4[0].class, 1);
    }
}
