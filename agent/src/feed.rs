//! What the lists say: from where they come, one parser a grammar, and the guards in front.
//!
//! ```text
//! source ─► format ─► guard ─► listing ─► policy
//!   └─ ledger ─────────┘  └► store (last good, on disk)
//! ```
//!
//! A feed keeps its last good list: whatever goes wrong with a new one, the old stays in force and
//! the state says why.

/// Networks, as lists have them.
mod entries;
/// Feeds that are known by name.
pub mod catalogue;
/// Lists that come with weir.
pub mod pack;
/// From a text to entries, one module a grammar.
pub mod format;
/// What is not believed of a new list.
pub mod guard;
/// Entries that come and go one by one, and end by themselves.
pub mod ledger;
/// What time it is.
pub mod clock;
/// What a list names that it may not be meant to name.
pub mod overlap;
/// Where lists come from.
pub mod source;
/// The last good list, on disk.
pub mod store;
/// One feed at work.
pub mod worker;
/// All feeds at work.
pub mod engine;
/// What has come and gone between two states of a list.
pub mod difference;
/// Tells when a file changes.
pub mod watch;

use std::{sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

pub use entries::{Entries, Listing, Parsed, Rejected};

use crate::config;

/// A feed and its last good list, as the rest of the agent sees it.
#[derive(Clone, Debug)]
pub struct Feed {
    /// What the configuration says of it.
    pub config: Arc<config::Feed>,
    /// What it lists.
    pub listing: Listing,
    /// How it is.
    pub state: State,
}

impl Feed {
    /// Returns a feed without a list.
    #[must_use]
    pub fn new(config: impl Into<Arc<config::Feed>>) -> Self {
        Self { config: config.into(), listing: Listing::default(), state: State::default() }
    }
}

/// How a feed is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When its list was last confirmed: read well, or found to be the same.
    #[serde(skip)]
    pub last_success: Option<SystemTime>,
    /// Why the newest list is not in force, if it is not.
    pub refusal: Option<Refusal>,
    /// How the tries ended.
    pub reads: Reads,
    /// What was left out of the list in force.
    pub rejected: Rejected,
    /// The first line of it that is not in its format: its number and how it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_rejected: Option<(usize, String)>,
    /// Entries that came with the last change, and that went.
    pub added: usize,
    /// Likewise.
    pub removed: usize,
    /// Milliseconds that the last try took, from the request to the guarded list.
    pub milliseconds: u64,
    /// The list has outlived its `ttl`, so none of its entries is in force.
    pub expired: bool,
}

/// Why the newest list is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In a word, for metrics: see [`source::FetchError::CAUSES`] and [`guard::Refused::CAUSES`].
    pub cause: String,
    /// In words, with the mend.
    pub message: String,
    /// `weir feeds accept NAME` puts the list in force all the same.
    pub acceptable: bool,
}

/// How the tries to get a list ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Lists that were taken.
    pub ok: u64,
    /// Lists that were the same as before, as the source says.
    pub unchanged: u64,
    /// Lists that were refused by a guard.
    pub refused: u64,
    /// Lists that could not be had.
    pub failed: u64,
}

/// What is fuzzed of it.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    pub(crate) use super::{
        format::fuzz_tables as table,
        source::{crowdsec::fuzz as crowdsec, http::fuzz as body, misp::fuzz as misp, stix::fuzz as stix},
        store::fuzz as store,
    };
}
