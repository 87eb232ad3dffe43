//! Where lists come from.

/// Files and directories.
pub mod file;
/// Texts behind URLs, and what all sources on the web share.
pub mod http;

use std::{io, time::Duration};

use super::{Parsed, ledger::Ledger, store::Validators};
use crate::config;

/// What a source answers.
#[derive(Debug)]
pub enum Fetched {
    /// The list is what it was.
    Unchanged,
    /// The text of the list, and what to ask with next time.
    Text(Vec<u8>, Validators),
    /// The list itself, from a source that has no text.
    List(Parsed),
    /// All entries as they are now, from a source that tells of them one by one.
    Ledger(Ledger),
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// In a word, for metrics: one of [`FetchError::CAUSES`].
    pub cause: &'static str,
    /// In words, with the mend.
    pub message: String,
    /// When the source wants to be asked again, if it said so.
    pub retry_after: Option<Duration>,
}

impl FetchError {
    /// All causes, as metrics have them.
    pub const CAUSES: &[&str] = &[
        "unreadable", "connect", "tls", "timeout", "status", "redirect", "address", "size", "ratio",
        "encoding", "auth", "html", "protocol",
    ];

    /// Returns an error with this cause.
    pub fn new(cause: &'static str, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), retry_after: None }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::new("unreadable", format!("cannot be read: {error}"))
    }
}

/// A source and what it remembers between requests.
#[derive(Debug)]
pub enum Source {
    /// A file or a directory.
    File(file::File),
    /// A list that does not change.
    Fixed(super::Entries),
    /// A text behind a URL.
    Http(http::Text),
}

impl Source {
    /// Returns the source of a feed, which has not been asked yet.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked: a certificate that is none, for example.
    pub fn new(feed: &config::Feed) -> Result<Self, FetchError> {
        match &feed.source {
            config::Source::File(path) => Ok(Self::File(file::File::new(path.clone(), feed.guards.bytes))),
            config::Source::Networks(networks) => Ok(Self::Fixed(networks.iter().copied().collect())),
            config::Source::Pack(name) => {
                let pack = super::pack::find(name);
                Ok(Self::Fixed(pack.map(super::pack::Pack::entries).unwrap_or_default()))
            }
            config::Source::Http(http) => Ok(Self::Http(http::Text::new(http, &feed.guards)?)),
            config::Source::Crowdsec(_)
            | config::Source::Taxii(_)
            | config::Source::Misp(_)
            | config::Source::Bgp(_) => Err(FetchError::new("protocol", "is not there yet")),
        }
    }

    /// Returns true if it answers from this host, so that a start can wait for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::File(_) | Self::Fixed(_))
    }

    /// Asks for the list. `validators` are those of the list in force.
    ///
    /// # Errors
    /// [`FetchError`] where there is none to be had.
    pub async fn fetch(&mut self, validators: &Validators) -> Result<Fetched, FetchError> {
        match self {
            Self::File(file) => file.fetch(),
            Self::Fixed(entries) => {
                Ok(Fetched::List(Parsed { entries: entries.clone(), ..Parsed::default() }))
            }
            Self::Http(text) => text.fetch(validators).await,
        }
    }

    /// Returns how long its last answer is good for, as it says itself: it is not asked before.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        match self {
            Self::Http(text) => text.fresh_for(),
            Self::File(_) | Self::Fixed(_) => None,
        }
    }

    /// Waits for news that the source tells by itself; for ever, where it does not.
    pub async fn news(&mut self) {
        match self {
            Self::File(_) | Self::Fixed(_) | Self::Http(_) => std::future::pending().await,
        }
    }
}
