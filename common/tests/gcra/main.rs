//! The limiter against an obvious one: exact times in floating point, one per source, no ticks, no
//! lines, nothing ever forgotten.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses are cut from random numbers, times are whole µs"
)]
#![expect(clippy::cast_precision_loss, reason = "packets and µs of a test are far below 2^52")]
#![expect(clippy::cast_sign_loss, reason = "times are positive")]

mod look;
mod many;
mod oracle;
mod race;
#[path = "../support/random.rs"]
mod random;
mod single;
mod time;

use std::cell::Cell;

use weir_common::{
    addr::Address,
    control::{Global, Seed},
    gcra::{self, Bounds, Charge, Clock, Key, Profile},
    heap::Heap,
    limit::Scope,
    line::{Line, Memory, Word},
    map::{Map, Sizes},
};

/// Settings for the smallest limiter and a tick of `tick` µs.
fn global(tick: u64) -> Global {
    Global {
        abi: weir_common::ABI_VERSION,
        tick: tick << 16,
        clock_offset: 0,
        limiter_bits: Sizes::LIMITER_BITS_MIN,
        seed: Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211),
        events_per_second: 0,
    }
}

/// A [`Heap`] that tells which limiter line was asked for last.
struct Spy {
    heap: Heap,
    line: Cell<u32>,
}

impl Memory for Spy {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        if map == Map::Limiter {
            self.line.set(index);
        }
        self.heap.line(map, index)
    }

    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        self.heap.compare_exchange(word, current, new)
    }
}

/// A limiter with its clock, as one limit of one CPU sees it.
struct Limiter {
    memory: Spy,
    global: Global,
    profile: Profile,
    /// The longest tolerance of the limit.
    longest: u64,
    tick: u64,
}

impl Limiter {
    fn new(rate: f64, burst: u64, tick: u64) -> Self {
        let heap = Heap::new(Sizes { v4_bits: 0, v6_bits: 0, limiter_bits: Sizes::LIMITER_BITS_MIN });
        let profile = Profile::new(rate, burst).unwrap();
        Self {
            memory: Spy { heap, line: Cell::new(0) },
            global: global(tick),
            profile,
            longest: profile.tolerance,
            tick,
        }
    }

    fn key(&self, source: Address) -> Key {
        Key::new(&self.global, source, 1, Scope::SOURCE)
    }

    fn offer(&mut self, source: Address, now: u64) -> Charge {
        let cost = self.profile.cost(1);
        self.memory.heap.set_clock(now, self.tick);
        let bounds = Bounds { longest: self.longest, ..Bounds::of(self.profile) };
        let place = self.key(source).place(&self.memory);
        gcra::charge(&self.memory, &self.memory.heap, &self.global, place, cost, bounds)
    }

    fn admits(&mut self, source: Address, now: u64) -> bool {
        self.offer(source, now) == Charge::Admitted
    }

    /// Returns how many of `offered` packets at the same time are admitted.
    fn admitted_at_once(&mut self, source: Address, now: u64, offered: u32) -> u32 {
        (0..offered).map(|_| u32::from(self.admits(source, now))).sum()
    }

    /// Returns how far each word of the limiter line asked for last is ahead of the coarse clock:
    /// what `is_free` of the limiter goes by, told anew.
    fn debts_of_last_line(&self) -> [u64; 8] {
        let line = self.memory.heap.line(Map::Limiter, self.memory.line.get()).unwrap();
        let now = self.memory.heap.coarse();
        line.load().map(|word| {
            let ahead = (word.wrapping_sub(now)) & ((1 << 40) - 1);
            if word == 0 || ahead > gcra::DEBT_MAX { 0 } else { ahead }
        })
    }
}

#[test]
fn profiles_that_cannot_be_are_refused() {
    for (rate, burst, word) in [
        (0.0, 1, "above 0"),
        (-1.0, 1, "above 0"),
        (f64::NAN, 1, "above 0"),
        (f64::NEG_INFINITY, 1, "above 0"),
        (f64::INFINITY, 1, "2^40"),
        (1.1e12, 1, "2^40"),
        (1.0, 0, "at least 1"),
        (1.0, 3601, "an hour"),
        (1.0 / 3601.0, 1, "an hour"),
        (f64::MIN_POSITIVE, 1, "an hour"),
        (1e6, u64::MAX, "an hour"),
    ] {
        let error = Profile::new(rate, burst).unwrap_err();
        assert!(error.contains(word), "{rate}/s, burst {burst}: {error}");
    }
    for (rate, burst) in [(1.0, 1), (1.0, 3600), (1.0 / 3600.0, 1), (1e7, 36_000_000_000), (1e12, 1)] {
        let profile = Profile::new(rate, burst).unwrap();
        assert!(profile.increment > 0 && profile.tolerance < gcra::DEBT_MAX, "{profile:?}");
        // What a burst may cost fits, so a source that has never sent is admitted.
        assert!(profile.cost(1).ceiling <= profile.tolerance, "{profile:?}");
    }
}
