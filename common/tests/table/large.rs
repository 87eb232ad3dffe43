//! IPv4 tables with as many entries as they hold, and with more.

use weir_common::{
    class::{ClassId, NONE},
    control::{Policy, Seed},
    heap::Heap,
    line::Memory,
    map::{Map, Sizes, V4_SPILL_LINES},
    table::{Full, v4},
};

use crate::{heap, lookup_v4, random::Random};

fn policy(random: &mut Random) -> Policy {
    Policy { v4_bits: Sizes::V4_BITS_MIN, seed: Seed(random.next(), random.next()), ..Policy::NONE }
}

/// Returns about `count` different addresses in order.
fn addresses(random: &mut Random, count: usize) -> Vec<u32> {
    let mut addresses: Vec<_> = (0..count).map(|_| random.next() as u32).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The class that `address` is given: all bits of it matter, so a mix-up shows.
fn class(address: u32) -> ClassId {
    (u64::from(address).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u16 + 1
}

fn spilled(heap: &Heap, generation: u32) -> usize {
    let held = |i| heap.line(Map::V4Spill, generation * V4_SPILL_LINES + i).unwrap().load();
    (0..V4_SPILL_LINES).flat_map(held).filter(|word| *word != 0).count()
}

/// Asks for `count` random addresses that are not in `listed`.
fn nothing_invented(heap: &Heap, policy: &Policy, random: &mut Random, listed: &[u32], count: usize) {
    let mut asked = 0;
    while asked < count {
        let address = random.next() as u32;
        if listed.binary_search(&address).is_err() {
            assert_eq!(lookup_v4(heap, 0, policy, address), NONE, "{address:#010x}");
            asked += 1;
        }
    }
}

#[test]
fn a_million_addresses_are_exact() {
    let mut random = Random(5);
    let (heap, policy) = (heap(0), policy(&mut random));
    let listed = addresses(&mut random, 1_000_000);
    for &address in &listed {
        v4::insert(&heap, 0, &policy, address, 32, class(address)).unwrap();
    }
    for &address in &listed {
        assert_eq!(lookup_v4(&heap, 0, &policy, address), class(address), "{address:#010x}");
    }
    nothing_invented(&heap, &policy, &mut random, &listed, 4_000_000);
    // Beside what is listed the root says "look": these are decided by remainders alone.
    for &address in &listed {
        let beside = address ^ 1;
        let want = if listed.binary_search(&beside).is_ok() { class(beside) } else { NONE };
        assert_eq!(lookup_v4(&heap, 0, &policy, beside), want, "{beside:#010x}");
    }
}

#[test]
fn full_lines_spill() {
    let mut random = Random(6);
    let (heap, policy) = (heap(0), policy(&mut random));
    let listed = addresses(&mut random, 1_300_000);
    for &address in &listed {
        v4::insert(&heap, 0, &policy, address, 32, class(address)).unwrap();
    }
    let spilled = spilled(&heap, 0);
    println!("{} listed, {spilled} of them spilled", listed.len());
    assert!(spilled > 1000, "{spilled} spilled");
    for &address in &listed {
        assert_eq!(lookup_v4(&heap, 0, &policy, address), class(address), "{address:#010x}");
    }
    nothing_invented(&heap, &policy, &mut random, &listed, 1_000_000);
    v4::clear(&heap, 0, &policy);
    assert_eq!(self::spilled(&heap, 0), 0);
    assert!(listed.iter().all(|address| lookup_v4(&heap, 0, &policy, *address) == NONE));
}

/// An entry that does not fit is refused aloud; all that were taken stay.
#[test]
fn a_full_table_says_so_and_loses_nothing() {
    let mut random = Random(7);
    let (heap, policy) = (heap(0), policy(&mut random));
    let listed = addresses(&mut random, 1_900_000);
    let results: Vec<_> =
        listed.iter().map(|&address| v4::insert(&heap, 0, &policy, address, 32, class(address))).collect();
    let refused = results.iter().filter(|result| **result == Err(Full::Lines)).count();
    println!("{} offered, {refused} refused, {} spilled", listed.len(), spilled(&heap, 0));
    assert!(refused > 0);
    for (&address, result) in listed.iter().zip(&results) {
        let want = if result.is_ok() { class(address) } else { NONE };
        assert_eq!(lookup_v4(&heap, 0, &policy, address), want, "{address:#010x}");
    }
}
