//! From the shape of the file to what it means. Finds all problems, not just the first.

/// Problems, and what every part of the file is made of.
pub(super) mod check;
/// Feeds.
mod feeds;
/// Limits.
mod limits;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
};

use crate::config::spanned::Spanned;
use weir_common::{control::Malformed, counter::INTERFACES, limit, map::Sizes};

use super::{
    Bytes, Config, Interface, Listen, Management, Port, Protocol, Service, Tables, audit,
    error::Problem,
    l7,
    raw::{self, Text},
};
use check::Check;

const CONTROL: &str = "/run/weir/weir.sock";
/// `sun_path` of unix(7), with the zero behind it.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;
const METRICS: &str = "127.0.0.1:9646";
const EVENTS_PER_SECOND: u32 = 32;
const EVENTS_PER_SECOND_MAX: u32 = 100_000;
const LIMITER_BYTES: u64 = 128 << 20;
const INTERFACE_NAME_MAX: usize = 15;

pub(super) fn validate(raw: raw::Config) -> Result<Config, Vec<Problem>> {
    let mut check = Check::default();
    let interfaces = interfaces(&mut check, raw.interfaces);
    let mut owners = HashMap::new();
    let services = services(&mut check, raw.services, &mut owners);
    let allow = check.prefixes("allow", &raw.allow);
    let partners = check.prefixes("partners", &raw.partners);
    let management = management(&mut check, &raw.management, &mut owners);
    let balancers = check.prefixes("balancers", &raw.balancers);
    let feeds = feeds::feeds(&mut check, raw.feeds);
    let consensus = feeds::consensus(&mut check, raw.consensus, &feeds);
    let limits = limits::limits(&mut check, raw.limits, &services);
    let listen = listen(&mut check, raw.listen);
    let tables = tables(&mut check, &raw.tables);
    let events_per_second = events(&mut check, &raw.events);
    let audit = audit::validate(&mut check, &raw.audit);
    let l7 = l7::validate(&mut check, raw.l7);
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Config {
        enforce: raw.enforce,
        interfaces,
        services,
        allow,
        partners,
        management,
        balancers,
        feeds,
        consensus,
        limits,
        malformed: match raw.malformed {
            raw::Malformed::Drop => Malformed::Drop,
            raw::Malformed::Shadow => Malformed::Shadow,
        },
        listen,
        tables,
        events_per_second,
        audit,
        l7,
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

/// Which service a port belongs to.
type Owners = HashMap<Port, String>;

fn services(check: &mut Check, raw: Vec<raw::Service>, owners: &mut Owners) -> Vec<Service> {
    let mut names = HashSet::new();
    let mut services = Vec::new();
    for (i, service) in raw.into_iter().enumerate() {
        if i + 1 >= usize::from(limit::MANAGEMENT) {
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
        let ports = ports(
            check,
            &format!("services[{i}].ports"),
            &service.ports.value,
            &format!("service `{name}`"),
            owners,
        );
        services.push(Service { name, ports });
    }
    services
}

fn management(check: &mut Check, raw: &raw::Management, owners: &mut Owners) -> Management {
    Management {
        sources: check.prefixes("management.sources", &raw.sources),
        ports: ports(check, "management.ports", &raw.ports, "management", owners),
    }
}

fn ports(check: &mut Check, field: &str, raw: &[Text], owner: &str, owners: &mut Owners) -> Vec<Port> {
    let mut ports = Vec::new();
    for (i, text) in raw.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let Some(range) = check.parse::<PortRange>(&field, text) else { continue };
        for number in range.first..=range.last {
            let port = Port { number, protocol: range.protocol };
            if let Some(other) = owners.insert(port, owner.to_owned()) {
                let message = format!("port {number} of `{}` belongs to {other} already", text.value);
                check.problem(text.referenced, &field, message);
                break;
            }
            ports.push(port);
        }
    }
    ports
}

/// `443/tcp` or `8000-8100/udp`.
pub(super) struct PortRange {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) protocol: Protocol,
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

fn listen(check: &mut Check, raw: raw::Listen) -> Listen {
    let metrics = match raw.metrics {
        Some(text) => check.parse::<SocketAddr>("listen.metrics", &text),
        None => METRICS.parse().ok(),
    };
    let status = raw.status.and_then(|text| status(check, &text));
    Listen {
        control_tls: raw.control_tls.and_then(|raw| super::control::validate(check, &raw)),
        status,
        control: raw.control.map_or_else(|| PathBuf::from(CONTROL), |text| control(check, text)),
        metrics: metrics.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9646))),
    }
}

/// The page shows who is banned and why, and knows nobody by name.
fn status(check: &mut Check, text: &Text) -> Option<SocketAddr> {
    let address = check.parse::<SocketAddr>("listen.status", text)?;
    if !address.ip().is_loopback() {
        check.problem(
            text.referenced,
            "listen.status",
            format!(
                "`{address}` can be reached from elsewhere, and the page shows addresses to everybody; write \
                 127.0.0.1:{0} and use `ssh -L {0}:127.0.0.1:{0}`, or a proxy that asks who it is",
                address.port()
            ),
        );
    }
    Some(address)
}

fn control(check: &mut Check, text: Text) -> PathBuf {
    let path = &text.value;
    let problem = if !path.starts_with('/') {
        Some("is not absolute; write the whole path, from /".to_owned())
    } else if path.len() > SOCKET_PATH_BYTES_MAX {
        Some(format!("has {} bytes; the path of a socket has at most {SOCKET_PATH_BYTES_MAX}", path.len()))
    } else {
        None
    };
    if let Some(problem) = problem {
        check.problem(text.referenced, "listen.control", format!("`{path}` {problem}"));
    }
    PathBuf::from(text.value)
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
