//! The shape of feeds.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Text, enforced};
use crate::config::{Enforce, FeedAction, Format};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Feed {
    pub(in crate::config) name: Text,
    // The source: one of these.
    pub(in crate::config) path: Option<Text>,
    pub(in crate::config) networks: Option<Spanned<Vec<Text>>>,
    pub(in crate::config) pack: Option<Text>,
    pub(in crate::config) known: Option<Text>,
    pub(in crate::config) url: Option<Text>,
    pub(in crate::config) crowdsec: Option<Crowdsec>,
    pub(in crate::config) taxii: Option<Taxii>,
    pub(in crate::config) misp: Option<Text>,
    pub(in crate::config) bgp: Option<Bgp>,
    #[serde(default)]
    pub(in crate::config) http: Http,
    // What it says.
    pub(in crate::config) format: Option<Spanned<Format>>,
    pub(in crate::config) min_score: Option<u32>,
    #[serde(default)]
    pub(in crate::config) categories: Vec<String>,
    #[serde(default)]
    pub(in crate::config) tables: Vec<Text>,
    // What follows.
    pub(in crate::config) action: FeedAction,
    #[serde(default = "enforced")]
    pub(in crate::config) enforce: Enforce,
    pub(in crate::config) category: Option<String>,
    #[serde(default = "one")]
    pub(in crate::config) weight: u32,
    // When, and how far it is trusted.
    pub(in crate::config) interval: Option<Text>,
    pub(in crate::config) ttl: Option<Text>,
    #[serde(default)]
    pub(in crate::config) can_be_empty: bool,
    #[serde(default)]
    pub(in crate::config) guards: Guards,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Http {
    #[serde(default)]
    pub(in crate::config) insecure: bool,
    #[serde(default)]
    pub(in crate::config) private: bool,
    pub(in crate::config) header: Option<Header>,
    pub(in crate::config) basic: Option<Basic>,
    pub(in crate::config) proxy: Option<Text>,
    pub(in crate::config) ca: Option<Text>,
    pub(in crate::config) client_certificate: Option<Text>,
    pub(in crate::config) timeout: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Header {
    pub(in crate::config) name: Text,
    #[serde(default)]
    pub(in crate::config) prefix: String,
    pub(in crate::config) file: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Basic {
    pub(in crate::config) user: String,
    pub(in crate::config) file: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Crowdsec {
    pub(in crate::config) url: Text,
    pub(in crate::config) key: Text,
    #[serde(default)]
    pub(in crate::config) origins: Vec<String>,
    #[serde(default)]
    pub(in crate::config) scenarios_containing: Vec<String>,
    #[serde(default = "yes")]
    pub(in crate::config) usage_metrics: bool,
    pub(in crate::config) usage_interval: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Taxii {
    pub(in crate::config) collection: Text,
    #[serde(default)]
    pub(in crate::config) min_confidence: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Bgp {
    #[serde(default)]
    pub(in crate::config) communities: Vec<Text>,
    pub(in crate::config) hold: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Guards {
    pub(in crate::config) shrink: Option<Spanned<u8>>,
    pub(in crate::config) growth: Option<Spanned<u32>>,
    pub(in crate::config) entries: Option<Text>,
    pub(in crate::config) bytes: Option<Text>,
    pub(in crate::config) rejected: Option<Spanned<u8>>,
    pub(in crate::config) ipv4_prefix: Option<Spanned<u8>>,
    pub(in crate::config) ipv6_prefix: Option<Spanned<u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Consensus {
    pub(in crate::config) name: Text,
    pub(in crate::config) feeds: Spanned<Vec<Text>>,
    pub(in crate::config) weight: Spanned<u32>,
    pub(in crate::config) action: FeedAction,
    #[serde(default = "enforced")]
    pub(in crate::config) enforce: Enforce,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}
