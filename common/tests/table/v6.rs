//! IPv6.

use proptest::prelude::*;
use weir_common::{
    class::{HOLE, NONE},
    control::{Policy, Seed, v6_lengths},
    heap::Heap,
    line::Memory,
    map::Map,
    table::{
        Full,
        v6::{self, FILTERED_FROM, LENGTHS_MAX, Lengths},
    },
};

use crate::{
    heap, lookup_v6,
    oracle::{Entry, Oracle, halves, in_order},
    random::Random,
};

const BITS: u32 = 10;

/// Declares the lengths of `entries`, then inserts them.
fn build(heap: &Heap, generation: u32, seed: Seed, entries: &[Entry]) -> Result<Policy, Full> {
    let lengths = Lengths::of(entries.iter().map(|entry| entry.length));
    let policy = Policy {
        v6_bits: BITS,
        v6_lengths: v6::set_lengths(heap, generation, &lengths),
        seed,
        ..Policy::NONE
    };
    for entry in entries {
        for (network, length) in lengths.expand(halves(entry.network), entry.length) {
            v6::insert(heap, generation, &policy, network, length, entry.class)?;
        }
    }
    Ok(policy)
}

/// Mostly in one /32 whose neighbours differ late, at the ends of the address space too.
fn any_address() -> impl Strategy<Value = u128> {
    let net = prop_oneof![
        4 => Just(0x2001_0db8u128 << 96),
        2 => Just(0x2001_0db9u128 << 96),
        1 => Just(0u128),
        1 => Just(u128::MAX << 96),
        1 => any::<u128>(),
    ];
    let low = prop_oneof![
        1 => (0u128..4).prop_map(|x| x << 64),
        1 => 0u128..16,
        1 => (0u128..4, 0u128..4).prop_map(|(high, low)| high << 80 | low << 48),
        1 => Just(u128::MAX >> 32),
        1 => any::<u128>().prop_map(|x| x >> 32),
    ];
    (net, low).prop_map(|(net, low)| net & u128::MAX << 96 | low)
}

fn any_entry(shortest: u32) -> impl Strategy<Value = Entry> {
    let length = prop_oneof![
        1 => shortest..=32u32,
        2 => 33u32..=64,
        2 => 65u32..=127,
        2 => prop::sample::select(vec![32u32, 48, 56, 64, 128]),
    ];
    let class = prop_oneof![4 => 1u16..4096, 1 => Just(HOLE)];
    (any_address(), length, class)
        .prop_map(|(address, length, class)| Entry::covering(address, length, class))
}

/// Half of the sets have nothing shorter than the filter tells of.
fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    prop_oneof![Just(1), Just(FILTERED_FROM)]
        .prop_flat_map(|shortest| proptest::collection::vec(any_entry(shortest), 0..80))
        .prop_map(in_order)
}

fn agree_at_ends(
    heap: &Heap,
    generation: u32,
    policy: &Policy,
    entries: &[Entry],
    oracle: &Oracle,
) -> Result<(), TestCaseError> {
    for entry in entries {
        let (first, last) = (entry.first(), entry.last());
        for address in [first.wrapping_sub(1), first, first.wrapping_add(1), last, last.wrapping_add(1)] {
            let want = oracle.lookup(address);
            prop_assert_eq!(lookup_v6(heap, generation, policy, address), want, "{:#034x}", address);
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
        let heap = heap(BITS);
        let policies = [
            build(&heap, 0, Seed(seed.0, seed.1), &entries).unwrap(),
            build(&heap, 1, Seed(other_seed.0, other_seed.1), &others).unwrap(),
        ];
        for (generation, set) in (0..2u32).zip([&entries, &others]) {
            let (policy, oracle) = (&policies[generation as usize], Oracle::new(set));
            agree_at_ends(&heap, generation, policy, &entries, &oracle)?;
            agree_at_ends(&heap, generation, policy, &others, &oracle)?;
            for &address in &addresses {
                let want = oracle.lookup(address);
                prop_assert_eq!(lookup_v6(&heap, generation, policy, address), want, "{:#034x}", address);
            }
        }
        v6::clear(&heap, 0, &policies[0]);
        agree_at_ends(&heap, 0, &policies[0], &entries, &Oracle::default())?;
        agree_at_ends(&heap, 1, &policies[1], &others, &Oracle::new(&others))?;
    }
}

/// All lengths in one chain of nested prefixes: each address meets the entry that ends with its
/// first differing bit.
#[test]
fn all_lengths_nest() {
    let address = 0x2001_0db8_1234_5678_9abc_def0_1357_9bdfu128;
    let entries: Vec<_> = (1..=128).map(|length| Entry::covering(address, length, length as u16)).collect();
    let heap = heap(BITS);
    let mut random = Random(8);
    let policy = build(&heap, 0, Seed(random.next(), random.next()), &in_order(entries)).unwrap();
    assert_eq!(policy.v6_lengths, LENGTHS_MAX);
    assert_eq!(lookup_v6(&heap, 0, &policy, address), 128);
    for bit in 0..128 {
        assert_eq!(lookup_v6(&heap, 0, &policy, address ^ 1 << bit), 127 - bit, "bit {bit}");
    }
}

/// Around the length from which on the filter tells: every /32 of a wide prefix passes it.
#[test]
fn the_filter_knows_all_32s_of_a_prefix() {
    for length in FILTERED_FROM..=33 {
        let heap = heap(BITS);
        let entry = Entry::covering(0x2a00_0000u128 << 96, length, 5);
        let policy = build(&heap, 0, Seed(3, 4), &[entry]).unwrap();
        let last = (entry.last() >> 96) as u32;
        for upper in (entry.first() >> 96) as u32..=last {
            assert_eq!(lookup_v6(&heap, 0, &policy, u128::from(upper) << 96 | 1), 5, "/{length} {upper:#x}");
        }
        assert_eq!(lookup_v6(&heap, 0, &policy, entry.first() - 1), NONE);
        assert_eq!(lookup_v6(&heap, 0, &policy, entry.last() + 1), NONE);
    }
}

#[test]
fn lengths_are_listed_from_the_longest() {
    let heap = heap(BITS);
    let listed = |generation: u32, count: u32| -> Vec<u8> {
        (0..count).map(|i| v6_lengths(&heap, generation).unwrap().byte(i)).collect()
    };
    let many: Vec<u32> = (97..=128).collect();
    assert_eq!(v6::set_lengths(&heap, 1, &Lengths::of(many.iter().copied())), LENGTHS_MAX);
    assert_eq!(listed(1, LENGTHS_MAX), (97..=128).rev().collect::<Vec<u8>>());
    assert_eq!(v6::set_lengths(&heap, 0, &Lengths::of([1, 128, 64, 48].into_iter())), 4);
    assert_eq!(listed(0, 4), [128, 64, 48, 1]);
    assert_eq!(v6::set_lengths(&heap, 0, &Lengths::of([].into_iter())), 0);
    assert_eq!(listed(1, LENGTHS_MAX), (97..=128).rev().collect::<Vec<u8>>(), "the other generation stays");
}

/// Tables are made to be half full at most; they take far more, in any size.
#[test]
fn seven_eighths_always_fit() {
    let mut random = Random(9);
    for bits in [10, 11, 13, 16] {
        let heap = heap(bits);
        let policy = Policy { v6_bits: bits, seed: Seed(random.next(), random.next()), ..Policy::NONE };
        for i in 0..7u32 << bits {
            let address = u128::from(random.next()) << 64 | u128::from(random.next());
            let result = v6::insert(&heap, 0, &policy, halves(address), 128, 1);
            assert_eq!(result, Ok(()), "2^{bits} lines, entry {i}");
        }
    }
}

/// Three quarters full, so that many lines have overflowed into those behind them; then on until
/// entries are refused. What was taken is found, what was refused is not, and nothing is invented.
#[test]
fn full_lines_overflow_into_the_next() {
    let mut random = Random(4);
    let heap = heap(BITS);
    let slots = 8 << BITS;
    // One /16 so that the filter lets every lookup through: the lines alone have to tell.
    let any = |random: &mut Random| {
        0x2a00u128 << 112 | u128::from(random.next() >> 16) << 64 | u128::from(random.next())
    };
    let entries: Vec<_> =
        (0..slots).map(|i| Entry::covering(any(&mut random), 128, i as u16 % 4095 + 1)).collect();
    let policy = Policy {
        v6_bits: BITS,
        v6_lengths: v6::set_lengths(&heap, 1, &Lengths::of([128].into_iter())),
        seed: Seed(5, 6),
        ..Policy::NONE
    };
    let results: Vec<_> = entries
        .iter()
        .map(|entry| v6::insert(&heap, 1, &policy, halves(entry.network), 128, entry.class))
        .collect();
    let full_lines = (0..1 << BITS)
        .filter(|i| heap.line(Map::V6Lines, (1 << BITS) + i).unwrap().word(7).load() != 0)
        .count();
    let refused_at = results.iter().position(Result::is_err).unwrap();
    let refused = results.iter().filter(|result| **result == Err(Full::Lines)).count();
    println!(
        "{full_lines} of {} lines full, first refusal at {refused_at} of {slots}, {refused} refused",
        1 << BITS
    );
    assert!(refused_at > slots * 3 / 4, "refused at {refused_at} of {slots}");
    assert!(refused > 0 && full_lines > 1 << (BITS - 1));
    for (entry, result) in entries.iter().zip(&results) {
        let want = if result.is_ok() { entry.class } else { NONE };
        assert_eq!(lookup_v6(&heap, 1, &policy, entry.network), want, "{:#034x}", entry.network);
    }
    for _ in 0..1_000_000 {
        let address = any(&mut random);
        assert_eq!(lookup_v6(&heap, 1, &policy, address), NONE, "{address:#034x}");
    }
}

#[test]
fn a_policy_larger_than_the_maps_is_refused() {
    let heap = heap(BITS);
    let policy = Policy { v6_bits: BITS + 1, ..Policy::NONE };
    for length in [1, 48, 128] {
        assert_eq!(v6::insert(&heap, 1, &policy, halves(1 << 127), length, 1), Err(Full::Memory));
    }
}
