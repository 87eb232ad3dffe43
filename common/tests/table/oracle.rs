//! Longest-prefix match as it is taught: a hash map per prefix length, asked from the longest on.

use std::{collections::HashMap, net::Ipv6Addr};

use weir_common::{
    addr::V6,
    class::{ClassId, HOLE, NONE},
};

/// A prefix and its class. IPv4 networks are the upper 32 bits, so that one oracle serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) network: u128,
    pub(crate) length: u32,
    pub(crate) class: ClassId,
}

impl Entry {
    /// Returns the entry of `length` that covers `address`.
    pub(crate) fn covering(address: u128, length: u32, class: ClassId) -> Self {
        Self { network: address & mask(length), length, class }
    }

    pub(crate) fn first(&self) -> u128 {
        self.network
    }

    pub(crate) fn last(&self) -> u128 {
        self.network | !mask(self.length)
    }
}

pub(crate) fn mask(length: u32) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length) }
}

/// Brings entries into the order in which tables are built. Of several with the same prefix the
/// last one given stays the last.
pub(crate) fn in_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| (entry.network, entry.length));
    entries
}

pub(crate) fn halves(address: u128) -> V6 {
    V6::from(Ipv6Addr::from_bits(address))
}

#[derive(Default)]
pub(crate) struct Oracle(Vec<(u32, HashMap<u128, ClassId>)>);

impl Oracle {
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let mut lengths: Vec<_> = entries.iter().map(|entry| entry.length).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        let of_length = |length| {
            let same = entries.iter().filter(move |entry| entry.length == length);
            (length, same.map(|entry| (entry.network, entry.class)).collect())
        };
        Self(lengths.into_iter().map(of_length).collect())
    }

    pub(crate) fn lookup(&self, address: u128) -> ClassId {
        let found = self.0.iter().find_map(|(length, entries)| entries.get(&(address & mask(*length))));
        match found.copied() {
            None | Some(HOLE) => NONE,
            Some(class) => class,
        }
    }
}
