//! What is enforced, in words: class and limit names behind the kernel's numbers.
//!
//! The kernel enforces on without the agent, and `weir status` and `weir explain` must be able to
//! say what. So each publication leaves a record beside it, in the state directory.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use weir_common::{
    ABI_VERSION,
    limit::{PROFILES, Scope},
};

use crate::{
    config::{self, Enforce, FeedAction, Source},
    confine::Confinement,
    feed::{Feed, State},
    policy::{classes::ClassSpec, limits::LimitNumbers, protect::Conflicts},
};

const FILE: &str = "enforced.json";

/// What is enforced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of the layout whose numbers these are.
    pub abi: u32,
    /// Number of the publication.
    pub publication: u64,
    /// When it was published, in seconds since 1970.
    pub published: u64,
    /// Whether anything is dropped.
    pub enforce: Enforce,
    /// Class 1 and following.
    pub classes: Vec<ClassSpec>,
    /// Numbers of limits by name.
    pub limit_numbers: LimitNumbers,
    /// Limits in force.
    pub limits: Vec<LimitRecord>,
    /// Feeds.
    pub feeds: Vec<FeedRecord>,
    /// Entries of lists that have no effect, because they name what must not be cut off.
    #[serde(default)]
    pub conflicts: Vec<Conflicts>,
    /// Entries of the tables, and how many they are meant for.
    pub tables: Vec<TableRecord>,
    /// What holds the agent that has published it.
    #[serde(default)]
    pub confinement: Option<Confinement>,
}

/// A limit in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LimitRecord {
    /// Its number.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// The service that it stands on; nothing: control packets of all services.
    pub service: Option<String>,
    /// `packets`, `bytes`, `connections` or `control`.
    pub dimension: String,
    /// Rate and burst for each of [`weir_common::limit::PROFILE_NAMES`].
    pub paces: [PaceRecord; PROFILES],
    /// First bits of an IPv4 address that make one source. 0: all sources are one.
    pub ipv4_prefix: u8,
    /// First bits of an IPv6 address that make one source.
    pub ipv6_prefix: u8,
    /// The soft band: the share of the burst, in 256ths, above which packets are reported. 0: none.
    pub soft: u8,
    /// Whether it drops.
    pub enforce: Enforce,
}

/// A rate and a burst.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PaceRecord {
    /// Units a second.
    pub rate: f64,
    /// Units at once.
    pub burst: u64,
}

impl LimitRecord {
    /// Returns which sources share a bucket.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { v4_bits: self.ipv4_prefix, v6_bits: self.ipv6_prefix }
    }
}

impl From<&(u8, config::Limit)> for LimitRecord {
    fn from((number, limit): &(u8, config::Limit)) -> Self {
        Self {
            number: *number,
            name: limit.name.clone(),
            service: limit.service.clone(),
            dimension: limit.dimension.as_str().to_owned(),
            paces: limit.paces.map(|pace| PaceRecord { rate: pace.rate, burst: pace.burst }),
            ipv4_prefix: limit.scope.v4_bits,
            ipv6_prefix: limit.scope.v6_bits,
            soft: limit.soft,
            enforce: limit.enforce,
        }
    }
}

/// A feed in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeedRecord {
    /// Its name.
    pub name: String,
    /// What kind of source it has; see [`config::Source::as_str`].
    pub source: String,
    /// What happens to its sources.
    pub action: FeedAction,
    /// Whether it drops.
    pub enforce: Enforce,
    /// What it lists, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Entries with a lower score are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<u32>,
    /// Seconds after which it lapses unless it is confirmed before; nothing: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// IPv4 entries.
    pub ipv4: usize,
    /// IPv6 entries.
    pub ipv6: usize,
    /// Entries among them that are held to the suspicious profile, whatever its action.
    #[serde(default)]
    pub throttled: usize,
    /// How often it is asked for, in seconds; 0: it comes by itself.
    #[serde(default)]
    pub interval_seconds: u64,
    /// When it was last confirmed, in seconds since 1970.
    pub last_success: Option<u64>,
    /// What was left out, how tries ended, and why the newest list is not in force.
    pub state: State,
}

impl From<&Feed> for FeedRecord {
    fn from(feed: &Feed) -> Self {
        let (entries, throttled) = (&feed.listing.entries, &feed.listing.throttled);
        Self {
            name: feed.config.name.clone(),
            source: feed.config.source.as_str().to_owned(),
            action: feed.config.action,
            enforce: feed.config.enforce,
            category: feed.config.category.clone(),
            min_score: feed.config.select.min_score,
            ttl: feed.config.ttl.map(|ttl| ttl.as_secs()),
            ipv4: entries.v4.len() + throttled.v4.len(),
            ipv6: entries.v6.len() + throttled.v6.len(),
            throttled: throttled.len(),
            interval_seconds: if matches!(feed.config.source, Source::Bgp(_)) {
                0
            } else {
                feed.config.interval.as_secs()
            },
            last_success: feed.state.last_success.map(seconds),
            state: feed.state.clone(),
        }
    }
}

impl FeedRecord {
    /// Says how it is, in words.
    #[must_use]
    pub fn health(&self) -> String {
        match &self.state.refusal {
            Some(refusal) if refusal.acceptable => format!("held: {}", refusal.message),
            Some(refusal) => format!("{}: {}", refusal.cause, refusal.message),
            None if self.state.expired => "expired: not confirmed within its ttl".to_owned(),
            None if self.last_success.is_none() => "not read yet".to_owned(),
            None => match &self.state.first_rejected {
                Some((line, text)) => {
                    format!("ok; rejected {}, first line {line}: `{text}`", self.state.rejected.lines)
                }
                None => "ok".to_owned(),
            },
        }
    }
}

/// A table in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// `ipv4` or `ipv6`.
    pub name: String,
    /// Slots in use.
    pub entries: u64,
    /// Slots for which it is meant.
    pub capacity: u64,
}

impl Record {
    /// Returns that of a policy of which nothing is known.
    pub(crate) fn empty() -> Self {
        Self {
            abi: ABI_VERSION,
            publication: 0,
            published: 0,
            enforce: Enforce::Shadow,
            classes: Vec::new(),
            limit_numbers: LimitNumbers::default(),
            limits: Vec::new(),
            feeds: Vec::new(),
            conflicts: Vec::new(),
            tables: Vec::new(),
            confinement: None,
        }
    }

    /// Reads the record of what an agent before has published. Nothing where there is none, or none
    /// of this version.
    #[must_use]
    pub fn load(state: &Path) -> Option<Self> {
        let text = fs::read(state.join(FILE)).ok()?;
        let record: Self = serde_json::from_slice(&text).ok()?;
        (record.abi == ABI_VERSION).then_some(record)
    }

    /// Writes the record in place of the one before.
    ///
    /// # Errors
    /// What the file system says; the one before is then still there.
    pub fn store(&self, state: &Path) -> io::Result<()> {
        fs::create_dir_all(state)?;
        let new = state.join(FILE).with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&new, state.join(FILE))
    }

    /// Removes the record.
    pub fn remove(state: &Path) {
        // It may not be there, and says nothing without the pins that it describes.
        _ = fs::remove_file(state.join(FILE));
    }
}

/// Returns a time in seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the time that so many seconds since 1970 are; none later than the year 9999, of which
/// calendars know.
#[must_use]
pub fn time(seconds: u64) -> SystemTime {
    const LATEST: u64 = 253_402_300_799;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LATEST))
}
