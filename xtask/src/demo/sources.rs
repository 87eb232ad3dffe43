//! Who sends, and who is listed.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result, ensure};

use crate::sh;

/// The second list, for IPv6: a network, and hosts.
pub(super) const LIST_V6: &str = "\
# Addresses for documentation (RFC 3849).
2001:db8:bad::/48
2001:db8:f00d::1
2001:db8:f00d::2
";

/// Sends more than it may.
pub(super) const EXCESSIVE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);

/// Clean clients of each family.
const CLEAN_V4: u8 = 24;
const CLEAN_V6: u16 = 8;

/// The addresses of the demonstration.
#[derive(Debug)]
pub(super) struct Sources {
    /// All of the IPv4 list.
    pub(super) listed: Vec<Ipv4Addr>,
    /// Some that the IPv6 list covers.
    pub(super) listed_v6: Vec<Ipv6Addr>,
    /// Clients that no list names, in the networks of the cable.
    pub(super) clean: Vec<IpAddr>,
}

/// Returns the packaged IPv4 list.
pub(super) fn list() -> Result<String> {
    let path = sh::root().join("config/demo/ipsum-level3.txt");
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

impl Sources {
    pub(super) fn load() -> Result<Self> {
        let listed: Vec<Ipv4Addr> = list()?
            .lines()
            .map(|line| line.parse().with_context(|| format!("list entry `{line}`")))
            .collect::<Result<_>>()?;
        let bad = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xbad, n, n, 0, 0, 1);
        let hosts = (1..=2).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0xf00d, 0, 0, 0, 0, n));
        let v4 = (100..100 + CLEAN_V4).map(|n| IpAddr::from(Ipv4Addr::new(192, 0, 2, n)));
        let v6 =
            (0x100..0x100 + CLEAN_V6).map(|n| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)));
        let sources = Self {
            listed_v6: (0..98).map(bad).chain(hosts).collect(),
            clean: v4.chain(v6).collect(),
            listed,
        };
        let listed: HashSet<IpAddr> = sources.listed.iter().map(|address| IpAddr::from(*address)).collect();
        for address in sources.clean.iter().chain([&IpAddr::from(EXCESSIVE)]) {
            ensure!(!listed.contains(address), "{address} is to be a clean source, but the list names it");
        }
        Ok(sources)
    }
}
