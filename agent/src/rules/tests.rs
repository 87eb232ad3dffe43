use std::fs;

use weir_common::{
    control::{Global, Seed},
    heap::Heap,
    map::{Map, Sizes},
};

use super::*;

fn heap() -> Heap {
    let heap = Heap::new(Sizes::MIN);
    let global = Global {
        abi: weir_common::ABI_VERSION,
        tick: 1,
        clock_offset: 0,
        limiter_bits: 17,
        seed: Seed(1, 2),
        events_per_second: 0,
    };
    global.store(heap.line(Map::Control, 0).unwrap());
    heap
}

fn ban(prefix: &str, lasts: Option<u64>) -> Wanted {
    Wanted { lasts: lasts.map(Duration::from_secs), ..samples::wanted(prefix) }
}

fn prefixes(rules: &Rules, memory: &Heap) -> Vec<String> {
    rules.iter(memory, SystemTime::now()).map(|rule| rule.prefix.to_string()).collect()
}

fn in_force(memory: &Heap, prefix: &str) -> bool {
    kernel::get(memory, prefix.parse().unwrap()).unwrap().is_some()
}

#[test]
fn a_reboot_does_not_forgive_and_an_end_is_an_end() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, now);
    assert!(!rules.need_care());
    let wanted =
        vec![ban("192.0.2.7/32", Some(60)), ban("2001:db8::/48", None), ban("198.51.100.0/24", Some(5))];
    rules.set(&memory, wanted, now).unwrap();
    rules.save().unwrap();
    // Another kernel, ten seconds later.
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, now + Duration::from_secs(10));
    assert_eq!(prefixes(&rules, &memory), ["192.0.2.7/32", "2001:db8::/48"]);
    // That one has ended is told once.
    let ended: Vec<String> = rules.take_ended().iter().map(|rule| rule.prefix.to_string()).collect();
    assert_eq!(ended, ["198.51.100.0/24"]);
    rules.save().unwrap();
    assert!(Rules::restore(state.path(), &memory, now + Duration::from_secs(11)).take_ended().is_empty());
    assert!(in_force(&memory, "192.0.2.7/32") && in_force(&memory, "2001:db8::/48"));
    assert!(!in_force(&memory, "198.51.100.0/24"));
    let left = kernel::get(&memory, "192.0.2.7/32".parse().unwrap()).unwrap().unwrap().lasts.unwrap();
    assert!((49..=51).contains(&left.as_secs()), "{left:?}");
}

#[test]
fn file_and_kernel_become_one() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, now);
    rules.set(&memory, vec![ban("192.0.2.7/32", None), ban("192.0.2.8/32", Some(60))], now).unwrap();
    rules.save().unwrap();
    kernel::lift(&memory, "192.0.2.7/32".parse().unwrap()).unwrap();
    let stranger = "2001:db8::1/128".parse().unwrap();
    let order = rules.get("192.0.2.8/32".parse().unwrap()).unwrap().order(None);
    kernel::set(&memory, stranger, order).unwrap();
    let rules = Rules::restore(state.path(), &memory, now);
    assert_eq!(prefixes(&rules, &memory), ["192.0.2.7/32", "192.0.2.8/32"]);
    assert!(in_force(&memory, "192.0.2.7/32") && !in_force(&memory, "2001:db8::1/128"));
    assert_eq!(kernel::count(&memory), 2);
}

#[test]
fn a_broken_file_is_kept_and_so_is_what_the_kernel_has() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, now);
    rules.set(&memory, vec![ban("192.0.2.7/32", None), ban("2001:db8::/48", None)], now).unwrap();
    rules.save().unwrap();
    for broken in ["{\"version\":1,\"rules\":[{", "{\"version\":9,\"rules\":[]}", ""] {
        fs::write(file::path(state.path()), broken).unwrap();
        let mut rules = Rules::restore(state.path(), &memory, now);
        assert_eq!(kernel::count(&memory), 2, "{broken}");
        // Also beyond a change, and the next start.
        rules.set(&memory, vec![ban("203.0.113.0/24", None)], now).unwrap();
        assert!(rules.lift(&memory, "203.0.113.0/24".parse().unwrap()).unwrap());
        rules.save().unwrap();
        drop(Rules::restore(state.path(), &memory, now));
        assert!(in_force(&memory, "192.0.2.7/32") && in_force(&memory, "2001:db8::/48"), "{broken}");
        let aside = fs::read_dir(state.path()).unwrap().flatten().map(|entry| entry.path());
        let aside: Vec<_> = aside.filter(|path| path.to_string_lossy().contains("broken")).collect();
        assert_eq!(fs::read_to_string(&aside[0]).unwrap(), broken);
        for path in aside {
            fs::remove_file(path).unwrap();
        }
    }
    // A stranger can be lifted by its name, and once all are gone they are no longer waited for.
    let mut rules = Rules::restore(state.path(), &memory, now);
    assert!(rules.need_care());
    for prefix in ["192.0.2.7/32", "2001:db8::/48"] {
        assert!(rules.lift(&memory, prefix.parse().unwrap()).unwrap());
    }
    rules.forget(&memory, now);
    rules.save().unwrap();
    assert!(!rules.need_care());
}

#[test]
fn all_or_none() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, now);
    rules.set(&memory, vec![ban("192.0.2.7/32", Some(60))], now).unwrap();
    // One prefix length more than fit, and a change of what is there already.
    let wanted: Vec<Wanted> = std::iter::once(Wanted { shadow: true, ..ban("192.0.2.7/32", None) })
        .chain((16..24).map(|length| ban(&format!("10.0.0.0/{length}"), None)))
        .collect();
    let before = prefixes(&rules, &memory);
    assert_eq!(rules.set(&memory, wanted.clone(), now), Err(RuleError::Lengths));
    assert_eq!(prefixes(&rules, &memory), before);
    assert_eq!(kernel::count(&memory), 1);
    let order = kernel::get(&memory, "192.0.2.7/32".parse().unwrap()).unwrap().unwrap();
    assert!(!order.shadow && order.lasts.is_some());
    // What has ended is in nobody's way.
    assert!(rules.set(&memory, wanted, now + Duration::from_secs(60 + 2)).is_err(), "that is in force");
    let later = now + Duration::from_secs(62);
    rules.set(&memory, (16..24).map(|l| ban(&format!("10.0.0.0/{l}"), Some(600))).collect(), later).unwrap();
    assert_eq!(kernel::count(&memory), 8);
}

#[test]
fn forgotten_when_over() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, now);
    rules.set(&memory, vec![ban("192.0.2.7/32", Some(60)), ban("192.0.2.8/32", None)], now).unwrap();
    assert_eq!(rules.forget(&memory, now + Duration::from_secs(59)), 0);
    assert_eq!(rules.forget(&memory, now + Duration::from_secs(62)), 1);
    assert_eq!(kernel::count(&memory), 1);
    assert_eq!(prefixes(&rules, &memory), ["192.0.2.8/32"]);
}

#[test]
fn mapped_prefixes_are_those_of_ipv4() {
    let state = tempfile::tempdir().unwrap();
    let memory = heap();
    let mut rules = Rules::restore(state.path(), &memory, SystemTime::now());
    rules.set(&memory, vec![ban("::ffff:192.0.2.0/120", None)], SystemTime::now()).unwrap();
    assert_eq!(prefixes(&rules, &memory), ["192.0.2.0/24"]);
    assert!(rules.lift(&memory, "192.0.2.0/24".parse().unwrap()).unwrap());
}
