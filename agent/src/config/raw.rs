//! The shape of the configuration file. Unknown keys are errors everywhere.

/// Feeds.
pub(super) mod feed;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Enforce, Mode, l7};

/// Text with the place where it stands, to be parsed and judged later.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) enforce: Enforce,
    pub(super) interfaces: Spanned<Vec<Interface>>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    #[serde(default)]
    pub(super) allow: Vec<Text>,
    #[serde(default)]
    pub(super) partners: Vec<Text>,
    #[serde(default)]
    pub(super) management: Management,
    #[serde(default)]
    pub(super) balancers: Vec<Text>,
    #[serde(default)]
    pub(super) feeds: Vec<feed::Feed>,
    #[serde(default)]
    pub(super) consensus: Vec<feed::Consensus>,
    #[serde(default)]
    pub(super) limits: Vec<Limit>,
    #[serde(default)]
    pub(super) malformed: Malformed,
    #[serde(default)]
    pub(super) listen: Listen,
    #[serde(default)]
    pub(super) tables: Tables,
    #[serde(default)]
    pub(super) events: Events,
    #[serde(default)]
    pub(super) l7: l7::Raw,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interface {
    pub(super) name: Text,
    #[serde(default)]
    pub(super) mode: Mode,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: Text,
    pub(super) ports: Spanned<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Management {
    #[serde(default)]
    pub(super) sources: Vec<Text>,
    #[serde(default)]
    pub(super) ports: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) name: Text,
    pub(super) service: Option<Text>,
    #[serde(default)]
    pub(super) per: Per,
    pub(super) packets: Option<Budget>,
    pub(super) bytes: Option<Budget>,
    pub(super) connections: Option<Budget>,
    pub(super) control: Option<Budget>,
    pub(super) ipv4_prefix: Option<Spanned<u8>>,
    pub(super) ipv6_prefix: Option<Spanned<u8>>,
    pub(super) soft: Option<Text>,
    #[serde(default = "enforced")]
    pub(super) enforce: Enforce,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    pub(super) rate: Text,
    pub(super) burst: Text,
    pub(super) partner: Option<Pace>,
    pub(super) suspicious: Option<Pace>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pace {
    pub(super) rate: Text,
    pub(super) burst: Text,
}

/// Whose packets a limit counts together.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Per {
    #[default]
    Source,
    Service,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Malformed {
    #[default]
    Drop,
    Shadow,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) control: Option<Text>,
    pub(super) metrics: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tables {
    pub(super) ipv4: Option<Text>,
    pub(super) ipv6: Option<Text>,
    pub(super) limiter: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    pub(super) per_second: Option<Spanned<u32>>,
}

/// A single rule is enforced unless it says otherwise; the top-level `enforce` has the last word.
fn enforced() -> Enforce {
    Enforce::Enforce
}
