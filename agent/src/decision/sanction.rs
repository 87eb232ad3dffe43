use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::rules::Rule;

/// Rules that proxies hold and the kernel does not, by longest prefix.
#[derive(Clone, Debug, Default)]
pub struct Sanctions {
    rules: HashMap<IpNet, Rule>,
    /// Prefix lengths that occur, of IPv4 and of IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl Sanctions {
    /// Takes those out of all rules in force.
    #[must_use]
    pub fn new(rules: impl Iterator<Item = Rule>) -> Self {
        let mut sanctions = Self::default();
        for rule in rules.filter(|rule| rule.proxy_only) {
            let family = usize::from(matches!(rule.prefix, IpNet::V6(_)));
            sanctions.lengths[family].insert(rule.prefix.prefix_len());
            sanctions.rules.insert(rule.prefix, rule);
        }
        sanctions
    }

    /// Returns the rule for an address that is in force at `now`, in seconds since 1970.
    #[must_use]
    pub fn of(&self, address: IpAddr, now: u64) -> Option<&Rule> {
        let family = usize::from(address.is_ipv6());
        let prefixes =
            self.lengths[family].iter().rev().filter_map(|length| IpNet::new(address, *length).ok());
        prefixes
            .filter_map(|prefix| self.rules.get(&prefix.trunc()))
            .find(|rule| rule.until.is_none_or(|until| until > now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::samples;

    #[test]
    fn the_longest_prefix_that_is_in_force_holds() {
        let rule = |prefix: &str, until, proxy_only| Rule { until, proxy_only, ..samples::rule(prefix) };
        let rules = [
            rule("192.0.2.0/24", None, true),
            rule("192.0.2.7/32", Some(100), true),
            rule("198.51.100.7/32", None, false),
        ];
        let sanctions = Sanctions::new(rules.into_iter());
        let of = |address: &str, seconds| {
            sanctions.of(address.parse().unwrap(), seconds).map(|rule| rule.prefix.to_string())
        };
        assert_eq!(of("192.0.2.7", 99).as_deref(), Some("192.0.2.7/32"));
        assert_eq!(of("192.0.2.7", 100).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(of("198.51.100.7", 0), None, "that is the kernel's");
        assert_eq!(of("2001:db8::1", 0), None);
    }
}
