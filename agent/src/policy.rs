//! From configuration and lists to classes and prefixes, and from those to table lines. Pure: no
//! I/O, no clock; randomness is an argument.

/// The numbers behind which the kernel knows what lists say.
pub mod classes;
/// The numbers behind which the kernel knows limits.
pub mod limits;
/// What lists must not cut off, and which of them tried.
pub mod protect;
/// Several lists into one list of prefixes, each with a class.
pub mod merge;
/// What is different from the lists before, and merged alone.
pub mod change;
/// What another policy would change, address by address.
pub mod compare;
/// A policy into lines.
pub mod compile;
/// Which of the two generations holds what.
pub mod generations;
/// What may not be meant so.
pub mod warnings;
/// By what it is seen that somebody else has written there.
pub mod seal;

use std::{fmt, iter, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_common::{
    addr::Address,
    class::Action,
    control::Malformed,
    limit::{DEFAULT, PARTNER, SUSPICIOUS},
};

use crate::{
    config::{self, Config, FeedAction},
    feed::{Entries, Feed},
};
use limits::LimitNumbers;

/// Everything that decides about packets, as one value.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Drops nothing.
    pub shadow: bool,
    /// What malformed frames get.
    pub malformed: Malformed,
    /// Lists, those that pass first.
    pub lists: Vec<List>,
    /// Services that limits stand on.
    pub services: Vec<config::Service>,
    /// Ports that no list and no ban cuts off.
    pub management: Vec<config::Port>,
    /// Limits and the numbers by which the kernel knows them.
    pub limits: Vec<(u8, config::Limit)>,
}

/// A list of sources and what happens to them.
#[derive(Clone, Debug)]
pub struct List {
    /// Where it comes from.
    pub origin: Origin,
    /// What happens to its sources.
    pub action: Action,
    /// Counts what it would do.
    pub shadow: bool,
    /// To which profile limits hold its sources; see [`weir_common::limit::PROFILE_NAMES`].
    pub profile: u8,
    /// What its word adds to what several lists say together.
    pub votes: Arc<[Vote]>,
    /// Its sources.
    pub entries: Arc<Entries>,
}

/// What being on a list adds to a consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The consensus.
    pub on: config::Consensus,
    /// By how much.
    pub weight: u32,
}

/// Where a list comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The `allow` of the configuration.
    Allow,
    /// The `partners` of the configuration.
    Partners,
    /// What the host needs to be reached and to work, whatever lists say.
    Protected(Protected),
    /// The `balancers` of the configuration.
    Balancer,
    /// The feed of this name.
    Feed(String),
    /// Feeds whose word together is enough: the `consensus` of this name.
    Consensus(String),
}

/// What lists must not cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protected {
    /// From where the host is managed: `management.sources` of the configuration.
    Management,
    /// An address of this host.
    Own,
    /// The way out of its networks.
    Gateway,
    /// Who resolves names for it.
    Resolver,
    /// Link-local addresses (RFC 3927, RFC 4291): neighbours, routers, cloud metadata.
    LinkLocal,
    /// Hops whose word about the client is believed: `l7.clients.trusted_proxies`. Their packets are
    /// those of many clients. No list and no ban drops them; limits hold for them as for anybody, since
    /// the ranges that are named may be wide.
    TrustedProxy,
}

impl Protected {
    /// Returns what it is called in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Own => "own address",
            Self::Gateway => "gateway",
            Self::Resolver => "resolver",
            Self::LinkLocal => "link-local",
            Self::TrustedProxy => "trusted proxy",
        }
    }

    /// Returns what happens to packets from there.
    const fn action(self) -> Action {
        match self {
            Self::Management | Self::Own | Self::Gateway | Self::Resolver | Self::LinkLocal => Action::Allow,
            Self::TrustedProxy => Action::Observe,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Partners => f.write_str("partners"),
            Self::Protected(what) => f.write_str(what.as_str()),
            Self::Balancer => f.write_str("balancer"),
            Self::Feed(name) => write!(f, "feed {name}"),
            Self::Consensus(name) => write!(f, "consensus {name}"),
        }
    }
}

impl Policy {
    /// Returns the policy of a configuration and the present lists of its feeds. `protected` are
    /// sources that nothing may cut off.
    #[must_use]
    pub fn new(
        config: &Config,
        feeds: &[Feed],
        protected: &[(Protected, IpNet)],
        numbers: &mut LimitNumbers,
    ) -> Self {
        let inline = |origin, action, profile, prefixes: &[IpNet]| List {
            origin,
            action,
            shadow: false,
            profile,
            votes: Arc::default(),
            entries: Arc::new(prefixes.iter().copied().collect()),
        };
        let mut lists: Vec<List> = protect::grouped(protected)
            .map(|(what, prefixes)| inline(Origin::Protected(what), what.action(), DEFAULT, &prefixes))
            .collect();
        lists.push(inline(Origin::Allow, Action::Allow, DEFAULT, &config.allow));
        // What a balancer sends in its own name, health checks foremost, passes; the class of its
        // addresses says that its tunnels are opened.
        lists.push(inline(Origin::Balancer, Action::Allow, DEFAULT, &config.balancers));
        lists.push(inline(Origin::Partners, Action::Observe, PARTNER, &config.partners));
        lists.extend(feeds.iter().flat_map(|feed| List::of_feed(feed, &config.consensus)));
        Self {
            shadow: config.enforce.is_shadow(),
            malformed: config.malformed,
            lists,
            services: config.services.clone(),
            management: config.management.ports.clone(),
            limits: numbers.assign(&config.limits),
        }
    }
}

impl List {
    /// Returns its entries: networks and their lengths.
    pub fn prefixes(&self) -> impl Iterator<Item = (Address, u8)> {
        let v4 = self.entries.v4.iter().map(|&(network, length)| (Address::V4(network), length));
        let v6 = self.entries.v6.iter().map(|&(network, length)| (Address::V6(network), length));
        v4.chain(v6)
    }

    fn of_feed(feed: &Feed, consensus: &[config::Consensus]) -> impl Iterator<Item = Self> {
        let shadow = feed.config.enforce.is_shadow();
        let votes: Arc<[Vote]> = consensus
            .iter()
            .filter(|consensus| consensus.feeds.contains(&feed.config.name))
            .map(|on| Vote { on: on.clone(), weight: feed.config.weight })
            .collect();
        let list = move |action: FeedAction, entries: &Arc<Entries>| {
            let (action, profile) = outcome(action, shadow);
            let origin = Origin::Feed(feed.config.name.clone());
            Self { origin, action, shadow, profile, votes: Arc::clone(&votes), entries: Arc::clone(entries) }
        };
        // Also while it is empty: a list that comes would make every table be written anew.
        let throttled = feed.config.source.is_stream();
        let throttled = throttled.then(|| list(FeedAction::Suspicious, &feed.listing.throttled));
        iter::once(list(feed.config.action, &feed.listing.entries)).chain(throttled)
    }
}

/// Returns what happens to the sources of a list, and to which profile limits hold them.
fn outcome(action: FeedAction, shadow: bool) -> (Action, u8) {
    match action {
        FeedAction::Drop => (Action::Drop, DEFAULT),
        FeedAction::Allow => (Action::Allow, DEFAULT),
        FeedAction::Partner => (Action::Observe, PARTNER),
        FeedAction::Suspicious if !shadow => (Action::Observe, SUSPICIOUS),
        FeedAction::Suspicious | FeedAction::Observe => (Action::Observe, DEFAULT),
    }
}
