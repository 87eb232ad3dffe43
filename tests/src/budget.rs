//! What the kernel program may cost: raised on purpose only. The tests refuse more, the benchmark
//! prints it.

/// Instructions that the verifier may walk through; it gives up at a million.
pub const VERIFIED_MAX: u32 = 300_000;
/// Instructions of the program itself, in bytes.
pub const TRANSLATED_MAX: u32 = 70_000;
/// Stack in bytes; the verifier allows 512.
pub const STACK_MAX: u32 = 384;
