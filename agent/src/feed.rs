//! What the lists say: one parser a format, and the guards in front of it.
//!
//! A feed keeps its last good list: whatever goes wrong with a new one, the old stays in force and
//! the state says why.

/// Addresses and prefixes, one a line.
pub mod plain;
/// What has come and gone between two states of a list.
pub mod difference;
/// Tells when a file changes.
pub mod watch;

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use weir_common::addr::V6;

use crate::config::{self, Format};

/// Largest list that is read, in bytes: 3M entries are about 50 MB.
const BYTES_MAX: u64 = 256 << 20;
/// Rejected lines that are too many in any list, and as part of all lines (one in so many).
const REJECTED_MIN: usize = 10;
const REJECTED_ONE_IN: usize = 10;
/// Widest prefixes that a list may name, or a rule have.
pub(crate) const V4_LENGTH_MIN: u8 = 8;
pub(crate) const V6_LENGTH_MIN: u8 = 16;

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
}

/// A parsed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What it lists.
    pub entries: Entries,
    /// Lines that are no entry and no comment.
    pub rejected: usize,
    /// The first of them: its number from 1, and its start.
    pub first_rejected: Option<(usize, String)>,
    /// Entries left out because they are wider than a list may name.
    pub too_wide: usize,
}

impl Parsed {
    fn reject(&mut self, line: usize, text: &[u8]) {
        self.rejected += 1;
        if self.first_rejected.is_none() {
            let start: String = String::from_utf8_lossy(text).chars().take(60).collect();
            self.first_rejected = Some((line, start));
        }
    }

    fn push_v4(&mut self, network: u32, length: u8) {
        if length < V4_LENGTH_MIN {
            self.too_wide += 1;
        } else {
            let network = weir_common::addr::network_v4(network, u32::from(length));
            self.entries.v4.push((network, length));
        }
    }

    fn push_v6(&mut self, network: V6, length: u8) {
        if length < V6_LENGTH_MIN {
            self.too_wide += 1;
        } else {
            self.entries.v6.push((network.network(u32::from(length)), length));
        }
    }
}

/// Why a list was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is larger than any list of use.
    #[error("is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// It has no entry.
    #[error("has no entries; set can_be_empty if that is meant so")]
    Empty,
    /// Much of it is not in its format.
    #[error("{rejected} of {lines} lines are not in its format, first line {line}: `{text}`")]
    Garbled {
        /// Lines that are no entry.
        rejected: usize,
        /// Lines that are an entry or should be.
        lines: usize,
        /// The first of them.
        line: usize,
        /// How it starts.
        text: String,
    },
}

/// A feed and its last good list.
#[derive(Clone, Debug)]
pub struct Feed {
    /// What the configuration says of it.
    pub config: config::Feed,
    /// The entries of the last good list.
    pub entries: Arc<Entries>,
    /// What was left out of it.
    pub rejected: Rejected,
    /// When that was read.
    pub last_success: Option<SystemTime>,
    /// Why the newest list was not taken, if it was not.
    pub refusal: Option<String>,
    /// Lists read, and lists refused.
    pub reads: Reads,
    /// The file that was last read, well or not.
    pub stamp: Option<Stamp>,
}

/// What tells a file from another one, or from itself before a change: device, inode, time of
/// change in seconds and nanoseconds, size.
pub type Stamp = (u64, u64, i64, i64, u64);

/// What was left out of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Lines that are not in its format.
    pub lines: usize,
    /// Entries wider than a list may name.
    pub too_wide: usize,
}

/// How often a feed was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Lists that were taken.
    pub ok: u64,
    /// Lists that were refused, or could not be read.
    pub refused: u64,
}

impl Feed {
    /// Returns a feed without a list.
    #[must_use]
    pub fn new(config: config::Feed) -> Self {
        Self {
            config,
            entries: Arc::default(),
            rejected: Rejected::default(),
            last_success: None,
            refusal: None,
            reads: Reads::default(),
            stamp: None,
        }
    }

    /// Returns true if the file is not the one that was last read.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let stamp = stamp(&self.config.path);
        stamp.is_none() || stamp != self.stamp
    }

    /// Reads the list anew. Whatever is wrong with it, the last good one stays.
    ///
    /// Returns true if the entries are not what they were.
    pub fn refresh(&mut self) -> bool {
        self.stamp = stamp(&self.config.path);
        match read(&self.config) {
            Ok(list) => {
                self.refusal = None;
                self.last_success = Some(SystemTime::now());
                self.reads.ok += 1;
                self.rejected = Rejected { lines: list.rejected, too_wide: list.too_wide };
                let changed = list.entries != *self.entries;
                if changed {
                    self.entries = Arc::new(list.entries);
                }
                changed
            }
            Err(refusal) => {
                tracing::warn!(feed = %self.config.name, %refusal, kept = self.entries.len(),
                    "list refused, the last good one stays");
                self.refusal = Some(format!("{} {refusal}", self.config.path.display()));
                self.reads.refused += 1;
                false
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
}

/// Reads and judges the list of a feed.
///
/// # Errors
/// [`Refusal`] where the list must not be enforced.
pub fn read(config: &config::Feed) -> Result<Parsed, Refusal> {
    let text = read_file(&config.path)?;
    let parsed = match config.format {
        Format::Plain => plain::parse(&text),
    };
    let lines = parsed.entries.len() + parsed.rejected + parsed.too_wide;
    if parsed.rejected >= REJECTED_MIN && parsed.rejected * REJECTED_ONE_IN > lines {
        let (line, text) = parsed.first_rejected.clone().unwrap_or_default();
        return Err(Refusal::Garbled { rejected: parsed.rejected, lines, line, text });
    }
    if parsed.entries.is_empty() && !config.can_be_empty {
        return Err(Refusal::Empty);
    }
    Ok(parsed)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Refusal> {
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    if size > BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    // One byte more than allowed: the file may grow while it is read.
    file.take(BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(text) }
}

impl fmt::Display for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IPv4, {} IPv6", self.entries.v4.len(), self.entries.v6.len())?;
        if self.too_wide > 0 {
            write!(f, ", {} too wide", self.too_wide)?;
        }
        if let Some((line, text)) = &self.first_rejected {
            write!(f, ", {} rejected, first line {line}: `{text}`", self.rejected)?;
        }
        Ok(())
    }
}
