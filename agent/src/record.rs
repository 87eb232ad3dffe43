//! What is enforced, in words: class and limit names behind the kernel's numbers.
//!
//! The kernel enforces on without the agent, and `weir status` and `weir explain` must be able to
//! say what. So each publication leaves a record beside it, in the state directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use weir_common::{
    ABI_VERSION,
    limit::{PROFILES, Scope},
};

use crate::{
    config::{self, Enforce, FeedAction},
    feed::Feed,
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
    /// Its file.
    pub path: PathBuf,
    /// What happens to its sources.
    pub action: FeedAction,
    /// Whether it drops.
    pub enforce: Enforce,
    /// IPv4 entries.
    pub ipv4: usize,
    /// IPv6 entries.
    pub ipv6: usize,
    /// Lines that were not in its format.
    pub rejected: usize,
    /// Entries that were too wide.
    pub too_wide: usize,
    /// When it was last read well, in seconds since 1970.
    pub last_success: Option<u64>,
    /// Why its newest list is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Lists read well since the agent started.
    pub reads_ok: u64,
    /// Lists refused since the agent started.
    pub reads_refused: u64,
}

impl From<&Feed> for FeedRecord {
    fn from(feed: &Feed) -> Self {
        Self {
            name: feed.config.name.clone(),
            path: feed.config.path.clone(),
            action: feed.config.action,
            enforce: feed.config.enforce,
            ipv4: feed.entries.v4.len(),
            ipv6: feed.entries.v6.len(),
            rejected: feed.rejected.lines,
            too_wide: feed.rejected.too_wide,
            last_success: feed.last_success.map(seconds),
            held: feed.refusal.clone(),
            reads_ok: feed.reads.ok,
            reads_refused: feed.reads.refused,
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
