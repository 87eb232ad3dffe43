use std::{collections::BTreeMap, sync::Arc};

/// Quotas of one domain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Domain {
    /// Its name.
    pub name: Arc<str>,
    /// Its outermost keys.
    pub levels: BTreeMap<String, Level>,
}

/// Descriptors with one key at one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// By their values.
    pub exact: BTreeMap<String, Node>,
    /// By the beginnings of their values, the longest first.
    pub prefixes: Vec<(String, Node)>,
    /// With any other value; each has its own budget.
    pub any: Option<Box<Node>>,
}

/// What holds for a descriptor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name: the domain, and the keys that lead to it.
    pub name: Arc<str>,
    /// Its limits; all of them hold.
    pub limits: Vec<Limit>,
    /// It has no limits, where those beside it have.
    pub unlimited: bool,
    /// What is over is told, and passes.
    pub shadow: bool,
    /// The share of a burst from which on it is nearly used up.
    pub near: f64,
    /// Longer descriptors.
    pub levels: BTreeMap<String, Level>,
}

/// Requests in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub requests: u64,
    /// The window.
    pub per: Per,
    /// Requests at once; at least 1.
    pub burst: u64,
}

/// A window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Per {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

impl Domain {
    /// Returns what holds for a descriptor: at each place the exact value comes before the longest
    /// beginning, and that before any value. A descriptor is met as a whole or not at all.
    #[must_use]
    pub fn find(&self, entries: &[(String, String)]) -> Option<&Node> {
        let ((key, value), inner) = entries.split_first()?;
        inner.iter().try_fold(self.levels.get(key)?.find(value)?, |node, (key, value)| {
            node.levels.get(key)?.find(value)
        })
    }
}

impl Level {
    fn find(&self, value: &str) -> Option<&Node> {
        let prefix = || self.prefixes.iter().find(|(prefix, _)| value.starts_with(prefix.as_str()));
        self.exact.get(value).or_else(|| prefix().map(|(_, node)| node)).or(self.any.as_deref())
    }
}

impl Limit {
    /// Returns what so many requests cost, in ns.
    #[must_use]
    pub fn cost(self, hits: u32) -> u64 {
        // Rounded up: never more than is granted.
        self.per.nanoseconds().div_ceil(self.requests.max(1)).saturating_mul(u64::from(hits))
    }

    /// Returns what may be owed, in ns.
    #[must_use]
    pub fn depth(self) -> u64 {
        self.cost(1).saturating_mul(self.burst)
    }
}

impl Per {
    /// All of them, the shortest first.
    pub const ALL: [Self; 6] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Returns its name in configuration and keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Returns its length.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 24 * 3600,
            Self::Week => 7 * 24 * 3600,
            Self::Month => 30 * 24 * 3600,
        }
    }

    const fn nanoseconds(self) -> u64 {
        self.seconds() * 1_000_000_000
    }
}
