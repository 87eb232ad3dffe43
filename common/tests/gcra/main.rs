//! The limiter against an obvious one: exact times in floating point, one per source, no ticks, no
//! lines, nothing ever forgotten.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::cast_possible_truncation, reason = "addresses are cut from random numbers, times are whole µs")]
#![expect(clippy::cast_precision_loss, reason = "packets and µs of a test are far below 2^52")]
#![expect(clippy::cast_sign_loss, reason = "times are positive")]

mod oracle;
#[path = "../support/random.rs"]
mod random;
mod single;

use weir_common::{
    addr::Address,
    control::{Global, Seed},
    gcra::{self, Charge, Key, Profile},
    heap::Heap,
    map::Sizes,
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

fn heap() -> Heap {
    Heap::new(Sizes { v4_bits: 0, v6_bits: 0, limiter_bits: Sizes::LIMITER_BITS_MIN })
}

/// A limiter with its clock, as one limit of one CPU sees it.
struct Limiter {
    heap: Heap,
    global: Global,
    profile: Profile,
    tick: u64,
    sequence: u64,
}

impl Limiter {
    fn new(profile: Profile, tick: u64) -> Self {
        Self { heap: heap(), global: global(tick), profile, tick, sequence: 0 }
    }

    /// Rounds like the kernel program: multiples of the golden ratio.
    fn dither(&mut self) -> u32 {
        self.sequence += 1;
        (self.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32
    }

    fn key(&self, source: Address) -> Key {
        Key::new(&self.global, source, 1, 64)
    }

    fn offer(&mut self, source: Address, now: u64) -> Charge {
        let cost = self.profile.cost(1, self.dither());
        self.heap.set_clock(now, self.tick);
        let key = self.key(source);
        gcra::charge(&self.heap, &self.heap, &self.global, key, cost, self.profile.tolerance)
    }

    fn admits(&mut self, source: Address, now: u64) -> bool {
        self.offer(source, now) == Charge::Admitted
    }
}
