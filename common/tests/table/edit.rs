//! Tables that are changed in part, beside what they would be if filled from nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weir_common::{
    class::{ClassId, NONE},
    control::{Policy, Seed},
    heap::Heap,
    line::Memory,
    map::{Map, Sizes},
    table::{
        v4::{self, BLOCK_LENGTH},
        v6::{self, Lengths},
    },
};

use crate::{
    heap, lookup_v4, lookup_v6,
    oracle::{Entry, Oracle, halves, in_order},
    random::Random,
};

/// Each step changes the generation that is not in force, and then both are asked.
const STEPS: usize = 6;

fn address_v4(bits: u128) -> u32 {
    (bits >> 96) as u32
}

/// What a set has in a /20.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    base: ClassId,
    inside: Vec<(u32, u8, ClassId)>,
}

/// Returns all /20s in which a set has something.
fn blocks(set: &[Entry]) -> BTreeMap<u32, Block> {
    let mut blocks: BTreeMap<u32, Block> = BTreeMap::new();
    // The wider first, so the longest that covers a block is the last.
    for entry in set {
        let first = address_v4(entry.first());
        if entry.length <= u32::from(BLOCK_LENGTH) {
            for n in 0..1u32 << (u32::from(BLOCK_LENGTH) - entry.length) {
                blocks.entry(first + (n << 12)).or_default().base = entry.class;
            }
        } else {
            let inside = &mut blocks.entry(first & !0xfff).or_default().inside;
            inside.retain(|&(network, length, _)| (network, u32::from(length)) != (first, entry.length));
            inside.push((first, entry.length as u8, entry.class));
        }
    }
    blocks
}

/// Makes of a generation that holds `before` one that holds `after`.
fn rewrite(heap: &Heap, generation: u32, policy: &Policy, before: &[Entry], after: &[Entry]) {
    let (before, after) = (blocks(before), blocks(after));
    let none = Block::default();
    let all: BTreeSet<u32> = before.keys().chain(after.keys()).copied().collect();
    for block in all {
        let (old, new) = (before.get(&block).unwrap_or(&none), after.get(&block).unwrap_or(&none));
        // What has not changed may be written again as well.
        if old != new || block & 0x1000 == 0 {
            let (old, new) = (old.inside.iter().copied(), new.inside.iter().copied());
            let base = after.get(&block).map_or(NONE, |block| block.base);
            v4::rewrite(heap, generation, policy, block, base, old, new).unwrap();
        }
    }
}

/// Changes from one IPv6 set to another, as far as the lengths are declared.
fn change_v6(heap: &Heap, generation: u32, policy: &Policy, before: &[Entry], after: &[Entry]) {
    let keyed = |set: &[Entry]| -> BTreeMap<(u128, u32), ClassId> {
        set.iter().map(|entry| ((entry.network, entry.length), entry.class)).collect()
    };
    let (before, after) = (keyed(before), keyed(after));
    for (&(network, length), _) in before.iter().filter(|(key, class)| after.get(key) != Some(class)) {
        v6::remove(heap, generation, policy, halves(network), length).unwrap();
    }
    for (&(network, length), &class) in &after {
        if before.get(&(network, length)) != Some(&class) {
            v6::insert(heap, generation, policy, halves(network), length, class).unwrap();
        }
    }
}

/// Two /20s and their neighbours, so that nearly everything nests and meets.
fn v4_set() -> impl Strategy<Value = Vec<Entry>> {
    let address = prop_oneof![6 => 0u32..0x2000, 1 => 0u32..0x8000, 1 => 0x7f00u32..0x8100]
        .prop_map(|low| u128::from(0x0a00_0000 | low) << 96);
    let length = prop_oneof![1 => 12u32..=20, 3 => 21u32..=24, 4 => 25u32..=32];
    let entry = (address, length, 1u16..9).prop_map(|(a, length, class)| Entry::covering(a, length, class));
    proptest::collection::vec(entry, 0..60).prop_map(in_order)
}

const V6_LENGTHS: [u32; 9] = [12, 16, 29, 32, 44, 48, 56, 64, 128];

fn v6_set() -> impl Strategy<Value = Vec<Entry>> {
    let address = (0u128..3, 0u128..3, 0u128..3, 0u128..3)
        .prop_map(|(a, b, c, d)| 0x2001_0db8 << 96 | a << 96 | b << 80 | c << 64 | d);
    let length = prop::sample::select(V6_LENGTHS.to_vec());
    let entry = (address, length, 1u16..9).prop_map(|(a, length, class)| Entry::covering(a, length, class));
    proptest::collection::vec(entry, 0..60).prop_map(in_order)
}

/// Where sets could differ: at and beside the ends of all entries that ever were.
fn ends(sets: &[Vec<Entry>]) -> BTreeSet<u128> {
    let one = 1u128 << 96;
    let ends = |entry: &Entry| {
        let (first, last) = (entry.first(), entry.last());
        [first.wrapping_sub(1), first, first.wrapping_add(one), last, last.wrapping_add(1)]
    };
    sets.iter().flatten().flat_map(ends).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn v4_changed_in_part_is_v4_filled(
        sets in proptest::collection::vec(v4_set(), STEPS),
        seed in any::<(u64, u64)>(),
    ) {
        let heap = heap(0);
        let policy = |generation: u64| Policy {
            v4_bits: Sizes::V4_BITS_MIN,
            seed: Seed(seed.0 ^ generation, seed.1),
            ..Policy::NONE
        };
        let mut held: [&[Entry]; 2] = [&[], &[]];
        for (step, set) in sets.iter().enumerate() {
            let written = (step % 2) as u32;
            rewrite(&heap, written, &policy(u64::from(written)), held[step % 2], set);
            held[step % 2] = set;
            for generation in 0..2u32 {
                let (policy, oracle) = (policy(u64::from(generation)), Oracle::new(held[generation as usize]));
                for &end in &ends(&sets) {
                    let got = lookup_v4(&heap, generation, &policy, address_v4(end));
                    prop_assert_eq!(got, oracle.lookup(end & u128::MAX << 96), "{:#x}", address_v4(end));
                }
            }
        }
    }

    #[test]
    fn v6_changed_in_part_is_v6_filled(
        sets in proptest::collection::vec(v6_set(), STEPS),
        seed in any::<(u64, u64)>(),
    ) {
        let heap = heap(10);
        let lengths = Lengths::of(V6_LENGTHS.into_iter());
        prop_assert!(lengths.are_exact());
        let policy = |generation: u32| Policy {
            v6_bits: 10,
            v6_lengths: v6::set_lengths(&heap, generation, &lengths),
            seed: Seed(seed.0 ^ u64::from(generation), seed.1),
            ..Policy::NONE
        };
        let mut held: [&[Entry]; 2] = [&[], &[]];
        for (step, set) in sets.iter().enumerate() {
            let written = (step % 2) as u32;
            change_v6(&heap, written, &policy(written), held[step % 2], set);
            held[step % 2] = set;
            for generation in 0..2u32 {
                let (policy, oracle) = (policy(generation), Oracle::new(held[generation as usize]));
                for &end in &ends(&sets) {
                    let got = lookup_v6(&heap, generation, &policy, end);
                    prop_assert_eq!(got, oracle.lookup(end), "{:#034x}", end);
                }
            }
        }
    }
}

/// In a table so full that lines spill, hosts come and go until most have changed.
#[test]
fn full_v4_lines_lose_nothing_when_their_neighbours_go() {
    let mut random = Random(21);
    let heap = heap(0);
    let seed = Seed(random.next(), random.next());
    let policy = Policy { v4_bits: Sizes::V4_BITS_MIN, seed, ..Policy::NONE };
    let class = |address: u32| (address % 4001) as ClassId + 1;
    let mut listed: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for _ in 0..1_200_000 {
        let address = random.next() as u32;
        listed.entry(address & !0xfff).or_default().insert(address);
    }
    for &address in listed.values().flatten() {
        v4::insert(&heap, 0, &policy, address, 32, class(address)).unwrap();
    }
    let spilled = |word: &u64| *word != 0;
    let spill =
        || (0..1 << 14).flat_map(|n| heap.line(Map::V4Spill, n).unwrap().load()).filter(spilled).count();
    let at_first = spill();
    let mut gone = Vec::new();
    let entries = |hosts: &BTreeSet<u32>| -> Vec<_> { hosts.iter().map(|&a| (a, 32, class(a))).collect() };
    for (&block, hosts) in listed.iter_mut().filter(|(block, _)| **block & 0x3000 != 0) {
        let before = entries(hosts);
        gone.extend(hosts.iter().copied());
        *hosts = (0..hosts.len()).map(|_| block | random.next() as u32 & 0xfff).collect();
        v4::rewrite(&heap, 0, &policy, block, NONE, before.into_iter(), entries(hosts).into_iter()).unwrap();
    }
    println!("{at_first} spilled at first, {} in the end, {} are gone", spill(), gone.len());
    assert!(at_first > 1000 && gone.len() > 800_000);
    let listed: BTreeSet<u32> = listed.into_values().flatten().collect();
    for &address in &listed {
        assert_eq!(lookup_v4(&heap, 0, &policy, address), class(address), "{address:#010x}");
    }
    for address in gone.into_iter().filter(|address| !listed.contains(address)) {
        assert_eq!(lookup_v4(&heap, 0, &policy, address), NONE, "{address:#010x}");
    }
    for address in listed.iter().map(|address| address ^ 1).filter(|address| !listed.contains(address)) {
        assert_eq!(lookup_v4(&heap, 0, &policy, address), NONE, "{address:#010x}");
    }
    let all: BTreeMap<u32, Vec<_>> = listed.iter().fold(BTreeMap::new(), |mut blocks, &address| {
        blocks.entry(address & !0xfff).or_insert_with(Vec::new).push((address, 32, class(address)));
        blocks
    });
    for (block, hosts) in all {
        v4::rewrite(&heap, 0, &policy, block, NONE, hosts.into_iter(), std::iter::empty()).unwrap();
    }
    assert_eq!(spill(), 0, "an entry that is gone has left something apart from its line");
}

/// At seven eighths most entries have been moved by others.
#[test]
fn full_v6_lines_lose_nothing_when_their_neighbours_go() {
    let mut random = Random(22);
    let heap = heap(10);
    let lengths = Lengths::of([128].into_iter());
    let policy = Policy {
        v6_bits: 10,
        v6_lengths: v6::set_lengths(&heap, 0, &lengths),
        seed: Seed(random.next(), random.next()),
        ..Policy::NONE
    };
    let mut fresh = || u128::from(random.next()) << 64 | u128::from(random.next());
    let class = |address: u128| (address % 4001) as ClassId + 1;
    let mut listed: Vec<u128> = (0..7 << 10).map(|_| fresh()).collect();
    for &address in &listed {
        v6::insert(&heap, 0, &policy, halves(address), 128, class(address)).unwrap();
    }
    let mut gone = Vec::new();
    for round in 0..20 {
        for n in (round % 3..listed.len()).step_by(3) {
            v6::remove(&heap, 0, &policy, halves(listed[n]), 128).unwrap();
            gone.push(std::mem::replace(&mut listed[n], fresh()));
        }
        for &address in listed[round % 3..].iter().step_by(3) {
            v6::insert(&heap, 0, &policy, halves(address), 128, class(address)).unwrap();
        }
        for &address in &listed {
            assert_eq!(lookup_v6(&heap, 0, &policy, address), class(address), "round {round}, {address:#x}");
        }
    }
    assert!(gone.iter().all(|address| lookup_v6(&heap, 0, &policy, *address) == NONE));
}
