//! Entries that come and go one by one, and end by themselves. Pure: the time is an argument.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Entries, Listing, clock};

/// Entries by what names them at their source: the number of a decision, an indicator's id.
///
/// A copy shares the texts with the original, so that one of 100,000 entries takes milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    entries: BTreeMap<Arc<str>, Entry>,
    /// How many entries end in a second, counted from 1970.
    ends: BTreeMap<u64, u32>,
}

/// What one of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its networks.
    pub prefixes: Arc<[IpNet]>,
    /// Held to the suspicious profile, rather than to the feed's action.
    pub throttled: bool,
    /// When it ends; nothing: when its source says so. Kept in whole seconds, the next one up, so that
    /// many entries which end one after the other are let go of once a second.
    pub ends: Option<SystemTime>,
}

impl Ledger {
    /// Adds an entry, or changes it. Returns true if there was none like it.
    pub fn set(&mut self, id: impl Into<Arc<str>>, entry: Entry) -> bool {
        let second = entry.ends.map(second);
        let entry = Entry { ends: second.map(time), ..entry };
        let id = id.into();
        let same = self.entries.get(&id).is_some_and(|known| *known == entry);
        if !same {
            if let Some(second) = second {
                *self.ends.entry(second).or_default() += 1;
            }
            let replaced = self.entries.insert(id, entry);
            self.uncount(replaced.as_ref());
        }
        !same
    }

    /// Removes an entry, and returns it.
    pub fn remove(&mut self, id: &str) -> Option<Entry> {
        let removed = self.entries.remove(id);
        self.uncount(removed.as_ref());
        removed
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.ends.clear();
    }

    /// Forgets what has ended. Returns true if something has.
    pub fn forget(&mut self, now: SystemTime) -> bool {
        if self.next_end().is_none_or(|end| end > now) {
            return false;
        }
        self.entries.retain(|_, entry| entry.ends.is_none_or(|ends| ends > now));
        self.ends.retain(|second, _| time(*second) > now);
        true
    }

    /// Returns it with all ends so many seconds later.
    #[must_use]
    pub fn moved(&self, seconds: i64) -> Self {
        let mut moved = self.clone();
        if seconds != 0 {
            moved.ends.clear();
            for entry in moved.entries.values_mut() {
                entry.ends = entry.ends.map(|ends| clock::moved(ends, seconds));
                if let Some(ends) = entry.ends {
                    *moved.ends.entry(second(ends)).or_default() += 1;
                }
            }
        }
        moved
    }

    /// Returns when the next of them ends.
    #[must_use]
    pub fn next_end(&self) -> Option<SystemTime> {
        self.ends.keys().next().copied().map(time)
    }

    /// Returns the entry of this name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Returns all entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(id, entry)| (&**id, entry))
    }

    /// Returns the entries whose names start so.
    pub fn starting_with<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let from = self.entries.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        from.map(|(id, entry)| (&**id, entry)).take_while(move |(id, _)| id.starts_with(start))
    }

    /// Returns how many entries there are; each may have several networks, or none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns what they say together.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let (mut entries, mut throttled) = (Entries::default(), Entries::default());
        for entry in self.entries.values() {
            let list = if entry.throttled { &mut throttled } else { &mut entries };
            entry.prefixes.iter().for_each(|prefix| list.push(*prefix));
        }
        Listing { entries: entries.into(), throttled: throttled.into() }
    }

    fn uncount(&mut self, gone: Option<&Entry>) {
        let Some(second) = gone.and_then(|entry| entry.ends).map(second) else { return };
        if let Some(count) = self.ends.get_mut(&second) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.ends.remove(&second);
            }
        }
    }
}

/// Returns the first whole second that is not before `time`.
fn second(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_add(u64::from(since.subsec_nanos() > 0))
}

fn time(second: u64) -> SystemTime {
    // Without an end in sight, as good as any.
    const FAR: Duration = Duration::from_hours(24 * 365 * 1000);
    let since = Duration::from_secs(second);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH + FAR)
}

/// An entry on disk: its name, the second in which it ends, whether it is throttled, its networks.
type Row<T> = (T, Option<u64>, bool, Vec<IpNet>);

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.entries.iter();
        serializer.collect_seq(rows.map(|(id, entry)| -> Row<&str> {
            (id, entry.ends.map(second), entry.throttled, entry.prefixes.to_vec())
        }))
    }
}

impl<'de> Deserialize<'de> for Ledger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<Row<String>>::deserialize(deserializer)?;
        let mut ledger = Self::default();
        for (id, ends, throttled, prefixes) in rows {
            ledger.set(id, Entry { prefixes: prefixes.into(), throttled, ends: ends.map(time) });
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests;
