//! What the operator wants: one YAML file, validated into types.
//!
//! Two steps: [`raw`] is the shape of the file, where serde refuses unknown keys; validation turns
//! it into the types below, in which nothing invalid can be said. An error names file, line, field,
//! value and the mend.

/// The record of what was changed, by whom.
pub mod audit;
/// The control API over TCP.
mod control;
mod error;
/// Feeds.
mod feed;
/// Grammars of lists.
mod format;
/// Decisions about requests.
pub mod l7;
/// Where fields stand.
mod place;
mod raw;
/// What a file may say, for editors.
mod schema;
/// docs/configuration.md.
#[cfg(test)]
mod reference;
/// Values, and where they stand.
mod spanned;
mod unit;
mod validate;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use audit::Audit;
pub use control::ControlTls;
pub use error::{ConfigError, Problem};
pub use feed::{Auth, Bgp, Consensus, Crowdsec, Feed, FeedAction, Guards, Http, Select, Source, Taxii};
pub use format::{Column, Columns, Format, Grammar, Json, Only, Separator, Subject, Words};
use ipnet::IpNet;
pub use l7::L7;
pub use schema::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use unit::{Bytes, Lasts, Prefix, Rate};
use weir_common::{
    control::Malformed,
    gcra::Profile,
    limit::{Dimension, PROFILES, Scope},
};

/// Largest configuration file that is read.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether anything is dropped at all.
    pub enforce: Enforce,
    /// Interfaces to protect; at least one.
    pub interfaces: Vec<Interface>,
    /// Services that limits can stand on.
    pub services: Vec<Service>,
    /// Sources that always pass.
    pub allow: Vec<IpNet>,
    /// Trusted integrations: no list drops them, and limits hold them to the partner profile.
    pub partners: Vec<IpNet>,
    /// What must stay reachable whatever lists and bans say.
    pub management: Management,
    /// Load balancers whose tunnels are opened, and which always pass themselves.
    pub balancers: Vec<IpNet>,
    /// Lists of sources.
    pub feeds: Vec<Feed>,
    /// What follows from several lists naming a source.
    pub consensus: Vec<Consensus>,
    /// Limits on services.
    pub limits: Vec<Limit>,
    /// What malformed frames get.
    pub malformed: Malformed,
    /// Where the agent listens.
    pub listen: Listen,
    /// Sizes of the kernel's tables.
    pub tables: Tables,
    /// Events that one CPU may send in a second.
    pub events_per_second: u32,
    /// The record of what was changed, by whom.
    pub audit: Audit,
    /// Decisions about requests.
    pub l7: L7,
}

/// Whether a rule drops, or only counts what it would drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Enforce {
    /// It counts and lets pass.
    // So that a first installation harms nobody.
    #[default]
    Shadow,
    /// It drops.
    Enforce,
}

impl Enforce {
    /// Returns true for shadow mode.
    #[must_use]
    pub fn is_shadow(self) -> bool {
        self == Self::Shadow
    }
}

/// An interface to protect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// How the program is attached.
    pub mode: Mode,
}

/// How a program is attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The first of the others that the interface takes.
    #[default]
    Auto,
    /// In the driver, before the kernel spends a socket buffer.
    Native,
    /// In the stack; works with every driver, at two to three times the cost.
    Generic,
    /// Behind XDP and GRO, at the price of a socket buffer; beside any other program.
    Tcx,
}

impl Mode {
    /// Returns the name used in configuration, metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
        }
    }
}

/// A service that limits can stand on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its ports, ranges expanded.
    pub ports: Vec<Port>,
}

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Port number, not 0.
    pub number: u16,
    /// Protocol it is a port of.
    pub protocol: Protocol,
}

/// A protocol that services have ports of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP, and so QUIC.
    Udp,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range: validate::PortRange = text.parse()?;
        if range.first != range.last {
            return Err("one port, not a range".to_owned());
        }
        Ok(Self { number: range.first, protocol: range.protocol })
    }
}

/// From where, and on which ports, the host is managed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Management {
    /// Sources that always pass.
    pub sources: Vec<IpNet>,
    /// Ports that no list and no ban cuts off.
    pub ports: Vec<Port>,
}

/// A limit on a service, in one dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Its name, also in metrics. A limit with several dimensions has the dimension added.
    pub name: String,
    /// The service that it stands on; nothing: control packets of all services.
    pub service: Option<String>,
    /// What it counts.
    pub dimension: Dimension,
    /// Rate and burst for each of [`weir_common::limit::PROFILE_NAMES`].
    pub paces: [Pace; PROFILES],
    /// Whose packets are counted together.
    pub scope: Scope,
    /// The soft band: packets that use more than so many 256ths of the burst are reported. 0: none.
    pub soft: u8,
    /// Whether it drops, or only counts what it would drop.
    pub enforce: Enforce,
}

/// A rate and a burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Units a second.
    pub rate: f64,
    /// Units at once.
    pub burst: u64,
    /// The same for the kernel.
    pub profile: Profile,
}

/// Where the agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Commands: the Unix socket that is made there.
    pub control: PathBuf,
    /// The same over TCP, for who has a certificate; nothing: not at all.
    pub control_tls: Option<ControlTls>,
    /// Metrics and health.
    pub metrics: SocketAddr,
    /// The status page, which shows addresses: on the loopback only, or not at all.
    pub status: Option<SocketAddr>,
}

/// Sizes of the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// IPv4 entries to make room for; nothing: what there is at start. A list that grows makes the table grow.
    pub ipv4: Option<u64>,
    /// IPv6 entries to make room for, likewise.
    pub ipv6: Option<u64>,
    /// log2 of the limiter's lines.
    pub limiter_bits: u32,
}

impl Config {
    /// Returns what takes effect at a start only and is different in `other`.
    #[must_use]
    pub fn at_start(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (&self.l7, &other.l7);
        let same = [
            ("listen", self.listen == other.listen),
            ("tables", self.tables == other.tables),
            ("audit", self.audit == other.audit),
            ("l7.listen", ours.listen == theirs.listen),
            ("l7.bouncers", ours.bouncers == theirs.bouncers),
            ("l7.push", ours.push == theirs.push),
            ("l7.fleet", ours.fleet == theirs.fleet),
            ("l7.notify", ours.notify == theirs.notify),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// Reads and validates a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &Self::read(path)?)
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] where it cannot be read, or is too large.
    pub fn read(path: &Path) -> Result<String, ConfigError> {
        let unreadable = |why: &str| ConfigError::unreadable(path, why);
        let size = fs::metadata(path).map_err(|e| unreadable(&e.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(&format!("{size} bytes, more than {FILE_BYTES_MAX}")));
        }
        fs::read_to_string(path).map_err(|e| unreadable(&e.to_string()))
    }

    /// Validates the text of a configuration file; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: raw::Config =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::from_yaml(path, text, &error))?;
        validate::validate(raw).map_err(|problems| ConfigError::new(path, text, problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../config/example.yaml");
    const SMALLEST: &str = "
enforce: enforce            # or shadow (the default)
interfaces: [{name: eth0, mode: auto}]
services: [{name: https, ports: [443/tcp, 443/udp]}]
allow: [192.0.2.0/24]
feeds: [{name: bad, path: /etc/weir/bad.netset, format: plain, action: drop}]
limits: [{name: per-source, service: https, packets: {rate: 1000/s, burst: 2000}}]
listen: {metrics: 127.0.0.1:9646}
";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("weir.yaml"), text)
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let example = parse(EXAMPLE).unwrap();
        let bare = parse(
            "interfaces: [{name: eth0}]
services: [{name: https, ports: [443/tcp, 443/udp]}]
feeds: [{name: bad, path: /etc/weir/bad.netset, action: drop}]
limits: [{name: per-source, service: https, packets: {rate: 1000/s, burst: 2000}}]
",
        )
        .unwrap();
        assert_eq!(format!("{example:?}"), format!("{bare:?}"));
    }

    #[test]
    fn the_smallest_useful_file_is_valid() {
        let config = parse(SMALLEST).unwrap();
        assert_eq!(config.enforce, Enforce::Enforce);
        assert_eq!(config.allow.len(), 1);
        assert_eq!(config.limits[0].paces[0].burst, 2000);
    }

    #[test]
    fn errors_name_line_field_value_and_mend() {
        let lines = |text: &str| parse(text).unwrap_err().to_string();
        for (text, wants) in [
            (SMALLEST.replace("auto", "fast"), &["weir.yaml:3:", "fast", "auto"][..]),
            (SMALLEST.replace("443/tcp", "443/sctp"), &["services[0].ports[0]", "`sctp`", "tcp or udp"]),
            (SMALLEST.replace("443/tcp", "0/tcp"), &[":4:", "`0/tcp`"]),
            (SMALLEST.replace("443/udp", "443/tcp"), &["ports[1]", "belongs to service `https`"]),
            (SMALLEST.replace("192.0.2.0/24", "192.0.2.7/24"), &[":5:", "allow[0]", "write 192.0.2.0/24"]),
            (
                format!("{SMALLEST}balancers: [192.0.2.7, 10.1.1.1/8]\n"),
                &[":9:", "balancers[1]", "write 10.0.0.0/8"],
            ),
            (SMALLEST.replace("/etc/weir/bad", "bad"), &["feeds[0].path", "not absolute"]),
            (SMALLEST.replace("1000/s", "1000"), &["limits[0].packets.rate", "`1000`", "1000/s"]),
            (SMALLEST.replace("burst: 2000", "burst: 99999999"), &["limits[0].packets.rate", "hour"]),
            (SMALLEST.replace("service: https", "service: web"), &["limits[0].service", "`web`", "[https]"]),
            (SMALLEST.replace("127.0.0.1:9646", "9646"), &[":8:", "listen.metrics", "`9646`"]),
            (
                SMALLEST.replace("{metrics:", "{status: 0.0.0.0:9647, metrics:"),
                &["listen.status", "`0.0.0.0:9647`", "ssh -L"],
            ),
            (
                SMALLEST.replace("{metrics:", "{control: weir.sock, metrics:"),
                &["listen.control", "not absolute"],
            ),
            (format!("{SMALLEST}tables: {{limiter: 1MiB}}\n"), &[":9:", "tables.limiter", "8MiB to 512MiB"]),
            (format!("{SMALLEST}colour: red\n"), &[":9:", "colour", "expected one of"]),
            ("interfaces: []\n".to_owned(), &[":1:", "interfaces", "at least one"]),
            ("enforce: shadow\n".to_owned(), &["interfaces", "missing"]),
            ("interfaces: [{name: eth0}\n".to_owned(), &["weir.yaml:"]),
        ] {
            let message = lines(&text);
            for want in wants {
                assert!(message.contains(want), "no `{want}` in:\n{message}\nfor:\n{text}");
            }
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = SMALLEST.replace("443/tcp", "x").replace("1000/s", "y").replace("192.0.2.0/24", "z");
        assert_eq!(parse(&text).unwrap_err().problems.len(), 3);
    }
}
