use weir_common::addr::Address;

use super::{
    address,
    tables::{Key, Tables},
};
use crate::{
    config::{self, Select, Subject},
    feed::{Parsed, entries::Widest},
};

/// Takes what a grammar finds, and makes a list of it.
pub(super) struct Sink<'a> {
    pub(super) parsed: Parsed,
    select: &'a Select,
    tables: &'a Tables,
    entries_max: u64,
    /// Autonomous systems and countries, of which each may be many entries or none.
    names: usize,
}

/// What a grammar finds.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    /// What names its networks.
    pub(super) subject: Subject,
    /// And its name.
    pub(super) name: &'a [u8],
    /// The last address of a range that begins there.
    pub(super) end: Option<&'a [u8]>,
    /// How bad it is.
    pub(super) score: Option<u32>,
    /// It is of a category that counts; see [`Sink::picks`].
    pub(super) picked: bool,
}

impl<'a> Record<'a> {
    /// Returns an address or prefix of which nothing else is known.
    pub(super) const fn of(name: &'a [u8]) -> Self {
        Self { subject: Subject::Address, name, end: None, score: None, picked: true }
    }
}

/// The networks of a record.
enum Networks {
    Prefix(Address, u8),
    Range(Address, Address),
    Named(Key),
}

impl Record<'_> {
    /// Returns true if it names networks.
    pub(super) fn is_sound(&self) -> bool {
        self.networks().is_some()
    }

    fn networks(&self) -> Option<Networks> {
        match self.subject {
            Subject::Asn => Key::asn(self.name).map(Networks::Named),
            Subject::Country => Key::country(self.name).map(Networks::Named),
            Subject::Address => match self.end {
                Some(end) => Some(Networks::Range(address::address(self.name)?, address::address(end)?)),
                None => address::prefix_or_port(self.name)
                    .map(|(address, length)| Networks::Prefix(address, length)),
            },
        }
    }
}

impl<'a> Sink<'a> {
    pub(super) fn new(feed: &'a config::Feed, tables: &'a Tables) -> Self {
        let parsed = Parsed { widest: Widest::from(&feed.guards), ..Parsed::default() };
        Self { parsed, select: &feed.select, tables, entries_max: feed.guards.entries, names: 0 }
    }

    /// Takes a record of this line. `text` is what is told of it where it is none.
    pub(super) fn take(&mut self, line: usize, record: &Record<'_>, text: &[u8]) {
        let Some(networks) = record.networks() else {
            self.parsed.reject(line, text);
            return;
        };
        self.names += usize::from(record.subject != Subject::Address);
        let too_low = self.select.min_score.zip(record.score).is_some_and(|(least, score)| score < least);
        if too_low || !record.picked {
            self.parsed.rejected.unselected += 1;
            return;
        }
        match networks {
            Networks::Prefix(address, length) => self.parsed.push(address, length),
            Networks::Range(first, last) => {
                if !self.parsed.push_range(first, last) {
                    self.parsed.reject(line, text);
                }
            }
            Networks::Named(key) => {
                for (first, last) in self.tables.ranges(key) {
                    self.parsed.push_range(first, last);
                }
            }
        }
    }

    /// Leaves out a record that does not count.
    pub(super) fn leave_out(&mut self) {
        self.parsed.rejected.unselected += 1;
    }

    /// Returns true if categories tell which records count.
    pub(super) fn is_picky(&self) -> bool {
        !self.select.categories.is_empty()
    }

    /// Returns true if a record of this category counts. `text` may name several.
    pub(super) fn picks(&self, text: &[u8]) -> bool {
        let categories = &self.select.categories;
        let is_named = |text: &[u8]| {
            let text = text.trim_ascii();
            categories.iter().any(|category| category.as_bytes().eq_ignore_ascii_case(text))
        };
        categories.is_empty()
            || is_named(text)
            || text.split(|byte| matches!(byte, b',' | b';' | b'|')).any(is_named)
    }

    /// Returns true if there are more entries than a list may have, so that the guard refuses it
    /// whatever follows: a line of a range may be a hundred entries.
    pub(super) fn is_full(&self) -> bool {
        self.parsed.entries.len() as u64 > self.entries_max
    }

    /// Returns the list.
    ///
    /// # Errors
    /// Says what is wrong with it as a whole.
    pub(super) fn finish(mut self) -> Result<Parsed, String> {
        // What is declared counts names, and nobody else will know how many there were.
        if self.names > 0
            && let Some(declared) = self.parsed.declared.take()
            && self.names + self.parsed.rejected.lines < declared
        {
            return Err(format!("declares {declared} entries and has {}: it is cut off", self.names));
        }
        Ok(self.parsed)
    }
}

/// Returns the number at the start of `text`, without its fraction.
pub(super) fn score(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let number = |score: u32, digit: &u8| score.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    text.first().is_some_and(u8::is_ascii_digit).then(|| digits.fold(0, number))
}
