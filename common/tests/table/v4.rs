//! IPv4.

use proptest::prelude::*;
use weir_common::{
    class::{ClassId, HOLE, NONE},
    control::{Policy, Seed},
    heap::Heap,
    map::Sizes,
    table::{Full, v4},
};

use crate::{
    heap, lookup_v4,
    oracle::{Entry, Oracle, in_order},
    random::Random,
};

fn policy(seed: (u64, u64)) -> Policy {
    Policy { v4_bits: Sizes::V4_BITS_MIN, seed: Seed(seed.0, seed.1), ..Policy::NONE }
}

fn entry(address: u32, length: u32, class: ClassId) -> Entry {
    Entry::covering(u128::from(address) << 96, length, class)
}

fn network(entry: &Entry) -> u32 {
    (entry.network >> 96) as u32
}

fn build(heap: &Heap, generation: u32, policy: &Policy, entries: &[Entry]) {
    for entry in entries {
        v4::insert(heap, generation, policy, network(entry), entry.length, entry.class).unwrap();
    }
}

/// The same at once, over whatever there was.
fn fill(heap: &Heap, generation: u32, policy: &Policy, entries: &[Entry]) {
    let entries = entries.iter().map(|entry| (network(entry), entry.length as u8, entry.class));
    v4::fill(heap, generation, policy, entries).unwrap();
}

/// Mostly within a few /16s, at the ends of the address space too, so that entries nest and meet.
fn any_address() -> impl Strategy<Value = u32> {
    let net = prop_oneof![
        4 => Just(0x0a00_0000u32),
        2 => Just(0x0a01_0000),
        1 => Just(0x0000_0000),
        1 => Just(0xffff_0000),
        1 => any::<u32>(),
    ];
    // Few different low bytes: siblings, duplicates and chains of prefixes occur by themselves.
    let low = prop_oneof![2 => 0u32..0x400, 1 => 0u32..0x1_0000, 1 => Just(0xffffu32)];
    (net, low).prop_map(|(net, low)| net & 0xffff_0000 | low)
}

fn any_class() -> impl Strategy<Value = ClassId> {
    prop_oneof![4 => 1u16..4096, 1 => Just(HOLE)]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let length = prop_oneof![1 => 0u32..=16, 3 => 17u32..=24, 3 => 25u32..=31, 2 => Just(32u32)];
    (any_address(), length, any_class()).prop_map(|(address, length, class)| entry(address, length, class))
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(any_entry(), 0..120).prop_map(in_order)
}

/// Compares table and oracle where they could differ first: at and beside the ends of entries.
fn agree_at_ends(
    heap: &Heap,
    generation: u32,
    policy: &Policy,
    entries: &[Entry],
    oracle: &Oracle,
) -> Result<(), TestCaseError> {
    for entry in entries {
        let (first, last) = ((entry.first() >> 96) as u32, (entry.last() >> 96) as u32);
        for address in [first.wrapping_sub(1), first, first.wrapping_add(1), last, last.wrapping_add(1)] {
            let want = oracle.lookup(u128::from(address) << 96);
            prop_assert_eq!(lookup_v4(heap, generation, policy, address), want, "{:#010x}", address);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_longest_match(
        entries in any_entries(),
        others in any_entries(),
        addresses in proptest::collection::vec(any_address(), 200),
        seed in any::<(u64, u64)>(),
        other_seed in any::<(u64, u64)>(),
    ) {
        let heap = heap(0);
        let policies = [policy(seed), policy(other_seed)];
        let sets = [&entries, &others];
        for generation in 0..2u32 {
            build(&heap, generation, &policies[generation as usize], sets[generation as usize]);
        }
        for generation in 0..2u32 {
            let (policy, set) = (&policies[generation as usize], sets[generation as usize]);
            let oracle = Oracle::new(set);
            // Each at the ends of both sets: what the other generation holds must not shine through.
            agree_at_ends(&heap, generation, policy, &entries, &oracle)?;
            agree_at_ends(&heap, generation, policy, &others, &oracle)?;
            for &address in &addresses {
                let want = oracle.lookup(u128::from(address) << 96);
                prop_assert_eq!(lookup_v4(&heap, generation, policy, address), want, "{:#010x}", address);
            }
        }
        v4::clear(&heap, 0, &policies[0]);
        agree_at_ends(&heap, 0, &policies[0], &entries, &Oracle::default())?;
        agree_at_ends(&heap, 1, &policies[1], &others, &Oracle::new(&others))?;
        build(&heap, 0, &policies[0], &others);
        agree_at_ends(&heap, 0, &policies[0], &entries, &Oracle::new(&others))?;
        for set in [&entries, &others] {
            fill(&heap, 0, &policies[1], set);
            agree_at_ends(&heap, 0, &policies[1], &entries, &Oracle::new(set))?;
            agree_at_ends(&heap, 0, &policies[1], &others, &Oracle::new(set))?;
        }
    }
}

/// All addresses of three neighbouring /16s and the ends of their neighbours, under 24 random sets.
#[test]
fn agrees_everywhere_in_three_16s() {
    let mut random = Random(1);
    for round in 0..24 {
        let base = match round % 3 {
            0 => 0x0a00_0000,
            1 => 0x0000_0000,
            _ => 0xfffd_0000u32,
        };
        let entries = (0..400)
            .map(|_| {
                let address = base + random.below(3 << 16) as u32;
                let length = match random.below(8) {
                    0 => random.below(17) as u32,
                    1..=3 => 17 + random.below(8) as u32,
                    _ => 25 + random.below(8) as u32,
                };
                let class = if random.below(5) == 0 { HOLE } else { 1 + random.below(4000) as u16 };
                entry(address, length, class)
            })
            .collect();
        let entries = in_order(entries);
        let oracle = Oracle::new(&entries);
        let (heap, policy) = (heap(0), policy((random.next(), random.next())));
        build(&heap, round & 1, &policy, &entries);
        for offset in 0..(3 << 16) + 512 {
            let address = base.wrapping_sub(256).wrapping_add(offset);
            let want = oracle.lookup(u128::from(address) << 96);
            assert_eq!(lookup_v4(&heap, round & 1, &policy, address), want, "round {round}, {address:#010x}");
        }
    }
}

#[test]
fn an_empty_table_lists_nothing() {
    let (heap, mut random) = (heap(0), Random(2));
    for policy in [Policy::NONE, policy((3, 4))] {
        for _ in 0..10_000 {
            assert_eq!(lookup_v4(&heap, 0, &policy, random.next() as u32), NONE);
        }
    }
}

/// Every length alone, at both ends of the address space and in the middle.
#[test]
fn every_length_covers_exactly_its_addresses() {
    for length in 0..=32 {
        for address in [0, 0x0a14_1e28, u32::MAX] {
            let (heap, policy) = (heap(0), policy((5, 6)));
            let entry = entry(address, length, 7);
            build(&heap, 0, &policy, &[entry]);
            let (first, last) = ((entry.first() >> 96) as u32, (entry.last() >> 96) as u32);
            for address in [first, first + (last - first) / 3, last] {
                assert_eq!(lookup_v4(&heap, 0, &policy, address), 7, "/{length} {address:#010x}");
            }
            if length > 0 {
                for address in [first.wrapping_sub(1), last.wrapping_add(1)] {
                    assert_eq!(lookup_v4(&heap, 0, &policy, address), NONE, "/{length} {address:#010x}");
                }
            }
        }
    }
}

#[test]
fn a_policy_larger_than_the_maps_is_refused() {
    let (heap, mut random) = (heap(0), Random(3));
    let policy = Policy { v4_bits: Sizes::V4_BITS_MIN + 1, ..policy((7, 8)) };
    let refused = (0..1000)
        .map(|_| v4::insert(&heap, 1, &policy, random.next() as u32, 32, 9))
        .filter(|result| *result == Err(Full::Memory))
        .count();
    assert_eq!(refused, 1000);
    assert_eq!(v4::insert(&heap, 2, &policy, 0, 8, 9), Err(Full::Memory));
    assert_eq!(v4::insert(&heap, 2, &policy, 0, 24, 9), Err(Full::Memory));
}
