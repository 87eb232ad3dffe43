//! Bans and manual rules against an obvious list of them.
#![expect(clippy::cast_possible_truncation, reason = "addresses are cut from random numbers")]

#[path = "../support/random.rs"]
mod random;

use std::collections::{HashMap, HashSet};

use random::Random;
use weir_common::{
    addr::{Address, V6, network_v4},
    control::Seed,
    heap::Heap,
    map::Sizes,
    overlay::{self, CAPACITY, FOREVER, Key, LENGTHS_MAX, Prefix, Refused, Rule, Sentence},
};

const SEED: Seed = Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211);
const BAN: Rule = Rule { sentence: Sentence::Drop, shadow: false, profile: 0, until: FOREVER };

fn heap() -> Heap {
    Heap::new(Sizes::MIN)
}

fn v4(bits: u32, length: u8) -> Prefix {
    Prefix { address: Address::V4(network_v4(bits, length.into())), length }
}

fn v6(high: u64, low: u64, length: u8) -> Prefix {
    Prefix { address: Address::V6(V6 { high, low }.network(length.into())), length }
}

fn covers(prefix: Prefix, address: Address) -> bool {
    match (prefix.address, address) {
        (Address::V4(network), Address::V4(bits)) => network_v4(bits, prefix.length.into()) == network,
        (Address::V6(network), Address::V6(bits)) => bits.network(prefix.length.into()) == network,
        (Address::V4(_), Address::V6(_)) | (Address::V6(_), Address::V4(_)) => false,
    }
}

/// The rule of the longest prefix that has not ended.
fn asked(rules: &HashMap<Prefix, Rule>, address: Address, now: u64) -> Option<Rule> {
    let live = rules.iter().filter(|(prefix, rule)| covers(**prefix, address) && rule.until > now);
    live.max_by_key(|(prefix, _)| prefix.length).map(|(_, rule)| *rule)
}

/// A prefix near a few addresses, so that prefixes nest, meet and come again.
fn prefix(random: &mut Random) -> Prefix {
    let low = random.below(64);
    match random.below(2) {
        0 => v4(0x0a00_0000 | low as u32, [8, 24, 28, 32][(random.below(4)) as usize]),
        _ => v6(0x2001_0db8 << 32 | low, low, [32, 60, 64, 128][(random.below(4)) as usize]),
    }
}

#[test]
fn agrees_with_a_list_of_rules() {
    let mut random = Random(1);
    let heap = heap();
    let mut rules = HashMap::new();
    let mut now = 1_000;
    for _ in 0..20_000 {
        now += random.below(50);
        let prefix = prefix(&mut random);
        if random.below(4) == 0 {
            let had = rules.remove(&prefix).is_some_and(|rule: Rule| rule.until > now);
            assert_eq!(overlay::remove(&heap, SEED, prefix, now), had);
        } else {
            let sentence = [Sentence::Drop, Sentence::Allow, Sentence::Limit][(random.below(3)) as usize];
            let rule = Rule {
                sentence,
                shadow: random.below(2) == 0,
                profile: (random.below(3)) as u8,
                until: now + random.below(2_000),
            };
            overlay::insert(&heap, SEED, prefix, rule, now).unwrap();
            rules.insert(prefix, rule);
        }
        for _ in 0..4 {
            let low = random.below(80);
            let address = if random.below(2) == 0 {
                Address::V4(0x0a00_0000 | low as u32)
            } else {
                Address::V6(V6 { high: 0x2001_0db8 << 32 | low, low })
            };
            assert_eq!(
                overlay::lookup(&heap, SEED, address, now),
                asked(&rules, address, now),
                "{address:?}"
            );
        }
    }
}

#[test]
fn a_rule_ends_by_itself_and_makes_room() {
    let heap = heap();
    let prefix = v4(7, 32);
    overlay::insert(&heap, SEED, prefix, Rule { until: 500, ..BAN }, 0).unwrap();
    let found = |now| overlay::lookup(&heap, SEED, Address::V4(7), now).is_some();
    assert!(found(499) && !found(500) && !found(u64::MAX >> 8));
    for round in 1..100 {
        // Far more than fit, but never at the same time.
        for n in 0..10_000u32 {
            let rule = Rule { until: round * 1_000, ..BAN };
            overlay::insert(&heap, SEED, v4(n, 32), rule, (round - 1) * 1_000).unwrap();
        }
    }
}

#[test]
fn holds_what_it_is_meant_for_and_refuses_the_rest() {
    let heap = heap();
    let mut random = Random(2);
    let prefixes: Vec<Prefix> = (0..CAPACITY)
        .map(|n| if n % 2 == 0 { v4(random.next() as u32, 32) } else { v6(random.next(), 0, 64) })
        .collect();
    for prefix in &prefixes {
        overlay::insert(&heap, SEED, *prefix, BAN, 0).unwrap();
    }
    for prefix in &prefixes {
        assert_eq!(overlay::lookup(&heap, SEED, prefix.address, 0), Some(BAN));
    }
    let refused = (0..4 * CAPACITY)
        .map(|_| overlay::insert(&heap, SEED, v4(random.next() as u32, 32), BAN, 0))
        .find_map(Result::err);
    assert_eq!(refused, Some(Refused::Full));
    for prefix in &prefixes {
        assert_eq!(overlay::lookup(&heap, SEED, prefix.address, 0), Some(BAN));
    }
}

#[test]
fn lengths_are_few_and_can_be_given_back() {
    let heap = heap();
    for length in 25..25 + LENGTHS_MAX as u8 {
        overlay::insert(&heap, SEED, v4(u32::from(length) << 24, length), BAN, 0).unwrap();
    }
    assert_eq!(overlay::insert(&heap, SEED, v4(0, 8), BAN, 0), Err(Refused::Lengths));
    // The other family has its own.
    overlay::insert(&heap, SEED, v6(1 << 63, 0, 32), BAN, 0).unwrap();
    let rest = v4(25 << 24, 25);
    overlay::set_lengths(&heap, [rest].into_iter());
    assert_eq!(overlay::lookup(&heap, SEED, rest.address, 0), Some(BAN));
    assert_eq!(overlay::lookup(&heap, SEED, Address::V6(V6 { high: 1 << 63, low: 0 }), 0), None);
    overlay::insert(&heap, SEED, v4(0, 8), BAN, 0).unwrap();
    overlay::clear(&heap);
    assert_eq!(overlay::lookup(&heap, SEED, rest.address, 0), None);
}

#[test]
fn what_is_not_to_be_kept_ends() {
    let heap = heap();
    let mut random = Random(3);
    let prefixes: Vec<Prefix> = (0..4_000).map(|_| prefix(&mut random)).collect();
    let prefixes: HashSet<Prefix> = prefixes.into_iter().collect();
    for prefix in &prefixes {
        overlay::insert(&heap, SEED, *prefix, BAN, 0).unwrap();
    }
    let over = v4(0xc000_0201, 32);
    overlay::insert(&heap, SEED, over, Rule { until: 500, ..BAN }, 0).unwrap();
    assert_eq!(overlay::count(&heap, 499), prefixes.len() + 1);
    assert_eq!(overlay::count(&heap, 500), prefixes.len());
    let kept: HashSet<Prefix> = prefixes.iter().copied().filter(|_| random.below(2) == 0).collect();
    let keys: HashSet<Key> = kept.iter().map(|prefix| Key::of(SEED, *prefix)).collect();
    // What has ended by itself is gone as well, but is not counted.
    assert_eq!(overlay::retain(&heap, 500, |key| keys.contains(&key)), prefixes.len() - kept.len());
    assert_eq!(overlay::count(&heap, 0), kept.len());
    for prefix in &prefixes {
        assert_eq!(overlay::get(&heap, SEED, *prefix, 0).is_some(), kept.contains(prefix), "{prefix:?}");
    }
    assert_eq!(overlay::retain(&heap, 500, |_| false), kept.len());
    assert_eq!(overlay::count(&heap, 0), 0);
}
