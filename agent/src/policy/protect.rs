//! What lists must not cut off, and which of them tried.
//!
//! A list that names the gateway, or the address from which the host is managed, would lock the
//! operator out. Such sources are allowed in front of all lists, so what a list says of them has no
//! effect, though it has on the rest of a wider entry; this tells where that happened.

use std::fmt::Write as _;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_common::{
    addr::{Address, V6, network_v4},
    class::Action,
    limit::PARTNER,
};

use super::{List, Origin, Protected};
use crate::output::counted;

/// Conflicts of one list that are told one by one; the rest is counted.
const TOLD_MAX: usize = 20;

/// Entries of a list that name what it must not cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflicts {
    /// The list.
    pub list: Origin,
    /// How many of its entries.
    pub entries: usize,
    /// The first of them.
    pub first: Vec<Conflict>,
}

/// An entry of a list, and what it would have cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The entry.
    pub entry: IpNet,
    /// What it covers, or lies in.
    pub protected: IpNet,
    /// Why that is protected.
    pub what: Protected,
}

/// Returns the prefixes by what they are.
pub(super) fn grouped(
    protected: &[(Protected, IpNet)],
) -> impl Iterator<Item = (Protected, Vec<IpNet>)> + use<'_> {
    let kinds: std::collections::BTreeSet<Protected> = protected.iter().map(|(what, _)| *what).collect();
    kinds.into_iter().map(|kind| {
        let same = protected.iter().filter(|(what, _)| *what == kind);
        (kind, same.map(|(_, prefix)| *prefix).collect())
    })
}

/// Returns the lists that drop or throttle, but for what is protected. Each entry is told once.
#[must_use]
pub fn conflicts(lists: &[List], protected: &[(Protected, IpNet)]) -> Vec<Conflicts> {
    let held = |list: &&List| matches!(list.origin, Origin::Feed(_)) && list.action != Action::Allow;
    let sieve = Sieve::of(protected);
    lists.iter().filter(held).filter_map(|list| conflicts_of(list, protected, &sieve)).collect()
}

/// A bit for each /16 of IPv4 that meets something protected: lists are long, and nearly all of their
/// entries are nowhere near.
struct Sieve(Vec<u64>);

impl Sieve {
    const LENGTH: u8 = 16;

    fn of(protected: &[(Protected, IpNet)]) -> Self {
        let mut bits = vec![0; 1 << (Self::LENGTH - 6)];
        for (_, prefix) in protected {
            // Of any length that `meets` takes it for, also where it is v4-mapped.
            if let Address::V4(network) = Address::from(prefix.addr()) {
                let length = prefix.prefix_len().min(Self::LENGTH);
                let (network, wider) = (network_v4(network, length.into()), Self::LENGTH - length);
                for number in (network >> 16)..(network >> 16) + (1 << wider) {
                    bits[number as usize >> 6] |= 1 << (number & 63);
                }
            }
        }
        Self(bits)
    }

    /// Returns false if an entry certainly meets nothing protected.
    fn lets_through(&self, network: Address, length: u8) -> bool {
        match network {
            Address::V4(bits) if length >= Self::LENGTH => {
                self.0[bits as usize >> 22] >> (bits >> 16 & 63) & 1 != 0
            }
            Address::V4(_) | Address::V6(_) => true,
        }
    }
}

fn conflicts_of(list: &List, protected: &[(Protected, IpNet)], sieve: &Sieve) -> Option<Conflicts> {
    let mut told = Conflicts { list: list.origin.clone(), entries: 0, first: Vec::new() };
    let near = list.prefixes().filter(|&(network, length)| sieve.lets_through(network, length));
    for (network, length) in near {
        let Some((what, prefix)) = protected.iter().find(|(_, prefix)| meets(network, length, prefix)) else {
            continue;
        };
        told.entries += 1;
        if told.first.len() < TOLD_MAX
            && let Ok(entry) = IpNet::new(std::net::IpAddr::from(network), length)
        {
            told.first.push(Conflict { entry, protected: *prefix, what: *what });
        }
    }
    (told.entries > 0).then_some(told)
}

/// Returns the lists whose sources no ban may cut off and no rule slow down.
pub fn untouchable(lists: &[List]) -> impl Iterator<Item = &List> {
    let passes = |list: &List| list.action == Action::Allow && !list.shadow;
    let spared =
        |list: &List| list.profile == PARTNER || list.origin == Origin::Protected(Protected::TrustedProxy);
    lists.iter().filter(move |list| passes(list) || spared(list))
}

/// Returns the first entry of these lists that `prefix` covers or lies in, and whose it is.
pub fn met<'l>(prefix: IpNet, lists: impl Iterator<Item = &'l List>) -> Option<(Origin, IpNet)> {
    let network = Address::from(prefix.network());
    for list in lists {
        for (entry, length) in list.prefixes() {
            if let Ok(entry) = IpNet::new(entry.into(), length)
                && meets(network, prefix.prefix_len(), &entry)
            {
                return Some((list.origin.clone(), entry));
            }
        }
    }
    None
}

/// Returns the conflicts in words; nothing where there are none.
#[must_use]
pub fn text(conflicts: &[Conflicts]) -> String {
    let mut text = String::new();
    for Conflicts { list, entries, first } in conflicts {
        let what = counted(*entries, "entry");
        let meet = if *entries == 1 { "meets" } else { "meet" };
        _ = writeln!(
            text,
            "\n{list}: {what} {meet} what must not be cut off, which passes; the rest of a prefix has its effect"
        );
        for Conflict { entry, protected, what } in first {
            _ = writeln!(text, "  {entry} meets {protected} ({})", what.as_str());
        }
        if *entries > first.len() {
            _ = writeln!(text, "  and {} more", entries - first.len());
        }
    }
    text
}

/// Two prefixes meet if their first bits, as many as the shorter has, are the same.
fn meets(network: Address, length: u8, prefix: &IpNet) -> bool {
    let shorter = u32::from(length.min(prefix.prefix_len()));
    match (network, Address::from(prefix.addr())) {
        (Address::V4(one), Address::V4(other)) => network_v4(one, shorter) == network_v4(other, shorter),
        (Address::V6(one), Address::V6(other)) => V6::network(one, shorter) == V6::network(other, shorter),
        (Address::V4(_), Address::V6(_)) | (Address::V6(_), Address::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::feed::Entries;

    fn list(action: Action, v4: &[(u32, u8)]) -> List {
        let entries = Entries { v4: v4.to_vec(), v6: vec![(V6 { high: 0xfe80 << 48, low: 1 }, 128)] };
        let origin = Origin::Feed("bad".to_owned());
        List { origin, action, shadow: false, profile: 0, votes: Arc::default(), entries: Arc::new(entries) }
    }

    fn protected(pairs: &[(Protected, &str)]) -> Vec<(Protected, IpNet)> {
        pairs.iter().map(|(what, prefix)| (*what, prefix.parse().unwrap())).collect()
    }

    #[test]
    fn entries_around_and_inside_are_told() {
        let protected = protected(&[
            (Protected::Gateway, "10.0.0.1/32"),
            (Protected::Management, "192.0.2.0/24"),
            (Protected::LinkLocal, "fe80::/10"),
            (Protected::TrustedProxy, "203.0.113.0/28"),
        ]);
        let lists = [
            list(Action::Drop, &[(0x0a00_0000, 8), (0xc000_0207, 32), (0xc633_6401, 32), (0xcb00_7107, 32)]),
            list(Action::Allow, &[(0x0a00_0001, 32)]),
        ];
        let told = conflicts(&lists, &protected);
        assert_eq!((told.len(), told[0].entries), (1, 4));
        let entries: Vec<_> = told[0].first.iter().map(|c| (c.entry.to_string(), c.what.as_str())).collect();
        let want = [
            ("10.0.0.0/8".to_owned(), "gateway"),
            ("192.0.2.7/32".to_owned(), "management"),
            ("203.0.113.7/32".to_owned(), "trusted proxy"),
            ("fe80::1/128".to_owned(), "link-local"),
        ];
        assert_eq!(entries, want);
    }

    proptest::proptest! {
        #[test]
        fn the_sieve_lets_through_what_meets(
            entry in (0u32..1 << 20, 0u8..=32), other in (0u32..1 << 20, 0u8..=32), mapped: bool,
        ) {
            // Some /16s, with the lower bits at their ends.
            let address = |bits: u32| 0x0a00_0000 | (bits & 0xf) << 16 | (bits >> 4);
            let (network, length) = (network_v4(address(entry.0), entry.1.into()), entry.1);
            let v4 = std::net::Ipv4Addr::from_bits(address(other.0));
            let prefix = if mapped {
                IpNet::new(v4.to_ipv6_mapped().into(), 96 + other.1).unwrap()
            } else {
                IpNet::new(v4.into(), other.1).unwrap()
            };
            let (network, sieve) = (Address::V4(network), Sieve::of(&[(Protected::Own, prefix)]));
            proptest::prop_assert!(!meets(network, length, &prefix) || sieve.lets_through(network, length));
        }
    }

    #[test]
    fn what_a_ban_meets_is_named() {
        let gateway = Entries { v4: vec![(0x0a00_0001, 32)], v6: Vec::new() };
        let partner = list(Action::Observe, &[(0xc000_0200, 24)]);
        let lists = [
            List {
                origin: Origin::Protected(Protected::Gateway),
                entries: Arc::new(gateway),
                ..list(Action::Allow, &[])
            },
            list(Action::Drop, &[(0xc633_6400, 24)]),
            List { origin: Origin::Partners, profile: PARTNER, ..partner },
        ];
        let met = |prefix: &str| {
            let (origin, entry) = met(prefix.parse().unwrap(), untouchable(&lists))?;
            Some(format!("{entry} {origin}"))
        };
        assert_eq!(met("10.0.0.0/8").as_deref(), Some("10.0.0.1/32 gateway"));
        assert_eq!(met("192.0.2.7/32").as_deref(), Some("192.0.2.0/24 partners"));
        assert_eq!(met("198.51.100.0/24"), None);
        assert_eq!(met("2001:db8::/32"), None);
    }

    #[test]
    fn a_list_full_of_conflicts_is_told_in_short() {
        let many: Vec<(u32, u8)> = (0..1000).map(|n| (0xc000_0200 + n, 32)).collect();
        let told = conflicts(&[list(Action::Drop, &many)], &protected(&[(Protected::Own, "192.0.0.0/16")]));
        assert_eq!((told[0].entries, told[0].first.len()), (1000, TOLD_MAX));
    }
}
