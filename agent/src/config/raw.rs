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
    #[schemars(extend("x-type" = "prefix"))]
    pub(super) allow: Vec<Text>,
    /// Trusted integrations: no list drops them, and limits hold them to their partner pace.
    #[serde(default)]
    #[schemars(extend("x-type" = "prefix"))]
    pub(super) partners: Vec<Text>,
    /// From where, and on which ports, this host is managed: no list, ban or limit cuts these off.
    #[serde(default)]
    pub(super) management: Management,
    /// Load balancers in front that send packets on in tunnels (IP in IP, GUE, VXLAN): the packet inside is
    /// judged.
    #[serde(default)]
    #[schemars(extend("x-type" = "prefix"))]
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
    #[schemars(extend("default" = "drop"))]
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
    /// The record of what was changed, when and by whom.
    #[serde(default)]
    pub(super) audit: audit::Raw,
    /// Decisions about requests, for proxies on this host.
    #[serde(default)]
    pub(super) l7: l7::Raw,
}

/// An interface to protect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Interface {
    /// Its name, as `ip link` shows it; at most 15 bytes.
    #[schemars(extend("x-type" = "text"))]
    pub(super) name: Text,
    /// How the program is attached.
    #[serde(default)]
    pub(super) mode: Mode,
}

/// A service that limits can stand on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    /// Its name, which limits refer to.
    #[schemars(extend("x-type" = "name"))]
    pub(super) name: Text,
    /// Its ports, like `443/tcp` or `8000-8010/tcp`.
    #[schemars(extend("x-type" = "port"))]
    pub(super) ports: Spanned<Vec<Text>>,
}

/// From where, and on which ports, this host is managed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Management {
    /// Addresses and prefixes that always pass.
    #[serde(default)]
    #[schemars(extend("x-type" = "prefix"))]
    pub(super) sources: Vec<Text>,
    /// Ports that no list and no ban cuts off, like `22/tcp`; open to everybody as far as weir is concerned.
    #[serde(default)]
    #[schemars(extend("x-type" = "port"))]
    pub(super) ports: Vec<Text>,
}

/// A limit: any of `packets`, `bytes` and `connections` on a service, or `control` without one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    /// Its name, also in metrics.
    #[schemars(extend("x-type" = "name"))]
    pub(super) name: Text,
    /// The service that it stands on.
    #[schemars(extend("x-type" = "name"))]
    pub(super) service: Option<Text>,
    /// `source`: each source has a budget; `service`: all together have one.
    #[serde(default)]
    #[schemars(extend("default" = "source"))]
    pub(super) per: Per,
    /// Packets to the service: rate and burst.
    pub(super) packets: Option<Budget>,
    /// Bytes of frames, likewise.
    pub(super) bytes: Option<Budget>,
    /// TCP segments with SYN and without ACK, likewise.
    pub(super) connections: Option<Budget>,
    /// SYN to declared services, ICMP and fragments together: what costs a host more than its sender. Without
    /// `service`; at most two such limits.
    pub(super) control: Option<Budget>,
    /// First bits of an IPv4 address that make one source, 8 to 32.
    #[schemars(extend("x-type" = "number", "x-unit" = "bits", "default" = 32, "minimum" = 8, "maximum" = 32))]
    pub(super) ipv4_prefix: Option<Spanned<u8>>,
    /// First bits of an IPv6 address that make one source, 16 to 64.
    #[schemars(extend("x-type" = "number", "x-unit" = "bits", "default" = 64, "minimum" = 16, "maximum" = 64))]
    pub(super) ipv6_prefix: Option<Spanned<u8>>,
    /// Packets that use more of the burst than this are reported, and pass.
    #[schemars(extend("x-type" = "percent", "x-least" = "1%", "x-most" = "99%"))]
    pub(super) soft: Option<Text>,
    /// `shadow` counts what it would drop.
    #[serde(default = "enforced")]
    pub(super) enforce: Enforce,
}

/// Rate and burst.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// Units a second, minute or hour.
    #[schemars(extend("x-type" = "rate"))]
    pub(super) rate: Text,
    /// Units at once; burst / rate is at most an hour. 1 spaces packets strictly.
    #[schemars(extend("x-type" = "count"))]
    pub(super) burst: Text,
    /// The same for `partners` and sources of lists with action `partner`; default: the pace of everybody.
    pub(super) partner: Option<Pace>,
    /// And for sources of lists with action `suspicious`, and of `weir throttle`; default: the pace of everybody.
    pub(super) suspicious: Option<Pace>,
}

/// Rate and burst.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pace {
    /// Units a second, minute or hour, like `10k/s`.
    #[schemars(extend("x-type" = "rate"))]
    pub(super) rate: Text,
    /// Units at once.
    #[schemars(extend("x-type" = "count"))]
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
    /// The Unix socket of `weir ban` and its like, for root and the file's group.
    #[schemars(extend("x-type" = "path", "default" = "/run/weir/weir.sock"))]
    pub(super) control: Option<Text>,
    /// The same over TCP, for who has a certificate.
    pub(super) control_tls: Option<control::Raw>,
    /// Address and port of `/metrics`, `/healthz` and `/readyz`.
    #[schemars(extend("x-type" = "address", "default" = "127.0.0.1:9646"))]
    pub(super) metrics: Option<Text>,
    /// Address and port of the status page, on the loopback; without it there is none.
    #[schemars(extend("x-type" = "address"))]
    pub(super) status: Option<Text>,
}

/// Sizes of the kernel's tables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tables {
    /// IPv4 entries to make room for at the start; default: what lists have then, at least 1M.
    #[schemars(extend("x-type" = "count"))]
    pub(super) ipv4: Option<Text>,
    /// IPv6 entries, likewise, at least 64k.
    #[schemars(extend("x-type" = "count"))]
    pub(super) ipv6: Option<Text>,
    /// Memory of the buckets, 8 bytes a live source; rounded down to a power of two.
    #[schemars(extend("x-type" = "size", "default" = "128MiB", "x-least" = "8MiB", "x-most" = "512MiB"))]
    pub(super) limiter: Option<Text>,
}

/// Sampled packets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    /// Events that one CPU may send to the agent. While somebody watches it is 1000 at least.
    #[schemars(extend("x-type" = "number", "x-unit" = "events a second and CPU", "default" = 32, "minimum" = 0, "maximum" = 100_000))]
    pub(super) per_second: Option<Spanned<u32>>,
}

/// A single rule is enforced unless it says otherwise; the top-level `enforce` has the last word.
fn enforced() -> Enforce {
    Enforce::Enforce
}
