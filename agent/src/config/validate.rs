//! From the shape of the file to what it means. Finds all problems, not just the first.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};
use weir_common::{
    control::Malformed,
    counter::INTERFACES,
    gcra::Profile,
    limit::{self, Dimension},
    map::Sizes,
};

use super::{
    Bytes, Config, Feed, Interface, Limit, Listen, Port, Protocol, Rate, Service, Tables,
    error::Problem,
    raw::{self, Text},
};

const METRICS: &str = "127.0.0.1:9646";
const EVENTS_PER_SECOND: u32 = 32;
const EVENTS_PER_SECOND_MAX: u32 = 100_000;
const LIMITER_BYTES: u64 = 128 << 20;
const V6_BITS: u8 = 64;
const NAME_MAX: usize = 64;
const INTERFACE_NAME_MAX: usize = 15;

pub(super) fn validate(raw: raw::Config) -> Result<Config, Vec<Problem>> {
    let mut check = Check::default();
    let interfaces = interfaces(&mut check, raw.interfaces);
    let services = services(&mut check, raw.services);
    let allow = check.prefixes("allow", &raw.allow);
    let balancers = check.prefixes("balancers", &raw.balancers);
    let feeds = feeds(&mut check, raw.feeds);
    let limits = limits(&mut check, raw.limits, &services);
    let listen = listen(&mut check, raw.listen);
    let tables = tables(&mut check, &raw.tables);
    let events_per_second = events(&mut check, &raw.events);
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Config {
        enforce: raw.enforce,
        interfaces,
        services,
        allow,
        balancers,
        feeds,
        limits,
        malformed: match raw.malformed {
            raw::Malformed::Drop => Malformed::Drop,
            raw::Malformed::Shadow => Malformed::Shadow,
        },
        listen,
        tables,
        events_per_second,
    })
}

fn interfaces(check: &mut Check, raw: Spanned<Vec<raw::Interface>>) -> Vec<Interface> {
    let at = raw.referenced;
    if raw.value.is_empty() {
        check.problem(at, "interfaces", "none; name at least one, like [{name: eth0}]");
    }
    if raw.value.len() >= INTERFACES as usize {
        check.problem(at, "interfaces", format!("{} of them; at most {}", raw.value.len(), INTERFACES - 1));
    }
    let mut seen = HashSet::new();
    let mut interfaces = Vec::new();
    for (i, interface) in raw.value.into_iter().enumerate() {
        let field = format!("interfaces[{i}].name");
        let name = &interface.name.value;
        if name.is_empty()
            || name.len() > INTERFACE_NAME_MAX
            || name.contains(['/', ' '])
            || name.starts_with('.')
        {
            check.problem(
                interface.name.referenced,
                &field,
                format!("`{name}` is no interface name: 1 to {INTERFACE_NAME_MAX} bytes without / and space"),
            );
        } else if !seen.insert(name.clone()) {
            check.problem(interface.name.referenced, &field, format!("`{name}` occurs twice"));
        }
        interfaces.push(Interface { name: interface.name.value, mode: interface.mode });
    }
    interfaces
}

fn services(check: &mut Check, raw: Vec<raw::Service>) -> Vec<Service> {
    let mut names = HashSet::new();
    let mut owners: HashMap<Port, String> = HashMap::new();
    let mut services = Vec::new();
    for (i, service) in raw.into_iter().enumerate() {
        if i + 1 >= limit::SERVICE_CAPACITY as usize {
            check.problem(service.name.referenced, "services", format!("more than {i}"));
            break;
        }
        let name = check.name(&format!("services[{i}].name"), &service.name, &mut names);
        if service.ports.value.is_empty() {
            check.problem(
                service.ports.referenced,
                &format!("services[{i}].ports"),
                "none; write at least one, like 443/tcp",
            );
        }
        let mut ports = Vec::new();
        for (j, text) in service.ports.value.iter().enumerate() {
            let field = format!("services[{i}].ports[{j}]");
            let Some(range) = check.parse::<PortRange>(&field, text) else { continue };
            for number in range.first..=range.last {
                let port = Port { number, protocol: range.protocol };
                if let Some(owner) = owners.insert(port, name.clone()) {
                    check.problem(
                        text.referenced,
                        &field,
                        format!("port {number} of `{}` belongs to service `{owner}` already", text.value),
                    );
                    break;
                }
                ports.push(port);
            }
        }
        services.push(Service { name, ports });
    }
    services
}

/// `443/tcp` or `8000-8100/udp`.
struct PortRange {
    first: u16,
    last: u16,
    protocol: Protocol,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write a port or a range and the protocol, like 443/tcp or 8000-8100/udp".to_owned();
        let (ports, protocol) = text.split_once('/').ok_or_else(form)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(format!("`{protocol}` is not a protocol here; use tcp or udp")),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| *n != 0).ok_or_else(form);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("the range ends before it begins; write {last}-{first}"));
        }
        Ok(Self { first, last, protocol })
    }
}

fn feeds(check: &mut Check, raw: Vec<raw::Feed>) -> Vec<Feed> {
    let mut names = HashSet::new();
    let mut feeds = Vec::new();
    for (i, feed) in raw.into_iter().enumerate() {
        let name = check.name(&format!("feeds[{i}].name"), &feed.name, &mut names);
        if !feed.path.value.starts_with('/') {
            check.problem(
                feed.path.referenced,
                &format!("feeds[{i}].path"),
                format!("`{}` is not absolute; write the whole path, from /", feed.path.value),
            );
        }
        feeds.push(Feed {
            name,
            path: PathBuf::from(feed.path.value),
            format: feed.format,
            action: feed.action,
            enforce: feed.enforce,
            can_be_empty: feed.can_be_empty,
        });
    }
    feeds
}

fn limits(check: &mut Check, raw: Vec<raw::Limit>, services: &[Service]) -> Vec<Limit> {
    let mut names = HashSet::new();
    let mut per_service: HashMap<String, u32> = HashMap::new();
    let mut limits = Vec::new();
    for (i, limit) in raw.into_iter().enumerate() {
        let at = |field: &str| format!("limits[{i}].{field}");
        let name = check.name(&at("name"), &limit.name, &mut names);
        let service = limit.service.value;
        if !services.iter().any(|known| known.name == service) {
            let known: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
            let message = format!("`{service}` is not a declared service; declared: [{}]", known.join(", "));
            check.problem(limit.service.referenced, &at("service"), message);
        }
        let v6_bits = match limit.ipv6_prefix {
            Some(bits) if !(16..=64).contains(&bits.value) => {
                check.problem(
                    bits.referenced,
                    &at("ipv6_prefix"),
                    format!("{} is not in 16 to 64", bits.value),
                );
                V6_BITS
            }
            Some(bits) => bits.value,
            None => V6_BITS,
        };
        let budgets = [
            (Dimension::Packets, limit.packets),
            (Dimension::Bytes, limit.bytes),
            (Dimension::Connections, limit.connections),
        ];
        let several = budgets.iter().filter(|(_, budget)| budget.is_some()).count();
        if several == 0 {
            let message = "limits nothing; add packets, bytes or connections with rate and burst";
            check.problem(limit.name.referenced, &at("name"), message);
        }
        for (dimension, budget) in budgets {
            let Some(budget) = budget else { continue };
            let field = at(dimension.as_str());
            let Some((rate, burst, profile)) = check.budget(&field, &budget) else { continue };
            let count = per_service.entry(service.clone()).or_default();
            *count += 1;
            if *count == limit::PER_SERVICE + 1 {
                let message = format!("service `{service}` has more than {} limits", limit::PER_SERVICE);
                check.problem(limit.name.referenced, &field, message);
            }
            limits.push(Limit {
                name: if several > 1 { format!("{name}-{}", dimension.as_str()) } else { name.clone() },
                service: service.clone(),
                dimension,
                rate,
                burst,
                profile,
                v6_bits,
                enforce: limit.enforce,
            });
        }
        if limits.len() >= limit::CAPACITY as usize {
            check.problem(limit.name.referenced, "limits", format!("more than {}", limit::CAPACITY - 1));
            break;
        }
    }
    limits
}

fn listen(check: &mut Check, raw: raw::Listen) -> Listen {
    let metrics = match raw.metrics {
        Some(text) => check.parse::<SocketAddr>("listen.metrics", &text),
        None => METRICS.parse().ok(),
    };
    Listen { metrics: metrics.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9646))) }
}

fn tables(check: &mut Check, raw: &raw::Tables) -> Tables {
    let mut entries = |field: &str, text: &Option<Text>| {
        let text = text.as_ref()?;
        check.parse::<Bytes>(field, text).map(|Bytes(count)| count)
    };
    let ipv4 = entries("tables.ipv4", &raw.ipv4);
    let ipv6 = entries("tables.ipv6", &raw.ipv6);
    let bytes = match &raw.limiter {
        Some(text) => check.parse::<Bytes>("tables.limiter", text).map_or(LIMITER_BYTES, |bytes| bytes.0),
        None => LIMITER_BYTES,
    };
    let limiter_bits = (bytes / 64).max(1).ilog2();
    if !(Sizes::LIMITER_BITS_MIN..=Sizes::LIMITER_BITS_MAX).contains(&limiter_bits)
        && let Some(text) = &raw.limiter
    {
        check.problem(
            text.referenced,
            "tables.limiter",
            format!("`{}` is not in 8MiB to 512MiB", text.value),
        );
    }
    Tables { ipv4, ipv6, limiter_bits }
}

fn events(check: &mut Check, raw: &raw::Events) -> u32 {
    let Some(per_second) = &raw.per_second else { return EVENTS_PER_SECOND };
    if per_second.value > EVENTS_PER_SECOND_MAX {
        check.problem(
            per_second.referenced,
            "events.per_second",
            format!("{} is more than {EVENTS_PER_SECOND_MAX}", per_second.value),
        );
    }
    per_second.value
}

/// Collects problems.
#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, at: Location, field: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            line: at.line(),
            column: at.column(),
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &Text) -> Option<T> {
        match text.value.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(text.referenced, field, format!("`{}`: {error}", text.value));
                None
            }
        }
    }

    /// A name that metrics can carry, used once.
    fn name(&mut self, field: &str, text: &Text, seen: &mut HashSet<String>) -> String {
        let name = &text.value;
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(valid) {
            let message = format!("`{name}` is no name: 1 to {NAME_MAX} letters, digits, - _ and .");
            self.problem(text.referenced, field, message);
        } else if !seen.insert(name.clone()) {
            self.problem(text.referenced, field, format!("`{name}` occurs twice"));
        }
        name.clone()
    }

    fn prefixes(&mut self, field: &str, texts: &[Text]) -> Vec<IpNet> {
        let prefix = |(i, text): (usize, &Text)| self.prefix(&format!("{field}[{i}]"), text);
        texts.iter().enumerate().filter_map(prefix).collect()
    }

    fn prefix(&mut self, field: &str, text: &Text) -> Option<IpNet> {
        let value = text.value.trim();
        let prefix = value.parse::<IpNet>().or_else(|_| value.parse::<IpAddr>().map(IpNet::from));
        match prefix {
            Ok(prefix) if prefix.trunc() == prefix => Some(prefix),
            Ok(prefix) => {
                let message = format!("`{value}` has bits behind its prefix; write {}", prefix.trunc());
                self.problem(text.referenced, field, message);
                None
            }
            Err(_) => {
                let message = format!("`{value}` is no address or prefix; write one like 192.0.2.0/24");
                self.problem(text.referenced, field, message);
                None
            }
        }
    }

    fn budget(&mut self, field: &str, budget: &raw::Budget) -> Option<(f64, u64, Profile)> {
        let rate = self.parse::<Rate>(&format!("{field}.rate"), &budget.rate);
        let burst = self.parse::<Bytes>(&format!("{field}.burst"), &budget.burst);
        let (rate, Bytes(burst)) = (rate?.per_second, burst?);
        match Profile::new(rate, burst) {
            Ok(profile) => Some((rate, burst, profile)),
            Err(message) => {
                let message = format!("`{}`, burst `{}`: {message}", budget.rate.value, budget.burst.value);
                self.problem(budget.rate.referenced, &format!("{field}.rate"), message);
                None
            }
        }
    }
}
