//! Feeds: where lists come from, what they say, and how far they are trusted.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Enforce, Format};

/// A list of sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// Its name, also in metrics.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// Its grammar, where the source is a text.
    pub format: Format,
    /// Which of its entries count.
    pub select: Select,
    /// What happens to the sources that it lists.
    pub action: FeedAction,
    /// Whether it drops, or only counts what it would drop.
    pub enforce: Enforce,
    /// What it lists, in a word: `scanner`, `botnet`. For people.
    pub category: Option<String>,
    /// What being on it adds to the sum of a consensus.
    pub weight: u32,
    /// How often it is asked for. Files are watched besides.
    pub interval: Duration,
    /// How long its entries stay in force after it was last confirmed; nothing: for ever.
    pub ttl: Option<Duration>,
    /// What is not believed of a new list.
    pub guards: Guards,
}

/// Where a list comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file, or all files of a directory.
    File(PathBuf),
    /// The configuration itself.
    Networks(Vec<IpNet>),
    /// A list that comes with weir; see [`crate::feed::pack`].
    Pack(String),
    /// A text behind a URL.
    Http(Http),
    /// The decisions of a CrowdSec LAPI (`/v1/decisions/stream`).
    Crowdsec(Crowdsec),
    /// The indicators of a TAXII 2.1 collection.
    Taxii(Taxii),
    /// A MISP feed: `manifest.json` and the events it names.
    Misp(Http),
    /// Routes of a BGP speaker, as exabgp tells them to `weir feeds receive NAME`.
    Bgp(Bgp),
}

impl Source {
    /// Returns true if it tells of entries one by one, some of which may be held to the suspicious
    /// profile whatever the feed's action.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self, Self::Crowdsec(_) | Self::Bgp(_))
    }

    /// Returns what it is called in output.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Networks(_) => "networks",
            Self::Pack(_) => "pack",
            Self::Http(_) => "http",
            Self::Crowdsec(_) => "crowdsec",
            Self::Taxii(_) => "taxii",
            Self::Misp(_) => "misp",
            Self::Bgp(_) => "bgp",
        }
    }
}

/// Something behind a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `https`, or `http` where `insecure` allows it.
    pub url: String,
    /// `http` without TLS is allowed.
    pub insecure: bool,
    /// Servers with private, loopback and link-local addresses are allowed.
    pub private: bool,
    /// How the agent proves who it is.
    pub auth: Auth,
    /// A proxy to go through; nothing: none, whatever the environment says.
    pub proxy: Option<String>,
    /// Roots that are trusted besides those of the system: a PEM file.
    pub ca: Option<PathBuf>,
    /// A certificate and its key for the server: a PEM file.
    pub client_certificate: Option<PathBuf>,
    /// The whole of a request, redirects and body included.
    pub timeout: Duration,
}

/// How the agent proves who it is. Secrets are read anew from their files at each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// A header whose value, or the end of it, is a secret.
    Header {
        /// Its name, `Key` for example.
        name: String,
        /// What stands in front of the secret, `Bearer ` for example.
        prefix: String,
        /// The file with the secret.
        file: PathBuf,
    },
    /// RFC 7617.
    Basic {
        /// The user.
        user: String,
        /// The file with the password.
        file: PathBuf,
    },
}

/// A CrowdSec LAPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowdsec {
    /// The server; `auth` is the header `X-Api-Key` of a bouncer.
    pub http: Http,
    /// Origins of decisions that count; empty: all.
    pub origins: Vec<String>,
    /// Scenarios whose decisions count, those that contain one of these words; empty: all.
    pub scenarios_containing: Vec<String>,
    /// How often what is done is reported back (`/v1/usage-metrics`); nothing: never.
    pub usage_interval: Option<Duration>,
}

/// A TAXII 2.1 collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taxii {
    /// The collection's URL, `https://host/root/collections/ID/`.
    pub http: Http,
    /// Indicators whose confidence (0 to 100) is lower do not count; those without one do.
    pub min_confidence: u8,
}

/// Routes of a BGP speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// Communities that mark a blackhole route; RFC 7999 has 65535:666.
    pub communities: Vec<(u16, u16)>,
    /// How long routes stay in force when a session goes down.
    pub hold: Duration,
}

/// Which entries of a list count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// Entries with a lower score do not count; those without one do.
    pub min_score: Option<u32>,
    /// Entries of other categories do not count; empty: all do.
    pub categories: Vec<String>,
    /// Tables that say which prefixes a number of an autonomous system, or a country, stands for:
    /// `first,last,what` a line. The list's entries are such numbers or countries where there is one.
    pub tables: Vec<PathBuf>,
}

/// What is not believed of a new list. A list that fails is held: the last good one stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guards {
    /// An empty list is meant so, and no accident.
    pub can_be_empty: bool,
    /// The part of its entries that a list may lose at once, in percent.
    pub shrink: u8,
    /// How many times larger a list may become at once.
    pub growth: u32,
    /// Entries that are too many.
    pub entries: u64,
    /// Bytes that are too many, unpacked.
    pub bytes: u64,
    /// Lines that may be in no format, in percent.
    pub rejected: u8,
    /// Shortest IPv4 prefix that a list may name.
    pub ipv4_prefix: u8,
    /// Shortest IPv6 prefix that a list may name.
    pub ipv6_prefix: u8,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            can_be_empty: false,
            shrink: 50,
            growth: 10,
            entries: 8_000_000,
            bytes: 256 << 20,
            rejected: 10,
            ipv4_prefix: 8,
            ipv6_prefix: 16,
        }
    }
}

/// What happens to the sources of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeedAction {
    /// They are dropped.
    Drop,
    /// They are counted, and pass.
    Observe,
    /// Limits hold them to the suspicious profile.
    Suspicious,
    /// No other list drops them, and limits hold them to the partner profile.
    Partner,
    /// They always pass.
    Allow,
}

/// What follows from several lists naming a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consensus {
    /// Its name.
    pub name: String,
    /// The feeds whose word counts.
    pub feeds: Vec<String>,
    /// How many of them, or rather the sum of their weights, it takes.
    pub weight: u32,
    /// What then happens to a source.
    pub action: FeedAction,
    /// Whether it drops, or only counts what it would drop.
    pub enforce: Enforce,
}
