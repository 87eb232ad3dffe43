//! Networks, as lists have them.

use std::{fmt, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_common::addr::{Address, V6};

use crate::config::Guards;

/// The entries of a list. Not sorted, may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// IPv4 networks and their lengths, host bits cleared.
    pub v4: Vec<(u32, u8)>,
    /// IPv6 networks and their lengths, likewise.
    pub v6: Vec<(V6, u8)>,
}

impl Entries {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Adds a network of any length. A v4-mapped one is IPv4, as the lookup has it.
    pub fn push(&mut self, prefix: IpNet) {
        let length = prefix.prefix_len();
        match (Address::from(prefix.network()), prefix) {
            (Address::V4(bits), IpNet::V4(_)) => self.v4.push((bits, length)),
            (Address::V4(bits), IpNet::V6(_)) => self.v4.push((bits, length.saturating_sub(96))),
            (Address::V6(bits), _) => self.v6.push((bits, length)),
        }
    }
}

impl FromIterator<IpNet> for Entries {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> Self {
        let mut entries = Self::default();
        prefixes.into_iter().for_each(|prefix| entries.push(prefix));
        entries
    }
}

/// What a feed lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What gets the feed's action.
    pub entries: Arc<Entries>,
    /// What is held to the suspicious profile of limits, whatever the feed's action: CrowdSec's
    /// `captcha` and `throttle`, `FlowSpec`'s rates.
    pub throttled: Arc<Entries>,
}

impl Listing {
    /// Returns how many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() + self.throttled.len()
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A parsed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What it lists.
    pub entries: Entries,
    /// What was left out.
    pub rejected: Rejected,
    /// One of them is 0.0.0.0/0 or ::/0, and was left out.
    pub everything: bool,
    /// The first line that is in no format: its number from 1, and its start.
    pub first_rejected: Option<(usize, String)>,
    /// How many entries the list itself says that it has, with what is left out of it here.
    pub declared: Option<usize>,
    /// What is too wide to be believed.
    pub widest: Widest,
}

/// The shortest prefixes that a list may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widest {
    /// Of IPv4.
    pub v4: u8,
    /// Of IPv6.
    pub v6: u8,
}

impl From<&Guards> for Widest {
    fn from(guards: &Guards) -> Self {
        Self { v4: guards.ipv4_prefix, v6: guards.ipv6_prefix }
    }
}

impl Default for Widest {
    fn default() -> Self {
        Self::from(&Guards::default())
    }
}

/// What was left out of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Lines that are not in its format.
    pub lines: usize,
    /// Entries wider than a list may name.
    pub too_wide: usize,
    /// Entries that were not selected: their score is too low, or they are of another category.
    pub unselected: usize,
}

impl fmt::Display for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IPv4, {} IPv6", self.entries.v4.len(), self.entries.v6.len())?;
        if self.rejected.too_wide > 0 {
            write!(f, ", {} too wide", self.rejected.too_wide)?;
        }
        if let Some((line, text)) = &self.first_rejected {
            write!(f, ", {} rejected, first line {line}: `{text}`", self.rejected.lines)?;
        }
        Ok(())
    }
}
