//! The shape of feeds.

use crate::config::spanned::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Text, enforced};
use crate::config::{Enforce, FeedAction, Format};

/// A list of sources. One of `path`, `known`, `url`, `networks`, `pack`, `crowdsec`, `taxii`, `misp`
/// and `bgp` says where it comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Feed {
    /// Its name, also in metrics.
    #[schemars(extend("x-type" = "name"))]
    pub(in crate::config) name: Text,
    // The source: one of these.
    /// A file, or a directory of lists; reread when something changes.
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) path: Option<Text>,
    /// The list itself.
    #[schemars(extend("x-type" = "prefix"))]
    pub(in crate::config) networks: Option<Spanned<Vec<Text>>>,
    /// A list that comes with weir, like `googlebot`.
    #[schemars(extend("x-type" = "name"))]
    pub(in crate::config) pack: Option<Text>,
    /// A feed by its name in `weir feeds catalogue`.
    #[schemars(extend("x-type" = "name"))]
    pub(in crate::config) known: Option<Text>,
    /// A text behind a URL.
    #[schemars(extend("x-type" = "url"))]
    pub(in crate::config) url: Option<Text>,
    /// The decisions of a CrowdSec LAPI.
    pub(in crate::config) crowdsec: Option<Crowdsec>,
    /// The indicators of a TAXII 2.1 collection.
    pub(in crate::config) taxii: Option<Taxii>,
    /// The URL of a MISP feed.
    #[schemars(extend("x-type" = "url"))]
    pub(in crate::config) misp: Option<Text>,
    /// Routes of a BGP speaker, through exabgp and `weir feeds receive`.
    pub(in crate::config) bgp: Option<Bgp>,
    /// How a source behind a URL is asked.
    #[serde(default)]
    pub(in crate::config) http: Http,
    // What it says.
    /// What the list looks like; default: `plain`.
    #[schemars(extend("default" = "plain"))]
    pub(in crate::config) format: Option<Spanned<Format>>,
    /// Entries with a lower score are left out.
    #[schemars(extend("x-type" = "number", "x-unit" = "score"))]
    pub(in crate::config) min_score: Option<u32>,
    /// Entries of other categories are left out; empty: none are.
    #[serde(default)]
    pub(in crate::config) categories: Vec<String>,
    /// Files of `first,last,what` lines that say which prefixes a number of an autonomous system, or a
    /// country, stands for.
    #[serde(default)]
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) tables: Vec<Text>,
    // What follows.
    /// What happens to its sources. Of several lists `allow` wins, then `partner`, then `drop`.
    pub(in crate::config) action: FeedAction,
    /// `shadow` counts what it would drop.
    #[serde(default = "enforced")]
    pub(in crate::config) enforce: Enforce,
    /// What it lists, in a word. For people.
    pub(in crate::config) category: Option<String>,
    /// What its word adds to a consensus.
    #[serde(default = "one")]
    #[schemars(extend("x-type" = "number", "x-unit" = "weight", "minimum" = 0, "maximum" = 1000))]
    pub(in crate::config) weight: u32,
    // When, and how far it is trusted.
    /// How often it is asked, or up to a fifth later. Default: 10 s of `crowdsec`, what the publisher asks for with
    /// `known`, else an hour.
    #[schemars(extend("x-type" = "time", "default" = "1h"))]
    pub(in crate::config) interval: Option<Text>,
    /// Not confirmed for so long, it is no longer in force; default: it stays.
    #[schemars(extend("x-type" = "time"))]
    pub(in crate::config) ttl: Option<Text>,
    /// An empty list is meant so, and no accident.
    #[serde(default)]
    pub(in crate::config) can_be_empty: bool,
    /// What is not believed of a new list.
    #[serde(default)]
    pub(in crate::config) guards: Guards,
}

/// How a source behind a URL is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Http {
    /// `http` without TLS is allowed.
    #[serde(default)]
    pub(in crate::config) insecure: bool,
    /// Servers with private and loopback addresses are allowed.
    #[serde(default)]
    pub(in crate::config) private: bool,
    /// A header with a secret.
    pub(in crate::config) header: Option<Header>,
    /// User and password (RFC 7617).
    pub(in crate::config) basic: Option<Basic>,
    /// The URL of a proxy to go through.
    #[schemars(extend("x-type" = "url"))]
    pub(in crate::config) proxy: Option<Text>,
    /// A PEM file with roots that are trusted besides those of the system.
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) ca: Option<Text>,
    /// A PEM file with a certificate and its key.
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) client_certificate: Option<Text>,
    /// How long a request may take, redirects and body included.
    #[schemars(extend("x-type" = "time", "default" = "1m", "x-most" = "10m"))]
    pub(in crate::config) timeout: Option<Text>,
}

/// A header with a secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Header {
    /// Its name, like `Key` or `Authorization`.
    #[schemars(extend("x-type" = "text"))]
    pub(in crate::config) name: Text,
    /// What stands in front of the secret, like `Bearer `.
    #[serde(default)]
    pub(in crate::config) prefix: String,
    /// The file with the secret.
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) file: Text,
}

/// User and password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Basic {
    /// The user's name.
    pub(in crate::config) user: String,
    /// The file with the password.
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) file: Text,
}

/// The decisions of a CrowdSec LAPI.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Crowdsec {
    /// The URL of the LAPI.
    #[schemars(extend("x-type" = "url"))]
    pub(in crate::config) url: Text,
    /// The file with the key of a bouncer (`cscli bouncers add`).
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) key: Text,
    /// Origins of decisions that count; empty: all.
    #[serde(default)]
    pub(in crate::config) origins: Vec<String>,
    /// Scenarios whose decisions count, those that contain one of these words; empty: all.
    #[serde(default)]
    pub(in crate::config) scenarios_containing: Vec<String>,
    /// Whether what is done is reported back.
    #[serde(default = "yes")]
    pub(in crate::config) usage_metrics: bool,
    /// How often that is done.
    #[schemars(extend("x-type" = "time", "default" = "30m"))]
    pub(in crate::config) usage_interval: Option<Text>,
}

/// A TAXII 2.1 collection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Taxii {
    /// Its URL, `https://host/root/collections/ID/`.
    #[schemars(extend("x-type" = "url"))]
    pub(in crate::config) collection: Text,
    /// Indicators whose confidence (0 to 100) is lower do not count; those without one do.
    #[serde(default)]
    #[schemars(extend("x-type" = "number", "x-unit" = "confidence", "minimum" = 0, "maximum" = 100))]
    pub(in crate::config) min_confidence: u8,
}

/// Routes of a BGP speaker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Bgp {
    /// Communities that mark a blackhole route (RFC 7999).
    #[serde(default)]
    #[schemars(extend("x-type" = "text", "default" = ["65535:666"]))]
    pub(in crate::config) communities: Vec<Text>,
    /// How long routes stay in force when a session goes down.
    #[schemars(extend("x-type" = "time", "default" = "2m"))]
    pub(in crate::config) hold: Option<Text>,
}

/// What is not believed of a new list. A list that fails is held: the last good one stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Guards {
    /// The part of its entries that a list may lose at once.
    #[schemars(extend("x-type" = "number", "x-unit" = "percent", "default" = 50, "minimum" = 0, "maximum" = 100))]
    pub(in crate::config) shrink: Option<Spanned<u8>>,
    /// How many times larger a list may become at once.
    #[schemars(extend("x-type" = "number", "x-unit" = "times", "default" = 10, "minimum" = 1))]
    pub(in crate::config) growth: Option<Spanned<u32>>,
    /// Most entries of a list.
    #[schemars(extend("x-type" = "count", "default" = "8M"))]
    pub(in crate::config) entries: Option<Text>,
    /// Most bytes of a list, packed and unpacked.
    #[schemars(extend("x-type" = "size", "default" = "256MiB"))]
    pub(in crate::config) bytes: Option<Text>,
    /// The part of its lines that may be in no format.
    #[schemars(extend("x-type" = "number", "x-unit" = "percent", "default" = 10, "minimum" = 0, "maximum" = 100))]
    pub(in crate::config) rejected: Option<Spanned<u8>>,
    /// Shortest IPv4 prefix that a list may name.
    #[schemars(extend("x-type" = "number", "x-unit" = "bits", "default" = 8, "minimum" = 1, "maximum" = 32))]
    pub(in crate::config) ipv4_prefix: Option<Spanned<u8>>,
    /// Shortest IPv6 prefix that a list may name.
    #[schemars(extend("x-type" = "number", "x-unit" = "bits", "default" = 16, "minimum" = 1, "maximum" = 128))]
    pub(in crate::config) ipv6_prefix: Option<Spanned<u8>>,
}

/// What follows where several feeds name a source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Consensus {
    /// Its name, also in metrics.
    #[schemars(extend("x-type" = "name"))]
    pub(in crate::config) name: Text,
    /// The feeds whose word counts.
    #[schemars(extend("x-type" = "name"))]
    pub(in crate::config) feeds: Spanned<Vec<Text>>,
    /// How many of them, or rather the sum of their weights, it takes.
    #[schemars(extend("x-type" = "number", "x-unit" = "weight", "minimum" = 1))]
    pub(in crate::config) weight: Spanned<u32>,
    /// What then happens to a source.
    pub(in crate::config) action: FeedAction,
    /// `shadow` counts what it would drop.
    #[serde(default = "enforced")]
    pub(in crate::config) enforce: Enforce,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}
