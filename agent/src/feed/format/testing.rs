use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::parse;
use crate::{
    config::{Enforce, Feed, FeedAction, Format, Guards, Select, Source},
    feed::Parsed,
};

/// A parsed list, and its entries in words: IPv4 in front of IPv6.
pub(in crate::feed) struct Found {
    pub(in crate::feed) entries: Vec<String>,
    pub(in crate::feed) parsed: Parsed,
}

impl From<Parsed> for Found {
    fn from(parsed: Parsed) -> Self {
        let v4 = parsed.entries.v4.iter().map(|(n, l)| format!("{}/{l}", Ipv4Addr::from_bits(*n)));
        let v6 = parsed.entries.v6.iter().map(|(n, l)| format!("{}/{l}", Ipv6Addr::from(*n)));
        Self { entries: v4.chain(v6).collect(), parsed }
    }
}

/// Returns the path of a sample.
pub(in crate::feed) fn path(sample: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/feed/format/samples").join(sample)
}

/// Returns a feed of this format that selects nothing, but has a table where it needs one.
pub(in crate::feed) fn feed(format: Format) -> Feed {
    let mut select = Select::default();
    if format.validate_select(&select).is_err() {
        select.tables.push(path("asn-table.csv"));
    }
    Feed {
        name: "test".to_owned(),
        source: Source::Networks(Vec::new()),
        format,
        select,
        action: FeedAction::Drop,
        enforce: Enforce::Enforce,
        category: None,
        weight: 1,
        interval: std::time::Duration::from_hours(1),
        ttl: None,
        guards: Guards::default(),
    }
}

/// Parses a list that must be one.
pub(in crate::feed) fn parsed(format: Format, text: &[u8]) -> Found {
    parse(&feed(format), text).unwrap().into()
}
