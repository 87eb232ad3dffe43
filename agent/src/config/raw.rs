//! The shape of the configuration file. Unknown keys are errors everywhere.

/// Feeds.
pub(super) mod feed;

use crate::config::spanned::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Enforce, Mode, audit, control, l7};

/// Text with the place where it stands, to be parsed and judged later.
pub(super) type Text = Spanned<String>;

/// The configuration of weir.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// `enforce` drops what the rules say, `shadow` (the default) counts what would be dropped.
    #[serde(default)]
    pub(super) enforce: Enforce,
    /// Interfaces to protect, 1 to 15.
    pub(super) interfaces: Spanned<Vec<Interface>>,
    /// Services that limits can stand on. What is not declared here is never limited.
    #[serde(default)]
    pub(super) services: Vec<Service>,
    /// Sources that always pass, whatever lists and limits say: addresses and prefixes.
    #[serde(default)]
    pub(super) allow: Vec<Text>,
    /// Trusted integrations: no list drops them, and limits hold them to their partner pace.
    #[serde(default)]
    pub(super) partners: Vec<Text>,
    /// From where, and on which ports, this host is managed: no list, ban or limit cuts these off.
    #[serde(default)]
    pub(super) management: Management,
    /// Load balancers in front that send packets on in tunnels (IP in IP, GUE, VXLAN): the packet inside is
    /// judged.
    #[serde(default)]
    pub(super) balancers: Vec<Text>,
    /// Lists of sources.
    #[serde(default)]
    pub(super) feeds: Vec<feed::Feed>,
    /// What follows where several feeds name a source.
    #[serde(default)]
    pub(super) consensus: Vec<feed::Consensus>,
    /// Limits on services.
    #[serde(default)]
    pub(super) limits: Vec<Limit>,
    /// Frames that no honest sender makes: `drop`, or `shadow` (count, and pass).
    #[serde(default)]
    pub(super) malformed: Malformed,
    /// Where the agent listens.
    #[serde(default)]
    pub(super) listen: Listen,
    /// Sizes of the kernel's tables at the start. Where lists outgrow them, tables grow by themselves.
    #[serde(default)]
    pub(super) tables: Tables,
    /// Sampled packets.
    #[serde(default)]
    pub(super) events: Events,
    /// Decisions about requests, for proxies on this host.
    #[serde(default)]
    pub(super) audit: audit::Raw,
    #[serde(default)]
    pub(super) l7: l7::Raw,
}

/// An interface to protect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Interface {
    /// Its name, at most 15 bytes.
    pub(super) name: Text,
    /// How the program is attached.
    #[serde(default)]
    pub(super) mode: Mode,
}

/// A service that limits can stand on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    /// Its name.
    pub(super) name: Text,
    /// Its ports, like `443/tcp` or `8000-8010/tcp`.
    pub(super) ports: Spanned<Vec<Text>>,
}

/// From where, and on which ports, this host is managed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Management {
    /// Addresses and prefixes that always pass.
    #[serde(default)]
    pub(super) sources: Vec<Text>,
    /// Ports that no list and no ban cuts off, like `22/tcp`.
    #[serde(default)]
    pub(super) ports: Vec<Text>,
}

/// A limit: any of `packets`, `bytes` and `connections` on a service, or `control` without one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    /// Its name, also in metrics.
    pub(super) name: Text,
    /// The service that it stands on.
    pub(super) service: Option<Text>,
    /// `source`: each source has a budget; `service`: all together have one.
    #[serde(default)]
    pub(super) per: Per,
    /// Packets.
    pub(super) packets: Option<Budget>,
    /// Bytes of frames.
    pub(super) bytes: Option<Budget>,
    /// TCP segments with SYN and without ACK.
    pub(super) connections: Option<Budget>,
    /// SYN to declared services, ICMP and fragments together; without `service`.
    pub(super) control: Option<Budget>,
    /// First bits of an IPv4 address that make one source, 8 to 32.
    pub(super) ipv4_prefix: Option<Spanned<u8>>,
    /// First bits of an IPv6 address that make one source, 16 to 64.
    pub(super) ipv6_prefix: Option<Spanned<u8>>,
    /// Report packets that use more of the burst than this, like `80%`.
    pub(super) soft: Option<Text>,
    /// `shadow` counts what it would drop.
    #[serde(default = "enforced")]
    pub(super) enforce: Enforce,
}

/// Rate and burst.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// Units a second, minute or hour, like `1000/s`, `10k/s`, `10MB/s`, `90/m`.
    pub(super) rate: Text,
    /// Units at once, like `2000` or `20k`; burst / rate is at most an hour.
    pub(super) burst: Text,
    /// The same for partners; default: the pace of everybody.
    pub(super) partner: Option<Pace>,
    /// And for sources of suspicious lists.
    pub(super) suspicious: Option<Pace>,
}

/// Rate and burst.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pace {
    /// Units a second, minute or hour, like `10k/s`.
    pub(super) rate: Text,
    /// Units at once.
    pub(super) burst: Text,
}

/// Whose packets a limit counts together.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Per {
    /// Each source has a budget.
    #[default]
    Source,
    /// All sources together have one.
    Service,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Malformed {
    /// They are dropped.
    #[default]
    Drop,
    /// They are counted, and pass.
    Shadow,
}

/// Where the agent listens.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    /// The Unix socket of `weir ban` and its like.
    pub(super) control: Option<Text>,
    /// The same over TCP, for who has a certificate.
    pub(super) control_tls: Option<control::Raw>,
    /// Address and port of `/metrics`, `/healthz` and `/readyz`.
    pub(super) metrics: Option<Text>,
    /// Address and port of the status page, of the loopback; without it there is none.
    pub(super) status: Option<Text>,
}

/// Sizes of the kernel's tables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tables {
    /// IPv4 entries to make room for at the start, like `1M`.
    pub(super) ipv4: Option<Text>,
    /// IPv6 entries, likewise.
    pub(super) ipv6: Option<Text>,
    /// Memory of the buckets, 8 bytes a live source: `8MiB` to `512MiB`, rounded down to a power of two.
    pub(super) limiter: Option<Text>,
}

/// Sampled packets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    /// Events that one CPU may send to the agent in a second. While somebody watches it is 1000 at least.
    pub(super) per_second: Option<Spanned<u32>>,
}

/// A single rule is enforced unless it says otherwise; the top-level `enforce` has the last word.
fn enforced() -> Enforce {
    Enforce::Enforce
}
