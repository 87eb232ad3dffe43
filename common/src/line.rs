//! Shared memory: 64-byte lines of eight 64-bit words.
//!
//! Every map that kernel and agent both touch is an array of lines. A line is one cache line on
//! the machines we run on, and BPF pads smaller values to eight bytes anyway, so a dense table has
//! to index inside its values. The other side may write a word at any time, hence the volatile
//! access; an aligned 64-bit load or store is single-copy atomic on every 64-bit target of BPF.

use core::{cell::UnsafeCell, fmt};

/// A 64-bit cell that another CPU or the agent may write at any time.
#[repr(transparent)]
pub struct Word(UnsafeCell<u64>);

// SAFETY: all access goes through volatile, aligned, single-copy atomic loads and stores below, or
// through the compare-and-swap of `Memory`.
unsafe impl Sync for Word {}

impl Word {
    /// Returns a word that holds `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reads the word once. Not an atomic type: relaxed atomic loads do not select for BPF below
    /// cpu v4.
    #[inline(always)]
    #[must_use]
    pub fn load(&self) -> u64 {
        // SAFETY: the cell is valid and aligned for as long as `self` lives.
        unsafe { self.0.get().read_volatile() }
    }

    /// Writes the word once.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: as in `load`; `Word` is `Sync` by the same argument.
        unsafe { self.0.get().write_volatile(value) }
    }

    /// Replaces `current` by `new` if the word still holds `current`; returns what it held.
    /// The kernel program has its own, in `ebpf/src/atomic.rs`.
    #[cfg(not(target_arch = "bpf"))]
    pub fn compare_exchange(&self, current: u64, new: u64) -> u64 {
        use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
        // SAFETY: valid and aligned as in `load`, and all other access is volatile or atomic.
        let atomic = unsafe { AtomicU64::from_ptr(self.0.get()) };
        atomic.compare_exchange(current, new, SeqCst, SeqCst).unwrap_or_else(|held| held)
    }

    /// Returns the address of the word, for atomic instructions.
    #[inline(always)]
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u64 {
        self.0.get()
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.load())
    }
}

/// Words in a line.
pub const WORDS: usize = 8;

/// A cache line of eight words.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Line([Word; WORDS]);

impl Default for Line {
    fn default() -> Self {
        Self([const { Word::new(0) }; WORDS])
    }
}

impl Line {
    /// Returns word `index % 8`. Masked instead of checked: the BPF verifier follows a mask, and
    /// kernel code has no panic.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self, index: u32) -> &Word {
        &self.0[index as usize & (WORDS - 1)]
    }

    /// Reads all words, in order, each once.
    #[inline(always)]
    #[must_use]
    pub fn load(&self) -> [u64; WORDS] {
        [
            self.0[0].load(),
            self.0[1].load(),
            self.0[2].load(),
            self.0[3].load(),
            self.0[4].load(),
            self.0[5].load(),
            self.0[6].load(),
            self.0[7].load(),
        ]
    }

    /// Writes all words, in order.
    pub fn store(&self, words: [u64; WORDS]) {
        for (word, value) in self.0.iter().zip(words) {
            word.store(value);
        }
    }

    /// Returns byte `index % 64`, counted from the lowest byte of word 0.
    #[inline(always)]
    #[must_use]
    pub fn byte(&self, index: u32) -> u8 {
        (self.word(index >> 3).load() >> ((index & 7) * 8) & 0xff) as u8
    }

    /// Sets byte `index % 64`.
    pub fn set_byte(&self, index: u32, value: u8) {
        let (word, shift) = (self.word(index >> 3), (index & 7) * 8);
        word.store(word.load() & !(0xff << shift) | u64::from(value) << shift);
    }

    /// Returns 16-bit field `index % 32`, counted from the lowest bits of word 0.
    #[inline(always)]
    #[must_use]
    pub fn half(&self, index: u32) -> u16 {
        (self.word(index >> 2).load() >> ((index & 3) * 16) & 0xffff) as u16
    }

    /// Sets 16-bit field `index % 32`.
    pub fn set_half(&self, index: u32, value: u16) {
        let (word, shift) = (self.word(index >> 2), (index & 3) * 16);
        word.store(word.load() & !(0xffff << shift) | u64::from(value) << shift);
    }
}

/// The maps as one address space of lines. The kernel program, the agent (over mmap) and the tests
/// (over plain memory) each implement it once.
pub trait Memory {
    /// Returns line `index` of `map`, or nothing where the map is shorter.
    fn line(&self, map: crate::map::Map, index: u32) -> Option<&Line>;

    /// Replaces `current` by `new` in `word` if it still holds `current`; returns what it held.
    /// Sequentially consistent.
    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64;

    /// Returns the line of settings that are the same for all generations. In the kernel it has been
    /// looked up once a packet.
    fn settings(&self) -> Option<&Line> {
        self.line(crate::map::Map::Control, 0)
    }

    /// Returns `value`. In the kernel the verifier forgets what it knew of it, so that paths that
    /// differ in nothing else become one.
    fn opaque(&self, value: u32) -> u32 {
        value
    }

    /// Returns `value`, which from here on is read back from memory. In the kernel that is a map value,
    /// of which the verifier knows nothing: see [`opaque`](Self::opaque).
    fn again<'v, T>(&self, value: &'v mut T) -> &'v mut T {
        value
    }

    /// Returns all ones if `value`, which is below 2^63, is 0; else 0. In the kernel this is two
    /// instructions that the compiler cannot turn into a branch: a line compared with sixteen
    /// branches would be as many paths for the verifier.
    fn mask_if_zero(&self, value: u64) -> u64 {
        if value == 0 { u64::MAX } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_disturb_their_neighbours() {
        let line = Line::default();
        for i in 0..64 {
            line.set_byte(i, (i + 1) as u8);
        }
        for i in 0..64 {
            assert_eq!(line.byte(i), (i + 1) as u8);
        }
        let line = Line::default();
        for i in 0..32 {
            line.set_half(i, (i * 1000 + 7) as u16);
        }
        for i in 0..32 {
            assert_eq!(line.half(i), (i * 1000 + 7) as u16);
        }
    }
}
