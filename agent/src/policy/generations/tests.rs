#![expect(clippy::cast_possible_truncation, reason = "addresses are cut from random numbers")]

#[path = "../../../../common/tests/support/random.rs"]
mod random;

use std::{path::Path, sync::Arc};

use weir_common::{
    addr::{Address, V6},
    class::Action,
    control,
    heap::Heap,
    line::Memory as _,
    map::Map,
    table,
};

use random::Random;

use super::*;
use crate::{
    config::Config,
    feed::Entries,
    policy::{Origin, limits::LimitNumbers},
};

const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 12, limiter_bits: 17 };

/// Returns a prefix in a /8, so that they nest.
fn any_v4(random: &mut Random) -> (u32, u8) {
    let length = [32, 32, 32, 29, 27, 25, 24, 24, 22, 21, 20, 18, 16][random.below(13) as usize];
    let address = 0x0a00_0000 | random.below(1 << 23) as u32;
    (weir_common::addr::network_v4(address, length.into()), length)
}

fn any_v6(random: &mut Random) -> (V6, u8) {
    let length = LENGTHS[random.below(LENGTHS.len() as u64) as usize];
    let high = 0x2001_0db8 << 32 | random.below(1 << 6) << 32 | random.below(4) << 16 | random.below(4);
    (V6 { high, low: random.below(4) }.network(length.into()), length)
}

/// A policy and the tables in which it is put in force.
struct Stand {
    heap: Heap,
    generations: Generations,
    classes: Classes,
    policy: Policy,
    in_force: Option<InForce>,
    random: Random,
}

impl Stand {
    fn new(seed: u64) -> Self {
        let config = Config::parse(Path::new("test.yaml"), "interfaces: [{name: eth0}]\n").unwrap();
        Self {
            heap: Heap::new(SIZES),
            generations: Generations::default(),
            classes: Classes::default(),
            policy: Policy::new(&config, &[], &[], &mut LimitNumbers::default()),
            in_force: None,
            random: Random(seed),
        }
    }

    /// Puts lists in force, and returns how.
    fn publish(&mut self, lists: Vec<List>) -> Way {
        let (merged, delta) = InForce::merge(self.in_force.as_ref(), &lists, &mut self.classes).unwrap();
        self.policy.lists = lists;
        let line = self.heap.line(Map::Control, 0).unwrap();
        let generation = 1 - control::generation(&self.heap);
        let next =
            Next { policy: &self.policy, merged: &merged, classes: &self.classes, delta: delta.as_ref() };
        let seed = Seed(self.random.next(), self.random.next());
        let way = self.generations.write(&self.heap, generation, SIZES, seed, &next).unwrap();
        control::publish(line, generation);
        let publication = control::publications(line);
        self.generations.published(publication, delta.as_ref());
        self.in_force = Some(InForce { publication, lists: self.policy.lists.clone(), merged });
        way
    }

    /// Asks both generations for all ends of prefixes, of these lists and of those before.
    fn check(&self, states: &[&[List]; 2]) {
        let current = control::generation(&self.heap);
        let mut addresses: Vec<Address> = Vec::new();
        for list in states.iter().copied().flatten() {
            for &(network, length) in &list.entries.v4 {
                let last = network | u32::MAX.checked_shr(length.into()).unwrap_or(0);
                let ends = [network.wrapping_sub(1), network, last, last.wrapping_add(1)];
                addresses.extend(ends.map(Address::V4));
            }
            for &(network, length) in &list.entries.v6 {
                let first = u128::from(network.high) << 64 | u128::from(network.low);
                let last = first | u128::MAX.checked_shr(length.into()).unwrap_or(0);
                let ends = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                addresses.extend(ends.map(|end| {
                    Address::V6(V6 { high: (end >> 64) as u64, low: (end & u128::from(u64::MAX)) as u64 })
                }));
            }
        }
        // The generation before is still what it was when it was in force.
        for (lists, generation) in states.iter().zip([current, 1 - current]) {
            let merged = merge::merge(lists, &mut self.classes.clone()).unwrap();
            let whole = Heap::new(SIZES);
            compile::write(&whole, 0, SIZES, Seed(3, 5), &self.policy, &merged, &self.classes).unwrap();
            let wanted = control::Policy::load(&whole, 0).unwrap();
            let policy = control::Policy::load(&self.heap, generation).unwrap();
            for &address in &addresses {
                let want = table::lookup(&whole, 0, &wanted, address);
                let got = table::lookup(&self.heap, generation, &policy, address);
                assert_eq!(got, want, "{address:x?} in generation {generation}");
            }
        }
    }
}

fn list(number: u8, entries: Entries) -> List {
    let (origin, action) = match number {
        0 => (Origin::Allow, Action::Allow),
        _ => (Origin::Feed(number.to_string()), Action::Drop),
    };
    List {
        origin,
        action,
        shadow: number == 2,
        profile: 0,
        votes: Arc::default(),
        entries: Arc::new(entries),
    }
}

const LENGTHS: [u8; 6] = [20, 32, 44, 48, 64, 128];

fn lists(random: &mut Random) -> Vec<List> {
    (0..3)
        .map(|number| {
            let count = if number == 0 { 100 } else { 4000 };
            let v4 = (0..count).map(|_| any_v4(random)).collect();
            let v6 = (0..count / 4).map(|_| any_v6(random)).collect();
            list(number, Entries { v4, v6 })
        })
        .collect()
}

/// Puts other entries in place of some.
fn changed(random: &mut Random, lists: &[List], count: u64) -> Vec<List> {
    let mut lists = lists.to_vec();
    for _ in 0..random.below(count) {
        let number = random.below(3) as usize;
        let entries = Arc::make_mut(&mut lists[number].entries);
        let at = random.below(entries.v4.len() as u64) as usize;
        match random.below(4) {
            0 => entries.v4[at] = any_v4(random),
            1 => entries.v4.insert(at, any_v4(random)),
            2 => _ = entries.v4.swap_remove(at),
            _ => {
                let at = random.below(entries.v6.len() as u64) as usize;
                entries.v6[at] = any_v6(random);
            }
        }
    }
    lists
}

#[test]
fn changes_over_changes_are_what_is_written_whole() {
    for seed in 0..4 {
        let mut stand = Stand::new(seed);
        let mut now = lists(&mut Random(seed + 100));
        assert_eq!(stand.publish(now.clone()), Way::Whole);
        let mut ways = Vec::new();
        for step in 0..20u32 {
            // Now and then too much for a change, whose effect the next steps have to know as well.
            let count = if step % 9 == 5 { 2000 } else { 12 };
            let next = changed(&mut stand.random, &now, count);
            ways.push(stand.publish(next.clone()));
            stand.check(&[&next, &now]);
            now = next;
        }
        let changes = ways.iter().filter(|way| **way == Way::Change).count();
        println!("seed {seed}: {changes} of {} as changes", ways.len());
        assert!(ways[0] == Way::Whole && ways[1] == Way::Change && changes > 8, "{ways:?}");
    }
}

#[test]
fn what_is_not_known_is_written_whole() {
    let mut stand = Stand::new(7);
    let mut now = lists(&mut Random(8));
    assert_eq!(stand.publish(now.clone()), Way::Whole);
    let mut step = |stand: &mut Stand, change: &dyn Fn(&mut Random, &mut Vec<List>)| {
        let before = now.clone();
        change(&mut stand.random, &mut now);
        let way = stand.publish(now.clone());
        stand.check(&[&now, &before]);
        way
    };
    let little = |random: &mut Random, lists: &mut Vec<List>| *lists = changed(random, lists, 4);
    // Nothing is known of the other generation.
    assert_eq!([0; 2].map(|_| step(&mut stand, &little)), [Way::Whole, Way::Change]);
    // Another list: what is different is not known, for both generations.
    let other = |_: &mut Random, lists: &mut Vec<List>| lists[2].shadow = false;
    assert_eq!(step(&mut stand, &other), Way::Whole);
    assert_eq!([0; 2].map(|_| step(&mut stand, &little)), [Way::Whole, Way::Change]);
    // An IPv6 length that is not declared.
    let length = |_: &mut Random, lists: &mut Vec<List>| {
        Arc::make_mut(&mut lists[1].entries).v6.push((V6 { high: 0x2a00 << 48, low: 0 }, 57));
    };
    assert_eq!(step(&mut stand, &length), Way::Whole);
    assert_eq!([0; 2].map(|_| step(&mut stand, &little)), [Way::Whole, Way::Change]);
    // All of IPv6 is two entries.
    let whole = |_: &mut Random, lists: &mut Vec<List>| {
        Arc::make_mut(&mut lists[0].entries).v6.push((V6::default(), 0));
    };
    assert_eq!(step(&mut stand, &whole), Way::Whole);
    // A write that fails leaves nothing known of its generation.
    let generation = 1 - control::generation(&stand.heap);
    let merged = Merged {
        v4: (0..3_000_000u32).map(|n| merge::Entry { network: n << 10, length: 32, class: 1 }).collect(),
        v6: Vec::new(),
    };
    let next = Next { policy: &stand.policy, merged: &merged, classes: &stand.classes, delta: None };
    assert!(stand.generations.write(&stand.heap, generation, SIZES, Seed(1, 2), &next).is_err());
    assert_eq!(step(&mut stand, &little), Way::Whole);
}

#[test]
fn after_as_many_changes_as_entries_all_is_written() {
    let mut stand = Stand::new(9);
    let mut now = lists(&mut Random(10));
    stand.publish(now.clone());
    let mut ways = Vec::new();
    for _ in 0..400 {
        let next = changed(&mut stand.random, &now, 6);
        ways.push(stand.publish(next.clone()));
        let changes = ways.iter().filter(|way| **way == Way::Change).count();
        if ways.ends_with(&[Way::Whole, Way::Whole]) && changes > 20 {
            println!("after {changes} changes");
            stand.check(&[&next, &now]);
            return;
        }
        now = next;
    }
    unreachable!("marks and bits are never cleared: {ways:?}");
}

#[test]
fn nothing_changed_is_a_change_too() {
    let mut stand = Stand::new(11);
    let now = lists(&mut Random(12));
    let ways = [0; 4].map(|_| stand.publish(now.clone()));
    assert_eq!(ways, [Way::Whole, Way::Whole, Way::Change, Way::Change]);
    stand.check(&[&now, &now]);
}
