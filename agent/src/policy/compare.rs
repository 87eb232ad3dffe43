//! What another policy would change, address by address.
//!
//! Both policies are swept once, side by side: each cuts the address space into segments of one class,
//! and where their fates differ the segment is counted.

/// Two sorted lists of nested prefixes as ranges, side by side.
mod sweep;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustc_hash::FxHashMap;
use serde::Serialize;
use weir_common::{
    class::{Action, ClassId},
    limit::{PARTNER, SUSPICIOUS},
};

use super::{
    Origin,
    classes::{ClassSpec, Classes},
    merge::{Entry, Merged},
};
use sweep::{Segments, Span, prefixes, sweep};

/// Examples of a transition in each family.
const EXAMPLES: usize = 5;

/// What becomes of packets of an address, as far as lists decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// No list names it: limits hold it to the pace of everybody.
    Pass,
    /// It passes, whatever else is said.
    Allow,
    /// It passes, and limits hold it to the pace of partners.
    Partner,
    /// A list names it and nothing follows.
    Observe,
    /// It passes, and limits hold it to the pace of the suspicious.
    Suspicious,
    /// It passes and is counted as dropped: a list, or all of the policy, is in shadow mode.
    WouldDrop,
    /// It is dropped.
    Drop,
}

impl Fate {
    /// Returns its name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Allow => "allow",
            Self::Partner => "partner",
            Self::Observe => "observe",
            Self::Suspicious => "suspicious",
            Self::WouldDrop => "would-drop",
            Self::Drop => "drop",
        }
    }

    fn of(spec: &ClassSpec, shadow: bool) -> Self {
        match (spec.action, spec.profile) {
            (Action::Allow, _) => Self::Allow,
            (Action::Drop, _) if spec.shadow || shadow => Self::WouldDrop,
            (Action::Drop, _) => Self::Drop,
            (Action::Observe, PARTNER) => Self::Partner,
            (Action::Observe, SUSPICIOUS) => Self::Suspicious,
            (Action::Observe, _) => Self::Observe,
        }
    }
}

/// A policy to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Side<'p> {
    /// Its lists.
    pub merged: &'p Merged,
    /// The numbers in there.
    pub classes: &'p Classes,
    /// It drops nothing.
    pub shadow: bool,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// IPv4 prefixes, as few as say it.
    pub ipv4_prefixes: u64,
    /// IPv4 addresses.
    pub ipv4_addresses: u64,
    /// IPv6 prefixes, as few as say it.
    pub ipv6_prefixes: u64,
    /// IPv6 /64s; a part of one counts as one.
    pub ipv6_networks: u64,
}

/// Addresses whose fate changes in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// What becomes of them before.
    pub from: Fate,
    /// And after.
    pub to: Fate,
    /// How many there are.
    #[serde(flatten)]
    pub amount: Amount,
    /// The largest of them, IPv4 first.
    pub examples: Vec<Example>,
}

/// A prefix whose fate changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The prefix.
    pub prefix: IpNet,
    /// Lists that name it before.
    pub before: Vec<Origin>,
    /// And after.
    pub after: Vec<Origin>,
}

/// The part that a list has in a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The list.
    pub list: Origin,
    /// What becomes of these addresses before.
    pub from: Fate,
    /// And after.
    pub to: Fate,
    /// How many there are.
    #[serde(flatten)]
    pub amount: Amount,
}

/// What another policy would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Addresses whose fate changes; what is dropped at the end first.
    pub transitions: Vec<Transition>,
    /// The lists that lead to it: those that name the addresses on one side only, or, where both sides
    /// have the same, all. What two lists name is counted for both.
    pub lists: Vec<Share>,
}

type Pair = (ClassId, ClassId);
/// How many bits of an address a prefix leaves open, the prefix, and its classes.
type Large = (u32, IpNet, Pair);

/// Compares two policies exactly.
#[must_use]
pub fn compare(before: Side<'_>, after: Side<'_>) -> Comparison {
    let mut count = Count { before: Fates::of(before), after: Fates::of(after), ..Count::default() };
    let v4 = |entry: &Entry<u32>| Span::new(u128::from(entry.network), entry.length, 32, entry.class);
    sweep(
        Segments::new(before.merged.v4.iter().map(v4), 32),
        Segments::new(after.merged.v4.iter().map(v4), 32),
        |first, last, pair| count.add(first, last, pair, Family::V4),
    );
    let v6 = |entry: &Entry<weir_common::addr::V6>| {
        let network = u128::from(entry.network.high) << 64 | u128::from(entry.network.low);
        Span::new(network, entry.length, 128, entry.class)
    };
    sweep(
        Segments::new(before.merged.v6.iter().map(v6), 128),
        Segments::new(after.merged.v6.iter().map(v6), 128),
        |first, last, pair| count.add(first, last, pair, Family::V6),
    );
    count.finish(before.classes, after.classes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// The fates of classes, by number.
#[derive(Default)]
struct Fates(Vec<Fate>);

impl Fates {
    fn of(side: Side<'_>) -> Self {
        let fates = side.classes.iter().map(|(_, spec)| Fate::of(spec, side.shadow));
        Self(std::iter::once(Fate::Pass).chain(fates).collect())
    }

    fn get(&self, class: ClassId) -> Fate {
        self.0.get(usize::from(class)).copied().unwrap_or(Fate::Pass)
    }
}

#[derive(Default)]
struct Count {
    before: Fates,
    after: Fates,
    pairs: FxHashMap<Pair, Amount>,
    /// The largest prefixes of each transition, by family.
    largest: BTreeMap<(Fate, Fate), [Vec<Large>; 2]>,
}

impl Count {
    fn add(&mut self, first: u128, last: u128, pair: Pair, family: Family) {
        let change = (self.before.get(pair.0), self.after.get(pair.1));
        if change.0 == change.1 {
            return;
        }
        let amount = self.pairs.entry(pair).or_default();
        let [v4, v6] = self.largest.entry(change).or_default();
        let largest = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        for (network, open) in prefixes(first, last) {
            match family {
                Family::V4 => {
                    amount.ipv4_prefixes += 1;
                    amount.ipv4_addresses += 1 << open.min(63);
                }
                Family::V6 => {
                    amount.ipv6_prefixes += 1;
                    let networks = 1u64.checked_shl(open.saturating_sub(64)).unwrap_or(u64::MAX);
                    amount.ipv6_networks = amount.ipv6_networks.saturating_add(networks);
                }
            }
            let full = largest.len() == EXAMPLES;
            if full && largest.last().is_some_and(|(least, ..)| *least >= open) {
                continue;
            }
            let Some(prefix) = net(network, open, family) else { continue };
            let place = largest.partition_point(|(other, ..)| *other >= open);
            largest.insert(place, (open, prefix, pair));
            largest.truncate(EXAMPLES);
        }
    }

    fn finish(self, before: &Classes, after: &Classes) -> Comparison {
        let origins = |classes: &Classes, class| -> Vec<Origin> {
            classes.get(class).map(|spec| spec.origins.clone()).unwrap_or_default()
        };
        let mut transitions: BTreeMap<(Fate, Fate), Amount> = BTreeMap::new();
        let mut lists: BTreeMap<(Origin, Fate, Fate), Amount> = BTreeMap::new();
        for (pair, amount) in &self.pairs {
            let (from, to) = (self.before.get(pair.0), self.after.get(pair.1));
            transitions.entry((from, to)).or_default().add(amount);
            for list in behind(&origins(before, pair.0), &origins(after, pair.1)) {
                lists.entry((list, from, to)).or_default().add(amount);
            }
        }
        let example = |(_, prefix, pair): &Large| Example {
            prefix: *prefix,
            before: origins(before, pair.0),
            after: origins(after, pair.1),
        };
        let transition = |((from, to), amount): ((Fate, Fate), Amount)| {
            let examples = self.largest.get(&(from, to)).into_iter().flatten().flatten().map(example);
            Transition { from, to, amount, examples: examples.collect() }
        };
        let share = |((list, from, to), amount)| Share { list, from, to, amount };
        let mut transitions: Vec<_> = transitions.into_iter().map(transition).collect();
        let mut lists: Vec<_> = lists.into_iter().map(share).collect();
        let order =
            |one: (Fate, Fate), other: (Fate, Fate)| -> Ordering { (other.1, other.0).cmp(&(one.1, one.0)) };
        transitions.sort_by(|one, other| order((one.from, one.to), (other.from, other.to)));
        lists.sort_by(|one, other| {
            order((one.from, one.to), (other.from, other.to)).then_with(|| one.list.cmp(&other.list))
        });
        Comparison { transitions, lists }
    }
}

impl Amount {
    fn add(&mut self, other: &Self) {
        let Self { ipv4_prefixes, ipv4_addresses, ipv6_prefixes, ipv6_networks } = other;
        self.ipv4_prefixes += ipv4_prefixes;
        self.ipv4_addresses += ipv4_addresses;
        self.ipv6_prefixes += ipv6_prefixes;
        self.ipv6_networks = self.ipv6_networks.saturating_add(*ipv6_networks);
    }
}

/// Returns the lists that lead from one fate to another: those on one side only; where there are none,
/// it is what they say that has changed, or the mode.
fn behind(before: &[Origin], after: &[Origin]) -> Vec<Origin> {
    let gone = before.iter().filter(|list| !after.contains(list));
    let come = after.iter().filter(|list| !before.contains(list));
    let mut lists: Vec<Origin> = gone.chain(come).cloned().collect();
    if lists.is_empty() {
        lists.extend_from_slice(after);
    }
    lists
}

#[expect(clippy::cast_possible_truncation, reason = "an address of the family")]
fn net(network: u128, open: u32, family: Family) -> Option<IpNet> {
    Some(match family {
        Family::V4 => {
            let length = u8::try_from(32u32.checked_sub(open)?).ok()?;
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from(network as u32), length).ok()?)
        }
        Family::V6 => {
            let length = u8::try_from(128u32.checked_sub(open)?).ok()?;
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from(network), length).ok()?)
        }
    })
}

#[cfg(test)]
mod tests;
