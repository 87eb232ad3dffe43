//! Entries that come and go one by one, and end by themselves. Pure: the time is an argument.

use std::{collections::BTreeMap, time::SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Listing;

/// Entries by what names them at their source: the number of a decision, an indicator's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
}

/// What one of them says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its networks.
    pub prefixes: Vec<IpNet>,
    /// Held to the suspicious profile, rather than to the feed's action.
    pub throttled: bool,
    /// When it ends; nothing: when its source says so.
    pub ends: Option<SystemTime>,
}

impl Ledger {
    /// Adds an entry, or changes it.
    pub fn set(&mut self, id: String, entry: Entry) {
        self.entries.insert(id, entry);
    }

    /// Removes an entry.
    pub fn remove(&mut self, id: &str) {
        self.entries.remove(id);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets what has ended.
    pub fn forget(&mut self, now: SystemTime) {
        self.entries.retain(|_, entry| entry.ends.is_none_or(|ends| ends > now));
    }

    /// Returns when the next of them ends.
    #[must_use]
    pub fn next_end(&self) -> Option<SystemTime> {
        self.entries.values().filter_map(|entry| entry.ends).min()
    }

    /// Returns what they say together.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let of = |throttled: bool| {
            let entries = self.entries.values().filter(|entry| entry.throttled == throttled);
            entries.flat_map(|entry| entry.prefixes.iter().copied()).collect::<super::Entries>()
        };
        Listing { entries: of(false).into(), throttled: of(true).into() }
    }
}
