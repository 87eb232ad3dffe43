//! The contract between weir's kernel program and its agent, and all decision arithmetic.
//!
//! Everything here is pure: no I/O, no clock, no allocation. The kernel program and the agent run
//! these very functions over the same memory, so what `weir explain` says is what the kernel does.
//! Modules are listed in the order in which a packet meets them.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![expect(clippy::cast_possible_truncation, reason = "bit fields: every cast names the width that is meant")]
#![expect(
    clippy::inline_always,
    reason = "the kernel program is one function; a call costs the verifier a frame"
)]

/// Addresses and prefixes as numbers.
pub mod addr;
/// From a frame to the few facts that a verdict needs.
pub mod packet;
/// Shared memory: 64-byte lines of eight 64-bit words.
pub mod line;
/// Every map: name, size, purpose.
pub mod map;
/// Settings that the agent writes and the kernel reads once a packet.
pub mod control;
/// Keyed permutations and hashes, so that nobody outside can aim at a line.
pub mod keyed;
/// What the reputation table says of an address.
pub mod class;
/// The reputation table: one lookup per packet.
pub mod table;
/// Bans and manual rules: what must act at once, each with its end.
pub mod overlay;
/// Declared services and the limits that stand on them.
pub mod limit;
/// The limiter: GCRA in cache lines.
pub mod gcra;
/// Verdicts and their reasons.
pub mod verdict;
/// What is counted, and where.
pub mod counter;
/// What the ring buffer carries.
pub mod event;
/// The maps as plain memory, for tests and for judging without a kernel.
#[cfg(any(test, feature = "std"))]
pub mod heap;
/// Sizes and alignments that both sides rely on.
mod layout;

/// Version of everything that kernel and agent share: map names, layouts, reasons, classes.
///
/// Raise it with any change to them. Pins live under `/sys/fs/bpf/weir/v<ABI_VERSION>/`, so two
/// versions never meet in one map.
pub const ABI_VERSION: u32 = 2;
