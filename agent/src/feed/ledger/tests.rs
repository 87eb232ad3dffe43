use std::{collections::HashMap, time::Instant};

use proptest::prelude::*;

use super::*;

const START: u64 = 1_700_000_000;

fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(START) + Duration::from_millis(milliseconds)
}

fn entry(number: u32, throttled: bool, ends: Option<SystemTime>) -> Entry {
    let prefix = IpNet::from(std::net::IpAddr::from(number.to_be_bytes()));
    Entry { prefixes: [prefix].into(), throttled, ends }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u32, bool, Option<u16>),
    Remove(u8),
    Forget(u16),
    Clear,
    Store,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..40, any::<u32>(), any::<bool>(), proptest::option::of(0u16..9000))
            .prop_map(|(id, number, throttled, ends)| Step::Set(id, number, throttled, ends)),
        4 => (0u8..40).prop_map(Step::Remove),
        3 => (0u16..9000).prop_map(Step::Forget),
        1 => Just(Step::Clear),
        1 => Just(Step::Store),
    ]
}

proptest! {
    /// Beside a model that keeps a map and looks through all of it.
    #[test]
    fn is_what_was_set_and_has_not_ended(steps in proptest::collection::vec(step(), 0..80)) {
        let mut ledger = Ledger::default();
        let mut model: HashMap<String, Entry> = HashMap::new();
        for step in steps {
            match step {
                Step::Set(id, number, throttled, ends) => {
                    let ends = ends.map(|ends| u64::from(ends).next_multiple_of(1000));
                    let whole = entry(number, throttled, ends.map(at));
                    // A millisecond earlier is the same second.
                    let told = entry(number, throttled, ends.map(|ends| at(ends) - Duration::from_millis(1)));
                    let changed = model.insert(id.to_string(), whole.clone()) != Some(whole);
                    prop_assert_eq!(ledger.set(id.to_string(), told), changed);
                }
                Step::Remove(id) => {
                    prop_assert_eq!(ledger.remove(&id.to_string()), model.remove(&id.to_string()));
                }
                Step::Forget(now) => {
                    let before = model.len();
                    model.retain(|_, entry| entry.ends.is_none_or(|ends| ends > at(now.into())));
                    prop_assert_eq!(ledger.forget(at(now.into())), model.len() != before);
                }
                Step::Clear => {
                    ledger.clear();
                    model.clear();
                }
                Step::Store => {
                    let text = serde_json::to_string(&ledger).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Ledger>(&text).unwrap(), &ledger);
                }
            }
            prop_assert_eq!(ledger.len(), model.len());
            prop_assert_eq!(ledger.next_end(), model.values().filter_map(|entry| entry.ends).min());
            let listing = ledger.listing();
            let sorted = |entries: &Entries| { let mut v4 = entries.v4.clone(); v4.sort_unstable(); v4 };
            let of = |throttled| {
                let entries = model.values().filter(|entry| entry.throttled == throttled);
                let mut list: Vec<(u32, u8)> = entries
                    .map(|entry| match entry.prefixes[0] {
                        IpNet::V4(prefix) => (prefix.network().to_bits(), 32),
                        IpNet::V6(_) => unreachable!(),
                    })
                    .collect();
                list.sort_unstable();
                list
            };
            prop_assert_eq!(sorted(&listing.entries), of(false));
            prop_assert_eq!(sorted(&listing.throttled), of(true));
        }
    }
}

#[test]
fn names_that_start_alike_are_found_together() {
    let mut ledger = Ledger::default();
    for id in ["a|1", "a|2", "b|1", "a", "ab|1"] {
        ledger.set(id, entry(1, false, None));
    }
    assert_eq!(ledger.starting_with("a|").map(|(id, _)| id).collect::<Vec<_>>(), ["a|1", "a|2"]);
    assert_eq!(ledger.starting_with("c").count(), 0);
}

#[test]
fn ends_are_moved_with_the_clock() {
    let mut ledger = Ledger::default();
    ledger.set("a", entry(1, false, Some(at(5000))));
    ledger.set("b", entry(2, true, None));
    assert_eq!(ledger.moved(0), ledger);
    let mut later = ledger.moved(-3);
    assert_eq!((later.next_end(), ledger.next_end()), (Some(at(2000)), Some(at(5000))));
    assert_eq!(later.moved(3), ledger);
    assert!(!later.forget(at(1999)) && later.forget(at(2000)));
    assert_eq!((later.len(), later.next_end()), (1, None));
}

#[test]
fn a_file_of_another_shape_is_an_error() {
    for text in ["{}", "[[]]", "[[\"a\",null,false,[\"x\"]]]", "[[\"a\",-1,false,[]]]"] {
        assert!(serde_json::from_str::<Ledger>(text).is_err(), "{text}");
    }
    let far = format!("[[\"a\",{},false,[\"192.0.2.1/32\"]]]", u64::MAX);
    assert_eq!(serde_json::from_str::<Ledger>(&far).unwrap().len(), 1);
}

/// What a delta on a list like CrowdSec's costs: a copy, a few changes, the listing.
#[test]
fn a_delta_on_many_entries_takes_milliseconds() {
    let mut ledger = Ledger::default();
    for number in 0..100_000u32 {
        ledger.set(number.to_string(), entry(number, false, Some(at(u64::from(number % 14_400) * 1000))));
    }
    let started = Instant::now();
    let rounds = 5;
    for round in 0..rounds {
        for number in 0..300u32 {
            ledger.remove(&(round * 1000 + number).to_string());
            ledger.set(format!("new {number}"), entry(number, true, Some(at(99_000_000))));
        }
        ledger.forget(at(0));
        assert_eq!(ledger.clone().listing().len(), ledger.len());
    }
    let each = started.elapsed() / rounds;
    // On a busy machine; a fraction of it on an idle one.
    assert!(each < Duration::from_millis(500), "{each:?}");
}
