use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    config::{Enforce, FeedAction},
    feed::store::{Since, Store},
    policy::Origin,
    record::{FeedRecord, Record, seconds},
};

/// A list that names an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListFound {
    /// Its name in output, like `feed bad` or `allow`.
    pub list: String,
    /// The feed, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedFound>,
    /// Its prefixes in which the address lies, widest first, as the last good list on disk has them.
    pub prefixes: Vec<IpNet>,
    /// Since when one of them is in it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// When the last of them ends by itself, in seconds since 1970, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// What is known of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedFound {
    /// Its name.
    pub name: String,
    /// What happens to its sources.
    pub action: FeedAction,
    /// It counts what it would do.
    pub shadow: bool,
    /// What it lists, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Entries with a lower score are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<u32>,
    /// When the list was last confirmed, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u64>,
    /// Seconds until it lapses unless it is confirmed before; nothing: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapses_in: Option<u64>,
    /// How it is, in words.
    pub state: String,
}

/// Returns what is known of the lists that name an address. A list on disk that cannot be read is told
/// without its prefixes: what is enforced is in the kernel.
pub(super) fn of(
    store: &Store,
    record: Option<&Record>,
    listed_by: &[Origin],
    address: IpAddr,
    now: u64,
) -> Vec<ListFound> {
    let list = |origin: &Origin| {
        let Origin::Feed(name) = origin else {
            let list = origin.to_string();
            return ListFound { list, feed: None, prefixes: Vec::new(), since: None, until: None };
        };
        let prefixes = store.covering(name, address).unwrap_or_else(|error| {
            tracing::debug!(%error, "a last good list cannot be read");
            Vec::new()
        });
        let feed = record.and_then(|record| record.feeds.iter().find(|feed| feed.name == *name));
        ListFound {
            list: origin.to_string(),
            feed: feed.map(|feed| found(feed, now)),
            since: store.since(name, &prefixes),
            until: store.ends(name, address).map(seconds),
            prefixes,
        }
    };
    listed_by.iter().map(list).collect()
}

fn found(feed: &FeedRecord, now: u64) -> FeedFound {
    FeedFound {
        name: feed.name.clone(),
        action: feed.action,
        shadow: feed.enforce == Enforce::Shadow,
        category: feed.category.clone(),
        min_score: feed.min_score,
        confirmed: feed.last_success,
        lapses_in: feed.last_success.zip(feed.ttl).map(|(at, ttl)| (at + ttl).saturating_sub(now)),
        state: feed.health(),
    }
}

/// Says why lists and bans cannot cut a source off, if they cannot.
pub(super) fn protected(listed_by: &[Origin]) -> Option<&'static str> {
    listed_by.iter().find_map(|origin| match origin {
        Origin::Protected(what) => Some(what.as_str()),
        Origin::Allow => Some("allow"),
        Origin::Balancer => Some("balancer"),
        Origin::Partners | Origin::Feed(_) | Origin::Consensus(_) => None,
    })
}
