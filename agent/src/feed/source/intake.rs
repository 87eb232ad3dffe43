//! Entries as a source tells of them, one by one, behind the guards that each has to pass.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::SystemTime};

use ipnet::IpNet;

use super::{FetchError, Fetched};
use crate::{
    config::Guards,
    feed::{
        Rejected,
        ledger::{Entry, Ledger},
    },
};

/// Entries by what names them, and what was left out.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    guards: Guards,
    ledger: Ledger,
    /// By name, so that what goes is not counted any longer. No more than entries may be.
    left_out: HashMap<Arc<str>, Left>,
    rejected: Rejected,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It is not what it should be.
    Malformed,
    /// It names more addresses than a list may.
    TooWide,
    /// The feed does not ask for such.
    Unselected,
}

impl Intake {
    pub(super) fn new(guards: Guards) -> Self {
        Self { guards, ledger: Ledger::default(), left_out: HashMap::new(), rejected: Rejected::default() }
    }

    /// Begins with what was in force before.
    pub(super) fn resume(&mut self, ledger: Ledger) {
        *self = Self { ledger, ..Self::new(self.guards) };
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Adds an entry, or changes it. What is too wide in it is left out. Returns true if the ledger is
    /// not what it was.
    pub(super) fn set(&mut self, id: impl Into<Arc<str>>, entry: Entry) -> bool {
        let id = id.into();
        self.take_back(&id);
        let narrow = |prefix: &&IpNet| !is_too_wide(&self.guards, prefix);
        let prefixes: Arc<[IpNet]> = if entry.prefixes.iter().all(|prefix| narrow(&prefix)) {
            entry.prefixes
        } else {
            let rest = entry.prefixes.iter().filter(narrow).copied().collect();
            self.note(id.clone(), Left::TooWide);
            rest
        };
        if prefixes.is_empty() {
            return self.ledger.remove(&id).is_some();
        }
        self.ledger.set(id, Entry { prefixes, throttled: entry.throttled, ends: entry.ends })
    }

    /// Leaves out what is named so, also if it was an entry before.
    pub(super) fn leave_out(&mut self, id: impl Into<Arc<str>>, left: Left) -> bool {
        let id = id.into();
        self.take_back(&id);
        let removed = self.ledger.remove(&id).is_some();
        self.note(id, left);
        removed
    }

    /// Removes an entry, or what was left out under this name.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.take_back(id);
        self.ledger.remove(id).is_some()
    }

    /// Forgets what has ended.
    pub(super) fn forget(&mut self, now: SystemTime) -> bool {
        self.ledger.forget(now)
    }

    /// Returns all entries as they are now.
    pub(super) fn fetched(&self) -> Result<Fetched, FetchError> {
        let (entries, most) = (self.ledger.len(), self.guards.entries);
        if entries as u64 > most {
            let message = format!("has {entries} entries, more than {most}; see guards.entries");
            return Err(FetchError::new("size", message));
        }
        Ok(Fetched::Ledger(self.ledger.clone(), self.rejected))
    }

    fn note(&mut self, id: Arc<str>, left: Left) {
        if self.left_out.len() as u64 <= self.guards.entries {
            *self.count(left) += 1;
            self.left_out.insert(id, left);
        }
    }

    fn take_back(&mut self, id: &str) {
        if let Some(left) = self.left_out.remove(id) {
            let count = self.count(left);
            *count = count.saturating_sub(1);
        }
    }

    fn count(&mut self, left: Left) -> &mut usize {
        match left {
            Left::Malformed => &mut self.rejected.lines,
            Left::TooWide => &mut self.rejected.too_wide,
            Left::Unselected => &mut self.rejected.unselected,
        }
    }
}

/// Returns true if a list may not name so much.
pub(super) fn is_too_wide(guards: &Guards, prefix: &IpNet) -> bool {
    const MAPPED: u8 = 96;
    match prefix {
        IpNet::V4(prefix) => prefix.prefix_len() < guards.ipv4_prefix,
        // IPv4 in disguise.
        IpNet::V6(prefix) if prefix.network().to_ipv4_mapped().is_some() => {
            prefix.prefix_len() < MAPPED.saturating_add(guards.ipv4_prefix)
        }
        IpNet::V6(prefix) => prefix.prefix_len() < guards.ipv6_prefix,
    }
}

/// Reads an address or a prefix; bits behind the prefix do not count.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let prefix = if text.contains('/') {
        text.parse::<IpNet>().ok()
    } else {
        text.parse::<IpAddr>().ok().map(IpNet::from)
    };
    prefix.map(|prefix| prefix.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefixes: &[&str]) -> Entry {
        let prefixes = prefixes.iter().map(|text| network(text).unwrap()).collect();
        Entry { prefixes, throttled: false, ends: None }
    }

    #[test]
    fn what_is_too_wide_is_left_out_and_counted_while_it_is_there() {
        let mut intake = Intake::new(Guards::default());
        assert!(intake.set("a", entry(&["0.0.0.0/0", "192.0.2.0/24", "::/0", "::ffff:10.0.0.0/103"])));
        assert_eq!(intake.ledger().get("a").unwrap().prefixes.len(), 1);
        assert_eq!(intake.rejected.too_wide, 1);
        assert!(intake.set("a", entry(&["2001:db8::/32"])));
        assert_eq!(intake.rejected, Rejected::default());
        assert!(intake.set("a", entry(&["0.0.0.0/1"])), "nothing is left of it");
        assert!(intake.ledger().is_empty());
        intake.leave_out("b", Left::Malformed);
        intake.leave_out("b", Left::Unselected);
        assert_eq!(intake.rejected, Rejected { lines: 0, too_wide: 1, unselected: 1 });
        assert!(!intake.remove("b") && !intake.remove("a"));
        assert_eq!(intake.rejected, Rejected::default());
    }

    #[test]
    fn more_than_may_be_is_an_error() {
        let mut intake = Intake::new(Guards { entries: 1, ..Guards::default() });
        intake.set("a", entry(&["192.0.2.1"]));
        assert!(intake.fetched().is_ok());
        intake.set("b", entry(&["192.0.2.2"]));
        assert_eq!(intake.fetched().unwrap_err().cause, "size");
    }

    #[test]
    fn networks_are_read_and_cut() {
        for (text, want) in [
            ("192.0.2.1", "192.0.2.1/32"),
            (" 192.0.2.1/24 ", "192.0.2.0/24"),
            ("2001:db8::1/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), want);
        }
        for text in ["", "x", "192.0.2.1/33", "192.0.2", "fe80::1%eth0", "192.0.2.1/", "1/1"] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
