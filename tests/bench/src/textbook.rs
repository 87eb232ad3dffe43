//! The textbook program: `ebpf/src/bin/textbook.rs`, and what it is filled with.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, LpmTrie, lpm_trie::Key},
    programs::{ProgramFd, Xdp},
};
use weir::feed::Entries;

use crate::ours::{Limit, PORT};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench_textbook"));

/// Bytes of a bucket of 16 bytes under a key of 4, and of a hash bucket (kernel/bpf/hashtab.c:
/// `struct htab_elem` is 48 bytes; there are as many hash buckets as the next power of two says).
const ELEMENT: u64 = 48 + 8 + 16;
const HASH_BUCKET: u64 = 16;

/// Returns how many sources an LRU hash map of `bytes` bytes has room for.
pub(crate) fn buckets_in(bytes: u64) -> u32 {
    let bytes_of = |n: u32| u64::from(n) * ELEMENT + u64::from(n).next_power_of_two() * HASH_BUCKET;
    let (mut fits, mut step) = (1, 1u32 << 30);
    while step > 0 {
        if bytes_of(fits + step) <= bytes {
            fits += step;
        }
        step >>= 1;
    }
    fits
}

/// The textbook program and its maps.
pub(crate) struct Textbook {
    ebpf: Ebpf,
}

impl Textbook {
    /// Loads it with room for `buckets` sources.
    pub(crate) fn new(buckets: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("BUCKETS_V4", buckets);
        Ok(Self { ebpf: loader.load(OBJECT).context("load the textbook program")? })
    }

    /// Lists what a feed lists, in its order.
    pub(crate) fn list(&mut self, entries: &Entries) -> Result<()> {
        let mut trie: LpmTrie<_, u32, u32> =
            self.ebpf.map_mut("LISTED_V4").context("no map LISTED_V4")?.try_into()?;
        for &(network, length) in &entries.v4 {
            trie.insert(&Key::new(u32::from(length), network.to_be()), 1, 0)?;
        }
        let mut trie: LpmTrie<_, [u8; 16], u32> =
            self.ebpf.map_mut("LISTED_V6").context("no map LISTED_V6")?.try_into()?;
        for &(network, length) in &entries.v6 {
            let bits = u128::from(network.high) << 64 | u128::from(network.low);
            trie.insert(&Key::new(u32::from(length), bits.to_be_bytes()), 1, 0)?;
        }
        Ok(())
    }

    /// Sets the limit.
    pub(crate) fn limit(&mut self, limit: Limit) -> Result<()> {
        let mut map: Array<_, [u64; 3]> = self.ebpf.map_mut("LIMIT").context("no map LIMIT")?.try_into()?;
        let period = limit.seconds * 1_000_000_000 / limit.packets;
        map.set(0, [period, limit.burst, u64::from(PORT.to_be())], 0)?;
        Ok(())
    }

    /// Returns program and maps, to be attached.
    pub(crate) fn into_ebpf(self) -> Ebpf {
        self.ebpf
    }

    /// Loads one of its programs.
    pub(crate) fn program(&mut self, name: &str) -> Result<ProgramFd> {
        let program: &mut Xdp = self.ebpf.program_mut(name).context("no such program")?.try_into()?;
        if program.fd().is_err() {
            program.load().with_context(|| format!("load {name}"))?;
        }
        Ok(program.fd()?.try_clone()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_all_that_fits() {
        let fits = u64::from(buckets_in(128 << 20));
        assert!(fits * ELEMENT + (1 << 21) * HASH_BUCKET <= 128 << 20);
        assert!((fits + 1) * ELEMENT + (1 << 21) * HASH_BUCKET > 128 << 20);
    }
}
