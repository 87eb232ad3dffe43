use weir_common::{
    gcra::Clock,
    line::{Line, Memory, Word},
    map::Map,
};

use super::clock;

/// The kernel's memory and time, for the kernel's own functions to judge by. What they would write is
/// not written, so asking costs a source nothing.
#[derive(Debug)]
pub struct Onlooker<'m, M> {
    memory: &'m M,
    /// The time on the clock of the limiter, in µs.
    pub now: u64,
}

impl<'m, M: Memory> Onlooker<'m, M> {
    /// Returns the memory as it is now.
    #[must_use]
    pub fn new(memory: &'m M) -> Self {
        Self { memory, now: clock::now_us(memory) }
    }
}

impl<M: Memory> Memory for Onlooker<'_, M> {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        self.memory.line(map, index)
    }

    /// As if it were written.
    fn compare_exchange(&self, _word: &Word, current: u64, _new: u64) -> u64 {
        current
    }
}

impl<M: Memory> Clock for Onlooker<'_, M> {
    fn coarse(&self) -> u64 {
        self.now
    }

    fn precise(&self) -> u64 {
        self.now
    }

    fn dither(&self) -> u32 {
        0
    }
}
