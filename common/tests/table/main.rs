//! The reputation table against a naive longest-prefix match: the same entries in a hash map per
//! prefix length.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses and classes are cut from wider random numbers"
)]

mod edit;
mod large;
mod oracle;
#[path = "../support/random.rs"]
mod random;
mod v4;
mod v6;

use weir_common::{addr::Address, class::ClassId, control::Policy, heap::Heap, map::Sizes, table};

/// Maps with the smallest IPv4 table and 2^`v6_bits` IPv6 lines, all others as small as can be.
fn heap(v6_bits: u32) -> Heap {
    Heap::new(Sizes { v4_bits: Sizes::V4_BITS_MIN, v6_bits, limiter_bits: 0 })
}

fn lookup_v4(heap: &Heap, generation: u32, policy: &Policy, address: u32) -> ClassId {
    table::lookup(heap, generation, policy, Address::V4(address))
}

fn lookup_v6(heap: &Heap, generation: u32, policy: &Policy, address: u128) -> ClassId {
    table::lookup(heap, generation, policy, Address::V6(oracle::halves(address)))
}
