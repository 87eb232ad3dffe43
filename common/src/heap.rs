//! The maps as plain memory, for tests and for judging without a kernel.

use std::{
    fmt, iter,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    vec::Vec,
};

use crate::{
    ABI_VERSION,
    control::{Global, Seed},
    gcra::Clock,
    line::{Line, Memory, Word},
    map::{Map, Sizes},
};

/// All maps of the given sizes on the heap, and a clock that stands still until it is set.
pub struct Heap {
    maps: Vec<Vec<Line>>,
    now: AtomicU64,
    tick: AtomicU64,
    sequence: AtomicU64,
}

/// Length of a tick in µs, as with 250 ticks a second.
const TICK: u64 = 4000;

impl Heap {
    /// Returns empty maps.
    #[must_use]
    pub fn new(sizes: Sizes) -> Self {
        let lines = |map: Map| iter::repeat_with(Line::default).take(map.lines(sizes) as usize).collect();
        Self {
            maps: Map::ALL.into_iter().map(lines).collect(),
            now: AtomicU64::new(0),
            tick: AtomicU64::new(1),
            sequence: AtomicU64::new(0),
        }
    }

    /// Returns maps with the settings of a host at time `now` in µs, and no policy.
    #[must_use]
    pub fn started(sizes: Sizes, now: u64) -> Self {
        let heap = Self::new(sizes);
        heap.set_clock(now, TICK);
        let global = Global {
            abi: ABI_VERSION,
            tick: TICK << 16,
            clock_offset: 0,
            limiter_bits: sizes.limiter_bits,
            seed: Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211),
            events_per_second: 100,
        };
        if let Some(line) = heap.line(Map::Control, 0) {
            global.store(line);
        }
        heap
    }

    /// Sets the time in µs, and the length of a tick in µs that the coarse clock is rounded down to.
    pub fn set_clock(&self, now: u64, tick: u64) {
        self.now.store(now, Relaxed);
        self.tick.store(tick.max(1), Relaxed);
    }
}

impl Heap {
    /// Sets every line of `map` to `words`.
    pub fn fill(&self, map: Map, words: [u64; 8]) {
        for line in self.maps.get(map as usize).into_iter().flatten() {
            line.store(words);
        }
    }
}

impl Memory for Heap {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        self.maps.get(map as usize)?.get(index as usize)
    }

    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        word.compare_exchange(current, new)
    }
}

impl Clock for Heap {
    fn coarse(&self) -> u64 {
        let tick = self.tick.load(Relaxed);
        self.precise() / tick * tick
    }

    fn precise(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// By multiples of the golden ratio, like the kernel program.
    fn dither(&self) -> u32 {
        let sequence = self.sequence.fetch_add(1, Relaxed) + 1;
        (sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").field("now", &self.now).field("tick", &self.tick).finish_non_exhaustive()
    }
}
