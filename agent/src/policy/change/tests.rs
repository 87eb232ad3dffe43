use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use weir_common::class::Action;

use super::*;
use crate::policy::Origin;

/// A prefix of either family, and the list that it is on.
type Listed = (u8, Entries);

fn lists(entries: &[Entries; 4]) -> Vec<List> {
    let kinds =
        [(Action::Allow, false), (Action::Drop, false), (Action::Drop, true), (Action::Observe, false)];
    (0..)
        .zip(entries)
        .zip(kinds)
        .map(|((number, entries), (action, shadow)): ((u8, _), _)| List {
            origin: if number == 0 { Origin::Allow } else { Origin::Feed(number.to_string()) },
            action,
            shadow,
            profile: 0,
            votes: Arc::default(),
            entries: Arc::new(entries.clone()),
        })
        .collect()
}

/// In and around three /20s and three /48s, so that prefixes nest, meet and repeat.
fn listed() -> impl Strategy<Value = Listed> {
    let v4 = (0u32..0x3000, prop_oneof![1 => 8u8..=20, 3 => 21u8..=32], 0u32..3);
    let v6 = (0u64..3, 0u64..3, prop::sample::select(vec![16u8, 32, 44, 48, 52, 64, 128]));
    let v4 = v4.prop_map(|(low, length, spread)| {
        let low = if spread == 0 { low } else { low & 0x3007 };
        Entries {
            v4: vec![(weir_common::addr::network_v4(0x0a00_0000 | low, length.into()), length)],
            v6: vec![],
        }
    });
    let v6 = v6.prop_map(|(net, low, length)| {
        let address = V6 { high: 0x2001_0db8 << 32 | net << 16 | low, low };
        Entries { v4: vec![], v6: vec![(address.network(length.into()), length)] }
    });
    (0u8..4, prop_oneof![3 => v4, 1 => v6])
}

fn some(count: usize) -> impl Strategy<Value = Vec<Listed>> {
    proptest::collection::vec(listed(), 0..count)
}

fn add(lists: &mut [Entries; 4], listed: &[Listed]) {
    for (list, entries) in listed {
        let list = &mut lists[usize::from(*list)];
        list.v4.extend(&entries.v4);
        list.v6.extend(&entries.v6);
    }
}

/// What merged lists have in a /20: the class of all of it, and all longer prefixes.
fn block(merged: &Merged, network: u32) -> (ClassId, Vec<Entry<u32>>) {
    let covering =
        |entry: &&Entry<u32>| entry.length <= BLOCK_LENGTH && entry.network.covers(entry.length, network);
    let base = merged.v4.iter().filter(covering).max_by_key(|entry| entry.length);
    let inside = merged
        .v4
        .iter()
        .filter(|entry| entry.length > BLOCK_LENGTH && network.covers(BLOCK_LENGTH, entry.network));
    (base.map_or(NONE, |entry| entry.class), inside.copied().collect())
}

fn classes_v6(merged: &Merged) -> BTreeMap<(V6, u8), ClassId> {
    merged.v6.iter().map(|entry| ((entry.network, entry.length), entry.class)).collect()
}

/// Checks that `change` is what leads from one to the other.
fn check(change: &Change, before: &Merged, after: &Merged) -> Result<(), TestCaseError> {
    let mut v6 = classes_v6(before);
    for edit in &change.v6 {
        let key = (edit.network, edit.length);
        let held = if edit.after == NONE { v6.remove(&key) } else { v6.insert(key, edit.after) };
        prop_assert_eq!(held.unwrap_or(NONE), edit.before);
    }
    prop_assert_eq!(v6, classes_v6(after));
    for changed in &change.v4 {
        prop_assert_eq!(&block(before, changed.network).1, &changed.before);
        let after = block(after, changed.network);
        prop_assert_eq!((after.0, &after.1), (changed.base, &changed.after));
    }
    let named = |network| change.v4.binary_search_by_key(&network, |block| block.network).is_ok();
    for network in (0x09ff_e000u32..0x0a00_5000).step_by(1 << 12).filter(|network| !named(*network)) {
        prop_assert_eq!(block(before, network), block(after, network));
    }
    prop_assert!(change.v4.is_sorted_by_key(|block| block.network));
    prop_assert!(change.v6.is_sorted_by_key(|edit| (edit.network, edit.length)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_changed_is_what_is_merged_anew(
        stays in some(40), first in some(6), second in some(6), third in some(6),
    ) {
        let mut classes = Classes::default();
        let mut states = Vec::new();
        for other in [&first, &second, &third] {
            let mut entries: [Entries; 4] = Default::default();
            add(&mut entries, other);
            add(&mut entries, &stays);
            states.push(lists(&entries));
        }
        let mut merged = vec![merge::merge(&states[0], &mut classes).unwrap()];
        let mut changes = Vec::new();
        for (before, now) in states.iter().zip(&states[1..]) {
            let touched = touched(before, now).unwrap();
            let last = merged.last().unwrap();
            let (next, change) = super::merge(last, now, &touched, &mut classes).unwrap().unwrap();
            let whole = merge::merge(now, &mut classes.clone()).unwrap();
            prop_assert_eq!((&next.v4, &next.v6), (&whole.v4, &whole.v6));
            check(&change, last, &next)?;
            changes.push(change);
            merged.push(next);
        }
        check(&changes[0].then(&changes[1]), &merged[0], &merged[2])?;
    }
}

#[test]
fn other_lists_are_not_compared() {
    let entries: [Entries; 4] = Default::default();
    let before = lists(&entries);
    assert!(touched(&before, &before[1..]).is_none());
    let mut shadow = before.clone();
    shadow[1].shadow = true;
    assert!(touched(&before, &shadow).is_none());
    assert_eq!(touched(&before, &before.clone()), Some(Entries::default()));
}

#[test]
fn all_of_an_address_space_is_too_much() {
    let merged = Merged::default();
    for touched in [
        Entries { v4: vec![(0, 0)], v6: vec![] },
        Entries { v4: vec![], v6: vec![(V6::default(), 0)] },
        Entries { v4: (0..100_000).map(|n| (n << 13, 32)).collect(), v6: vec![] },
    ] {
        let whole = super::merge(&merged, &[], &touched, &mut Classes::default()).unwrap();
        assert!(whole.is_none());
    }
}
