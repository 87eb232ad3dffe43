//! Several CPUs in one line.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use weir_common::{
    addr::Address,
    gcra::{self, Bounds, Charge, Clock, Key, Profile},
    limit::Scope,
    line::{Line, Memory, Word},
    map::{Map, Sizes, VALVE_LINES},
};

use crate::{Limiter, Spy, global};

/// Memory and clock that threads share. The clock runs by what is asked of it, so that the outcome
/// does not depend on how the threads are scheduled: each packet takes 50 ns.
struct Shared {
    limiter: Vec<Line>,
    valve: Vec<Line>,
    time: AtomicU64,
}

impl Memory for Shared {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        let lines = if map == Map::Limiter { &self.limiter } else { &self.valve };
        lines.get(index as usize)
    }

    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        word.compare_exchange(current, new)
    }
}

const TICK: u64 = 1000;

impl Clock for Shared {
    fn coarse(&self) -> u64 {
        self.precise() / TICK * TICK
    }

    fn precise(&self) -> u64 {
        self.time.load(Relaxed) / 20
    }

    fn dither(&self) -> u32 {
        (self.time.load(Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32
    }
}

#[test]
fn two_threads_share_one_limit() {
    const PACKETS: u64 = 4_000_000;
    for (rate, burst) in [(1e3, 10), (1e5, 100), (1e6, 1000)] {
        let lines = |count: u32| (0..count).map(|_| Line::default()).collect();
        let shared = Shared {
            limiter: lines(1 << Sizes::LIMITER_BITS_MIN),
            valve: lines(VALVE_LINES),
            time: AtomicU64::new(77_000_000),
        };
        let start = shared.precise();
        let global = global(TICK);
        let profile = Profile::new(rate, burst).unwrap();
        let hammer = |first: u64| {
            let mut admitted = 0u64;
            for _ in first..first + PACKETS {
                shared.time.fetch_add(1, Relaxed);
                let key = Key::new(&global, Address::V4(1), 1, Scope::SOURCE);
                let (cost, bounds) = (profile.cost(1), Bounds::of(profile));
                let charge = gcra::charge(&shared, &shared, &global, key.place(&shared), cost, bounds);
                admitted += u64::from(charge == Charge::Admitted);
            }
            admitted
        };
        let admitted = thread::scope(|scope| {
            let threads = [0, PACKETS].map(|first| scope.spawn(move || hammer(first)));
            threads.map(|thread| thread.join().unwrap()).iter().sum::<u64>()
        });
        let elapsed = (shared.precise() - start) as f64 / 1e6;
        let limit = burst as f64 + rate * elapsed;
        let bound = limit + rate * (TICK as f64 + 10.0) / 1e6 + 1.0;
        println!("{rate}/s: {admitted} admitted in {elapsed} s, limit {limit}");
        assert!(admitted as f64 <= bound, "{rate}/s: {admitted} admitted, at most {bound}");
        assert!(admitted as f64 >= 0.99 * limit, "{rate}/s: {admitted} admitted of {limit}");
    }
}

/// What another CPU does between two steps of ours.
type Interference<'m> = Box<dyn FnOnce() + 'm>;

/// Memory in which another CPU comes in between, once: after a line was read and before a word of
/// it is swapped.
struct Interrupted<'m> {
    spy: &'m Spy,
    other: RefCell<Option<Interference<'m>>>,
}

impl Memory for Interrupted<'_> {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        self.spy.line(map, index)
    }

    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        self.spy.compare_exchange(word, current, new)
    }

    fn opaque(&self, value: u32) -> u32 {
        if let Some(interfere) = self.other.take() {
            interfere();
        }
        value
    }
}

/// Two new sources find the same word free at the same time: both get a bucket, neither overwrites
/// the other's debt.
#[test]
fn a_word_taken_meanwhile_is_left_alone() {
    let mut limiter = Limiter::new(1.0, 1, 1);
    let now = 1_000_000;
    let first = Address::V4(0);
    assert!(limiter.admits(first, now));
    let shared_line = limiter.memory.line.get();
    let second = (1..u32::MAX)
        .map(Address::V4)
        .find(|source| {
            limiter.admits(*source, now);
            limiter.memory.line.get() == shared_line
        })
        .unwrap();
    limiter.memory.heap.line(Map::Limiter, shared_line).unwrap().store([0; 8]);

    let (spy, global, profile) = (&limiter.memory, &limiter.global, limiter.profile);
    let (cost, bounds) = (profile.cost(1), Bounds::of(profile));
    let other = move || {
        let key = Key::new(global, second, 1, Scope::SOURCE);
        let charge = gcra::charge(spy, &spy.heap, global, key.place(spy), cost, bounds);
        assert_eq!(charge, Charge::Admitted);
    };
    let memory = Interrupted { spy, other: RefCell::new(Some(Box::new(other))) };
    let key = Key::new(global, first, 1, Scope::SOURCE);
    let charge = gcra::charge(&memory, &spy.heap, global, key.place(&memory), cost, bounds);
    assert_eq!(charge, Charge::Admitted);
    assert!(memory.other.borrow().is_none(), "the other came in between");
    for source in [first, second] {
        let owed = gcra::owed(spy, Key::new(global, source, 1, Scope::SOURCE), now);
        assert!((900_000..1_100_000).contains(&owed), "{source:?} owes {owed}");
    }
}
