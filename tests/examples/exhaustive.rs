//! Every IPv4 address against an oracle: `cargo xtask exhaustive`.
//!
//! Lists of every prefix length, nested and overlapping, go through the agent's own merge and
//! compile; then all 2^32 addresses are looked up as the kernel does. The oracle paints intervals
//! and knows nothing of prefixes, lines or slots. With changes, other lists are in force before, and
//! those that are looked up come from them in as many steps.
#![expect(clippy::expect_used, reason = "a check that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "tells how far it is")]
#![expect(clippy::cast_possible_truncation, reason = "addresses are cut from random numbers")]

#[path = "../../common/tests/support/random.rs"]
mod random;

use std::{path::Path, sync::Arc, thread, time::Instant};

use random::Random;
use weir::{
    config::Config,
    feed::{Entries, format::plain},
    policy::{
        List, Origin, Policy,
        classes::{ClassSpec, Classes},
        compile::{self, Demand},
        generations::{Generations, InForce, Next, Way},
        limits::LimitNumbers,
        merge,
    },
};
use weir_common::{
    class::{Action, ClassId, NONE},
    control::{self, Seed},
    heap::Heap,
    line::Memory as _,
    map::{Map, Sizes},
    table::v4,
};

/// Prefixes that are others in each list and step, at most.
const CHANGED: u64 = 300;
/// A real list, beside the made ones.
const IPSUM: &str = include_str!("../../config/demo/ipsum-level3.txt");

fn main() {
    let argument =
        |n, otherwise| std::env::args().nth(n).map_or(otherwise, |text| text.parse().expect("a number"));
    let (seed, changes) = (argument(1, 1), argument(2, 0));
    let mut random = Random(seed);
    let lists = lists(&mut random);
    let (heap, classes, entries) = compiled(&steps(&mut random, &lists, changes), seed);
    let segments = paint(&lists, &classes);
    println!(
        "seed {seed}: {entries} table entries after {changes} changes, {} classes, {} segments",
        classes.specs().len(),
        segments.len()
    );
    let started = Instant::now();
    let halves = [0..segments.len() / 2, segments.len() / 2..segments.len()];
    let listed: u64 = thread::scope(|scope| {
        let (heap, segments) = (&heap, &segments);
        let threads = halves.map(|half| scope.spawn(move || check(heap, &segments[half])));
        threads.map(|thread| thread.join().expect("no wrong class")).iter().sum()
    });
    println!(
        "4294967296 addresses looked up in {:.0} s, {listed} of them listed, 0 wrong",
        started.elapsed().as_secs_f64()
    );
}

/// A run of addresses, ends included, and the class that all of them must have.
struct Segment {
    first: u32,
    last: u32,
    class: ClassId,
}

fn check(heap: &Heap, segments: &[Segment]) -> u64 {
    let generation = control::generation(heap);
    let policy = control::Policy::load(heap, generation).expect("a policy");
    let mut listed = 0;
    for segment in segments {
        for address in segment.first..=segment.last {
            let class = v4::lookup(heap, generation, &policy, address);
            assert_eq!(class, segment.class, "{}", std::net::Ipv4Addr::from(address));
        }
        if segment.class != NONE {
            listed += u64::from(segment.last - segment.first) + 1;
        }
    }
    listed
}

fn lists(random: &mut Random) -> Vec<List> {
    let mut made = |count: u64, lengths: &[u8]| {
        let entries = (0..count)
            .map(|_| {
                let length = lengths[random.below(lengths.len() as u64) as usize];
                (weir_common::addr::network_v4(random.next() as u32, length.into()), length)
            })
            .collect();
        Arc::new(Entries { v4: entries, v6: Vec::new() })
    };
    let list = |name: &str, action, shadow, entries| List {
        origin: Origin::Feed(name.to_owned()),
        action,
        shadow,
        profile: 0,
        votes: Arc::default(),
        entries,
    };
    let hosts_and_networks = [32, 32, 32, 32, 32, 32, 24, 24, 24, 20];
    vec![
        list("allow", Action::Allow, false, made(5_000, &[20, 22, 24, 28, 32])),
        list("bad", Action::Drop, false, made(1 << 20, &hosts_and_networks)),
        list("wide", Action::Drop, false, made(60, &[8, 9, 12, 15, 16, 17, 18, 19])),
        list("narrow", Action::Drop, true, made(100_000, &[21, 22, 23, 25, 26, 27, 28, 29, 30, 31])),
        list("watch", Action::Observe, false, made(50_000, &[19, 23, 24, 29, 32])),
        list("ipsum", Action::Drop, false, Arc::new(plain::parse(IPSUM.as_bytes()).entries)),
    ]
}

/// Returns the lists that lead to these. Of both generations something has to be known before a change
/// is written as one.
fn steps(random: &mut Random, lists: &[List], changes: u64) -> Vec<Vec<List>> {
    let mut steps = vec![lists.to_vec()];
    for _ in 0..if changes == 0 { 0 } else { changes + 1 } {
        let mut before = steps.last().expect("lists").clone();
        for list in &mut before {
            let entries = &mut Arc::make_mut(&mut list.entries).v4;
            for _ in 0..CHANGED.min(entries.len() as u64 / 20) {
                let (from, to) = (random.below(entries.len() as u64), random.below(entries.len() as u64));
                let (network, length) = entries[from as usize];
                let moved = network ^ (random.next() as u32 & 0x0003_0f07);
                // A third goes, a third comes, and a third is another.
                match random.below(3) {
                    0 => _ = entries.swap_remove(to as usize),
                    1 => entries
                        .insert(to as usize, (weir_common::addr::network_v4(moved, length.into()), length)),
                    _ => entries[to as usize] = (weir_common::addr::network_v4(moved, length.into()), length),
                }
            }
        }
        steps.push(before);
    }
    steps.reverse();
    steps
}

/// Puts lists in force, one after the other; all but the first two as a change.
fn compiled(steps: &[Vec<List>], seed: u64) -> (Heap, Classes, u64) {
    let config =
        Config::parse(Path::new("none"), "interfaces: [{name: eth0}]").expect("a valid configuration");
    let policy = Policy::new(&config, &[], &[], &mut LimitNumbers::default());
    let mut classes = Classes::default();
    let last = steps.last().expect("lists");
    let merged = merge::merge(last, &mut Classes::default()).expect("few lists");
    let entries = Demand::of(&merged).v4;
    let sizes = Sizes { v4_bits: compile::v4_bits(entries), ..Sizes::MIN };
    let heap = Heap::new(sizes);
    let mut generations = Generations::default();
    let mut before: Option<InForce> = None;
    for (step, lists) in (0u64..).zip(steps) {
        let (merged, delta) = InForce::merge(before.as_ref(), lists, &mut classes).expect("few lists");
        let next = Next { policy: &policy, merged: &merged, classes: &classes, delta: delta.as_ref() };
        let (generation, secret) = (1 - control::generation(&heap), Seed(seed ^ step, !seed));
        let way = generations.write(&heap, generation, sizes, secret, &next).expect("it fits");
        assert_eq!(way == Way::Change, step > 1, "step {step}");
        let line = heap.line(Map::Control, 0).expect("a control line");
        control::publish(line, generation);
        generations.published(control::publications(line), next.delta);
        before = Some(InForce { publication: control::publications(line), lists: lists.clone(), merged });
    }
    (heap, classes, entries)
}

/// Cuts the address space wherever a list begins or ends.
fn paint(lists: &[List], classes: &Classes) -> Vec<Segment> {
    // (address, list, +1 or -1), one past the end as 64 bits.
    let mut cuts: Vec<(u64, usize, i32)> = Vec::new();
    for (index, list) in lists.iter().enumerate() {
        for &(network, length) in &list.entries.v4 {
            let first = u64::from(network);
            cuts.push((first, index, 1));
            cuts.push((first + (1 << (32 - length)), index, -1));
        }
    }
    cuts.sort_unstable();
    let mut depth = vec![0; lists.len()];
    let mut segments = Vec::new();
    let mut first = 0;
    let mut rest = cuts.as_slice();
    while first < 1 << 32 {
        while let Some(&(at, index, change)) = rest.first().filter(|cut| cut.0 == first) {
            depth[index] += change;
            rest = &rest[1..];
            debug_assert!(at == first);
        }
        let next = rest.first().map_or(1 << 32, |cut| cut.0);
        let naming: Vec<&List> = lists.iter().zip(&depth).filter(|(_, d)| **d > 0).map(|(l, _)| l).collect();
        let class = if naming.is_empty() { NONE } else { number(classes, &ClassSpec::of(&naming)) };
        segments.push(Segment { first: first as u32, last: (next - 1) as u32, class });
        first = next;
    }
    segments
}

fn number(classes: &Classes, wanted: &ClassSpec) -> ClassId {
    classes.iter().find(|(_, spec)| *spec == wanted).map(|(id, _)| id).expect("a class for every overlap")
}
