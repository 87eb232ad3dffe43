use std::{net::IpAddr, time::SystemTime};

use ipnet::IpNet;
use serde::Serialize;
use weir_common::overlay::{FOREVER, Rule as KernelRule, Sentence};

use crate::rules::{Action, Rule};

/// A ban or a manual rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleFound {
    /// `ban`, `allow` or `limit`.
    pub does: &'static str,
    /// Counts what it would drop.
    pub shadow: bool,
    /// Seconds until it ends; nothing: it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Whose rule it is, by whom, since when and why; nothing where the state directory does not know it.
    #[serde(flatten)]
    pub book: Option<Known>,
}

/// What the state directory knows of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The prefix that has it.
    pub prefix: IpNet,
    /// Who wanted it.
    pub by: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Until when, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why.
    pub note: String,
}

impl From<&Rule> for Known {
    fn from(rule: &Rule) -> Self {
        let Rule { prefix, by, since, until, note, .. } = rule;
        Self { prefix: *prefix, by: by.to_string(), since: *since, until: *until, note: note.clone() }
    }
}

/// Returns the rule of the longest prefix around an address that has not ended at `now`, in seconds
/// since 1970: among those of the kernel, or among those that proxies hold.
pub(super) fn covering(book: &[Rule], address: IpAddr, proxy_only: bool, now: u64) -> Option<&Rule> {
    let live = |rule: &&Rule| rule.until.is_none_or(|until| until > now);
    let around = |rule: &&Rule| rule.proxy_only == proxy_only && rule.prefix.contains(&address);
    book.iter().filter(around).filter(live).max_by_key(|rule| rule.prefix.prefix_len())
}

/// Returns what is known of a rule of the kernel, whose clock shows `now`.
pub(super) fn found(rule: KernelRule, book: Option<&Rule>, now: u64) -> RuleFound {
    let does = match rule.sentence {
        Sentence::Drop => "ban",
        Sentence::Allow => "allow",
        Sentence::Limit => "throttle",
    };
    let matches = |book: &&Rule| {
        let action = match book.action {
            Action::Ban => Sentence::Drop,
            Action::Allow => Sentence::Allow,
            Action::Throttle => Sentence::Limit,
        };
        action == rule.sentence
    };
    RuleFound {
        does,
        shadow: rule.shadow,
        seconds_left: (rule.until != FOREVER).then(|| rule.until.saturating_sub(now).div_ceil(1_000_000)),
        book: book.filter(matches).map(Known::from),
    }
}

/// Returns what is known of a rule that proxies hold.
pub(super) fn of_book(rule: &Rule, now: SystemTime) -> RuleFound {
    let does = match rule.action {
        Action::Ban => "ban",
        Action::Allow => "allow",
        Action::Throttle => "throttle",
    };
    let seconds_left = rule.left(now).map(|left| left.as_secs());
    RuleFound { does, shadow: rule.shadow, seconds_left, book: Some(Known::from(rule)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::samples;

    #[test]
    fn the_longest_prefix_that_is_in_force_is_told() {
        let rule = |prefix: &str, until, proxy_only| Rule { until, proxy_only, ..samples::rule(prefix) };
        let book = [
            rule("192.0.2.0/24", None, false),
            rule("192.0.2.7/32", Some(100), false),
            rule("192.0.2.7/32", None, true),
        ];
        let of = |proxy_only, now| {
            let rule = covering(&book, "192.0.2.7".parse().unwrap(), proxy_only, now);
            rule.map(|rule| rule.prefix.to_string())
        };
        assert_eq!(of(false, 99).as_deref(), Some("192.0.2.7/32"));
        assert_eq!(of(false, 100).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(of(true, 100).as_deref(), Some("192.0.2.7/32"));
        assert_eq!(covering(&book, "198.51.100.7".parse().unwrap(), false, 0), None);
    }
}
