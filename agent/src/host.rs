//! What this host needs to be reached and to work, as far as it tells: its own addresses, the way
//! out of its networks, and who resolves names for it.
//!
//! Read anew with every policy. What cannot be read is not protected, and a warning says so.

/// Gateways, from the kernel's routes.
mod route;

use std::{fs, io, net::IpAddr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

use crate::{config::Config, policy::Protected};

/// Where resolvers are named; the second by systemd-resolved, which names itself in the first.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// Largest file of resolvers that is read.
const RESOLVERS_BYTES_MAX: u64 = 64 << 10;
/// RFC 3927 and RFC 4291 section 2.5.6.
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// Returns what nothing may cut off: each prefix once, under the first of its names.
#[must_use]
pub fn protected(config: &Config) -> Vec<(Protected, IpNet)> {
    let hosts = |what, addresses: io::Result<Vec<IpAddr>>| {
        let addresses = addresses.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot protect {what:?} addresses; name them under management.sources");
            Vec::new()
        });
        addresses.into_iter().map(move |address| (what, IpNet::from(address)))
    };
    let mut found: Vec<(Protected, IpNet)> = hosts(Protected::Own, own()).collect();
    found.extend(hosts(Protected::Gateway, route::gateways()));
    found.extend(hosts(Protected::Resolver, resolvers()));
    named(config, found)
}

/// Returns what of that is the same on every host: what the configuration names, and link-local addresses.
#[must_use]
pub fn everywhere(config: &Config) -> Vec<(Protected, IpNet)> {
    named(config, Vec::new())
}

fn named(config: &Config, found: Vec<(Protected, IpNet)>) -> Vec<(Protected, IpNet)> {
    let link_local =
        LINK_LOCAL.iter().filter_map(|prefix| Some((Protected::LinkLocal, prefix.parse().ok()?)));
    let mut all: Vec<(Protected, IpNet)> =
        config.management.sources.iter().map(|prefix| (Protected::Management, *prefix)).collect();
    all.extend(found);
    all.extend(link_local);
    all.extend(config.l7.clients.trusted.iter().map(|prefix| (Protected::TrustedProxy, *prefix)));
    let mut seen = std::collections::HashSet::new();
    all.retain(|(_, prefix)| seen.insert(*prefix));
    all
}

fn own() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in getifaddrs()? {
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            addresses.push(IpAddr::V6(v6.ip()));
        }
    }
    Ok(addresses)
}

fn resolvers() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for file in RESOLVERS {
        match fs::metadata(file) {
            Ok(metadata) if metadata.len() > RESOLVERS_BYTES_MAX => {
                return Err(io::Error::other(format!("{file} has {} bytes", metadata.len())));
            }
            Ok(_) => addresses.extend(nameservers(&fs::read_to_string(file)?)),
            // Not every host has them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(addresses)
}

/// resolv.conf(5): `nameserver ADDRESS`, the address of IPv6 perhaps with a zone.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        words.next()?.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nameservers_are_found_among_other_lines() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\n\
                    nameserver\tfe80::1%eth0\nnameserver x\noptions edns0\n nameserver 2001:db8::53 \n";
        let want: Vec<IpAddr> =
            ["192.0.2.1", "fe80::1", "2001:db8::53"].iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(nameservers(text), want);
    }

    #[test]
    fn what_is_always_there_is_protected_once() {
        let text = "interfaces: [{name: eth0}]\nmanagement: {sources: [127.0.0.1, 192.0.2.0/24]}\n\
                    l7: {clients: {trusted_proxies: [192.0.2.0/24, 203.0.113.0/24]}}\n";
        let config = Config::parse(Path::new("weir.yaml"), text).unwrap();
        let protected = protected(&config);
        let names = |prefix: &str| -> Vec<Protected> {
            let prefix: IpNet = prefix.parse().unwrap();
            protected.iter().filter(|(_, other)| *other == prefix).map(|(what, _)| *what).collect()
        };
        assert_eq!(names("127.0.0.1/32"), [Protected::Management]);
        assert_eq!(names("192.0.2.0/24"), [Protected::Management]);
        assert_eq!(names("fe80::/10"), [Protected::LinkLocal]);
        assert_eq!(names("169.254.0.0/16"), [Protected::LinkLocal]);
        assert_eq!(names("203.0.113.0/24"), [Protected::TrustedProxy]);
        assert_eq!(everywhere(&config).len(), 5);
    }
}
