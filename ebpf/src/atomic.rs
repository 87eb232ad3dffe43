//! Compare-and-swap. `core::sync::atomic` has no read-modify-write on the BPF target, the compiler
//! intrinsics do. Sequentially consistent throughout: LLVM 22 turns a relaxed one whose result is
//! used into a non-fetching instruction (llvm#210280).

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use weir_common::line::Word;

/// Replaces `current` by `new` in `word` if it still holds `current`; returns what it held.
#[inline(always)]
pub(crate) fn compare_exchange(word: &Word, current: u64, new: u64) -> u64 {
    // SAFETY: the word is valid and aligned, and is never accessed but volatile or atomically.
    let (held, _) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            word.as_ptr(),
            current,
            new,
        )
    };
    held
}
