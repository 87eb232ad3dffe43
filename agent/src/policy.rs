//! From configuration and lists to classes and prefixes, and from those to table lines. Pure: no
//! I/O, no clock; randomness is an argument.

/// The numbers behind which the kernel knows what lists say.
pub mod classes;
/// The numbers behind which the kernel knows limits.
pub mod limits;
/// Several lists into one list of prefixes, each with a class.
pub mod merge;
/// A policy into lines.
pub mod compile;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use weir_common::{class::Action, control::Malformed};

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
    /// Its sources.
    pub entries: Arc<Entries>,
}

/// Where a list comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The `allow` of the configuration.
    Allow,
    /// The `balancers` of the configuration.
    Balancer,
    /// The feed of this name.
    Feed(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Balancer => f.write_str("balancer"),
            Self::Feed(name) => write!(f, "feed {name}"),
        }
    }
}

impl Policy {
    /// Returns the policy of a configuration and the present lists of its feeds.
    #[must_use]
    pub fn new(config: &Config, feeds: &[Feed], numbers: &mut LimitNumbers) -> Self {
        // What a balancer sends in its own name, health checks foremost, passes; the class of its
        // addresses says that its tunnels are opened.
        let passing = |origin: Origin, prefixes: &[ipnet::IpNet]| List {
            origin,
            action: Action::Allow,
            shadow: false,
            entries: Arc::new(entries_of(prefixes)),
        };
        let allow = passing(Origin::Allow, &config.allow);
        let balancers = passing(Origin::Balancer, &config.balancers);
        let of_feed = |feed: &Feed| List {
            origin: Origin::Feed(feed.config.name.clone()),
            action: match feed.config.action {
                FeedAction::Drop => Action::Drop,
                FeedAction::Observe => Action::Observe,
            },
            shadow: feed.config.enforce.is_shadow(),
            entries: Arc::clone(&feed.entries),
        };
        Self {
            shadow: config.enforce.is_shadow(),
            malformed: config.malformed,
            lists: [allow, balancers].into_iter().chain(feeds.iter().map(of_feed)).collect(),
            services: config.services.clone(),
            limits: numbers.assign(&config.limits),
        }
    }
}

fn entries_of(prefixes: &[ipnet::IpNet]) -> Entries {
    use weir_common::addr::Address;
    let mut entries = Entries::default();
    for prefix in prefixes {
        let length = prefix.prefix_len();
        match (Address::from(prefix.addr()), prefix) {
            (Address::V4(bits), ipnet::IpNet::V4(_)) => entries.v4.push((bits, length)),
            // v4-mapped; the lookup folds such sources into IPv4.
            (Address::V4(bits), ipnet::IpNet::V6(_)) => entries.v4.push((bits, length.saturating_sub(96))),
            (Address::V6(bits), _) => entries.v6.push((bits, length)),
        }
    }
    entries
}
