use std::{collections::HashMap, sync::Arc, time::Instant};

use proptest::prelude::*;
use weir_common::addr::V6;

use super::*;
use crate::{
    feed::Entries,
    policy::{List, merge},
};

fn list(name: &str, action: Action, shadow: bool, entries: Entries) -> List {
    let origin = if action == Action::Allow { Origin::Allow } else { Origin::Feed(name.to_owned()) };
    List { origin, action, shadow, profile: 0, votes: Arc::default(), entries: Arc::new(entries) }
}

fn v4(entries: &[(u32, u8)]) -> Entries {
    Entries { v4: entries.to_vec(), v6: Vec::new() }
}

fn compared(before: &[List], after: &[List], shadow: (bool, bool)) -> Comparison {
    let mut classes = Classes::default();
    let one = merge::merge(before, &mut classes).unwrap();
    let other = merge::merge(after, &mut classes).unwrap();
    compare(
        Side { merged: &one, classes: &classes, shadow: shadow.0 },
        Side { merged: &other, classes: &classes, shadow: shadow.1 },
    )
}

/// The fate of an address by asking every list.
fn asked(lists: &[List], shadow: bool, address: u32) -> Fate {
    let covers = |list: &&List| {
        list.entries.v4.iter().any(|&(network, length)| merge::Network::covers(network, length, address))
    };
    let naming: Vec<&List> = lists.iter().filter(covers).collect();
    if naming.is_empty() { Fate::Pass } else { Fate::of(&ClassSpec::of(&naming), shadow) }
}

fn prefixes_of() -> impl Strategy<Value = Vec<(u32, u8)>> {
    // 256 addresses, so that prefixes nest and meet.
    let prefix = (0u32..256, 24u8..=32).prop_map(|(bits, length)| {
        (weir_common::addr::network_v4(0x0a00_0000 | bits, length.into()), length)
    });
    proptest::collection::vec(prefix, 0..10)
}

proptest! {
    #[test]
    fn agrees_with_asking_about_every_address(
        allow in prefixes_of(), bad in prefixes_of(), worse in prefixes_of(), trial in prefixes_of(),
        shadow in any::<(bool, bool)>(),
    ) {
        let before = [list("", Action::Allow, false, v4(&allow)), list("bad", Action::Drop, false, v4(&bad))];
        let after = [list("bad", Action::Drop, false, v4(&worse)), list("trial", Action::Drop, true, v4(&trial))];
        let mut expected: HashMap<(Fate, Fate), u64> = HashMap::new();
        for address in 0x0a00_0000..0x0a00_0100 {
            let change = (asked(&before, shadow.0, address), asked(&after, shadow.1, address));
            if change.0 != change.1 {
                *expected.entry(change).or_default() += 1;
            }
        }
        let found = compared(&before, &after, shadow);
        let counts: HashMap<_, _> =
            found.transitions.iter().map(|t| ((t.from, t.to), t.amount.ipv4_addresses)).collect();
        prop_assert_eq!(counts, expected);
    }
}

#[test]
fn whole_families_and_their_ends_are_counted() {
    let all = |v6: &[(V6, u8)]| Entries { v4: vec![(0, 0)], v6: v6.to_vec() };
    let after = [list("all", Action::Drop, false, all(&[(V6 { high: 0, low: 0 }, 0)]))];
    let found = compared(&[], &after, (false, false));
    let amount = found.transitions[0].amount;
    assert_eq!((amount.ipv4_prefixes, amount.ipv4_addresses), (1, 1 << 32));
    assert_eq!((amount.ipv6_prefixes, amount.ipv6_networks), (1, u64::MAX));
    let prefixes: Vec<_> = found.transitions[0].examples.iter().map(|e| e.prefix.to_string()).collect();
    assert_eq!(prefixes, ["0.0.0.0/0", "::/0"]);
    let last = list("last", Action::Drop, false, v4(&[(u32::MAX, 32), (0, 32)]));
    assert_eq!(compared(&[], &[last], (false, false)).transitions[0].amount.ipv4_addresses, 2);
}

#[test]
fn lists_and_largest_examples_are_named() {
    let before = [list("old", Action::Drop, false, v4(&[(0x0a00_0000, 8), (0x0b00_0000, 24)]))];
    let allow = list("", Action::Allow, false, v4(&[(0x0a01_0000, 16)]));
    let new = list("new", Action::Drop, false, v4(&[(0x0b00_0000, 24), (0x0c00_0000, 9)]));
    let found = compared(&before, &[allow, new], (false, false));
    let text: Vec<String> = found
        .transitions
        .iter()
        .map(|t| format!("{} {} {}", t.from.as_str(), t.to.as_str(), t.amount.ipv4_addresses))
        .collect();
    // 11.0.0.0/24 is dropped before and after, by another list.
    assert_eq!(
        text,
        [
            format!("pass drop {}", 1 << 23),
            format!("drop allow {}", 1 << 16),
            format!("drop pass {}", (1 << 24) - (1 << 16))
        ]
    );
    let example = &found.transitions[2].examples[0];
    assert_eq!(example.prefix.to_string(), "10.128.0.0/9");
    assert_eq!((example.before.as_slice(), example.after.len()), (&[Origin::Feed("old".to_owned())][..], 0));
    let lists: Vec<String> = found.lists.iter().map(|share| share.list.to_string()).collect();
    assert_eq!(lists, ["feed new", "allow", "feed old", "feed old"]);
}

#[test]
fn shadow_mode_that_ends_concerns_all_lists() {
    let bad = [list("bad", Action::Drop, false, v4(&[(0x0a00_0000, 24)]))];
    let found = compared(&bad, &bad, (true, false));
    let Transition { from, to, amount, .. } = &found.transitions[0];
    assert_eq!((*from, *to, amount.ipv4_addresses), (Fate::WouldDrop, Fate::Drop, 256));
    assert_eq!(found.lists[0].list, Origin::Feed("bad".to_owned()));
    assert_eq!(compared(&bad, &bad, (false, false)), Comparison::default());
}

#[test]
fn a_million_prefixes_are_compared_within_a_second() {
    let many = |salt: u32| {
        let mut entries: Vec<_> =
            (0..1_000_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) ^ salt, 32)).collect();
        entries.sort_unstable();
        v4(&entries)
    };
    let (before, after) =
        ([list("bad", Action::Drop, false, many(0))], [list("bad", Action::Drop, false, many(0x5555_5555))]);
    let mut classes = Classes::default();
    let one = merge::merge(&before, &mut classes).unwrap();
    let other = merge::merge(&after, &mut classes).unwrap();
    let started = Instant::now();
    let found = compare(
        Side { merged: &one, classes: &classes, shadow: false },
        Side { merged: &other, classes: &classes, shadow: false },
    );
    let took = started.elapsed();
    assert!(found.transitions[0].amount.ipv4_addresses > 900_000);
    // Tests run without optimisation, on busy machines.
    assert!(took.as_secs() < 5, "{took:?}");
}
