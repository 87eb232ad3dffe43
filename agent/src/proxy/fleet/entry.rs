use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    api::rules::{NOTE_MAX, parse},
    config::Lasts,
    rules::{Action, Author, Profile, Rule, Wanted},
};

/// Names of gateways are not longer; see `l7.fleet.name`.
const NAME_MAX: usize = 64;
/// In place of a time: until it is lifted.
const FOREVER: &str = "forever";

/// A ban as it is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ban {
    /// Until when, in seconds since 1970; nothing: until it is lifted.
    pub(super) until: Option<u64>,
    /// Proxies hold it, the kernel does not.
    #[serde(default)]
    pub(super) proxy_only: bool,
    /// Why.
    #[serde(default)]
    pub(super) note: String,
}

impl Ban {
    /// Returns what is shared of a rule; nothing: it is none that is shared.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        let ban = rule.action == Action::Ban && !rule.shadow;
        ban.then(|| Self { until: rule.until, proxy_only: rule.proxy_only, note: rule.note.clone() })
    }

    /// Returns true if it has ended at `now`, give or take `slack` seconds.
    pub(super) fn ends_by(&self, now: u64, slack: u64) -> bool {
        self.until.is_some_and(|until| until <= now.saturating_add(slack))
    }

    /// Returns the rule that this gateway wants for it.
    pub(super) fn wanted(self, origin: &str, prefix: IpNet, now: u64) -> Wanted {
        let left = |until: u64| Duration::from_secs(until.saturating_sub(now)).min(Lasts::MAX);
        Wanted {
            prefix,
            action: Action::Ban,
            profile: Profile::default(),
            shadow: false,
            lasts: self.until.map(left),
            // Whoever writes into the Redis has no say over the form of notes.
            note: self.note.chars().filter(|c| !c.is_control()).take(NOTE_MAX).collect(),
            by: Author::Fleet(origin.to_owned()),
            proxy_only: self.proxy_only,
        }
    }
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The origin has banned it.
    Ban(IpNet, Ban),
    /// The ban of the origin is lifted.
    Lift(IpNet),
    /// The hash has all bans of the origin; those that it does not have are none.
    All,
}

/// An entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Whose ban it is.
    pub(super) origin: String,
    /// Who says so.
    pub(super) by: String,
    /// What.
    pub(super) word: Word,
}

impl Entry {
    /// Returns the fields of the stream.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("origin", self.origin.clone()), ("by", self.by.clone())];
        match &self.word {
            Word::Ban(prefix, Ban { until, proxy_only, note }) => {
                let until = until.map_or_else(|| FOREVER.to_owned(), |until| until.to_string());
                fields.extend([("action", "ban".to_owned()), ("prefix", prefix.to_string())]);
                fields.extend([("until", until), ("proxy_only", u8::from(*proxy_only).to_string())]);
                fields.push(("note", note.clone()));
            }
            Word::Lift(prefix) => {
                fields.extend([("action", "lift".to_owned()), ("prefix", prefix.to_string())]);
            }
            Word::All => fields.push(("action", "all".to_owned())),
        }
        fields
    }

    /// Reads the fields of the stream; nothing: it is no entry of ours.
    pub(super) fn parse(fields: &BTreeMap<String, String>) -> Option<Self> {
        let field = |name: &str| fields.get(name).map(String::as_str);
        let origin = name(field("origin")?)?;
        let by = field("by").map_or(Some(origin), name)?;
        let prefix = || parse("prefix", field("prefix")?).ok();
        let word = match field("action")? {
            "ban" => {
                let until = match field("until")? {
                    FOREVER => None,
                    text => Some(text.parse().ok()?),
                };
                let note = field("note").unwrap_or_default().to_owned();
                Word::Ban(prefix()?, Ban { until, proxy_only: field("proxy_only") == Some("1"), note })
            }
            "lift" => Word::Lift(prefix()?),
            "all" => Word::All,
            _ => return None,
        };
        Some(Self { origin: origin.to_owned(), by: by.to_owned(), word })
    }
}

/// Returns the field of the hash for a ban.
pub(super) fn field(origin: &str, prefix: IpNet) -> String {
    format!("{origin} {prefix}")
}

/// Reads a field of the hash and its value; nothing: it is none of ours.
pub(super) fn held(field: &str, value: &str) -> Option<(String, IpNet, Ban)> {
    let (origin, prefix) = field.split_once(' ')?;
    let prefix = parse("prefix", prefix).ok()?;
    Some((name(origin)?.to_owned(), prefix, serde_json::from_str(value).ok()?))
}

fn name(text: &str) -> Option<&str> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!text.is_empty() && text.len() <= NAME_MAX && text.chars().all(valid)).then_some(text)
}

/// Any fields of an entry of the stream, `name=value` a line; and any field of the hash. What is read is
/// written as it was read.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let fields: BTreeMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Some(entry) = Entry::parse(&fields) {
        let again = entry.fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(Entry::parse(&again), Some(entry));
    }
    if let Some((origin, prefix, ban)) = text.split_once('\n').and_then(|(field, value)| held(field, value)) {
        let wanted = ban.wanted(&origin, prefix, 1_700_000_000);
        assert!(
            wanted.note.chars().count() <= NOTE_MAX && wanted.lasts.is_none_or(|lasts| lasts <= Lasts::MAX)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let prefix: IpNet = "192.0.2.7/32".parse().unwrap();
        let ban = Ban { until: Some(100), proxy_only: true, note: "risk 104".to_owned() };
        let words = [
            Word::Ban(prefix, ban.clone()),
            Word::Ban(prefix, Ban { until: None, ..ban.clone() }),
            Word::Lift(prefix),
            Word::All,
        ];
        for word in words {
            let entry = Entry { origin: "gw-1".to_owned(), by: "gw-2".to_owned(), word };
            let fields = entry.fields();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(Entry::parse(&map(&fields)), Some(entry));
        }
        let value = serde_json::to_string(&ban).unwrap();
        assert_eq!(held(&field("gw-1", prefix), &value), Some(("gw-1".to_owned(), prefix, ban)));
    }

    #[test]
    fn what_is_no_entry_is_nothing() {
        for fields in [
            &[][..],
            &[("origin", "a"), ("action", "ban"), ("prefix", "192.0.2.7/32")],
            &[("origin", "a"), ("action", "ban"), ("prefix", "0.0.0.0/0"), ("until", "forever")],
            &[("origin", "a"), ("action", "ban"), ("prefix", "192.0.2.7"), ("until", "-1")],
            &[("origin", "a b"), ("action", "all")],
            &[("origin", ""), ("action", "all")],
            &[("origin", "a"), ("action", "allow"), ("prefix", "192.0.2.7")],
        ] {
            assert_eq!(Entry::parse(&map(fields)), None, "{fields:?}");
        }
        assert_eq!(held("a 192.0.2.7/32", "{"), None);
        let note = format!("{}\n", "x".repeat(1000));
        let ban = Ban { until: Some(u64::MAX), proxy_only: false, note };
        let wanted = ban.wanted("a", "192.0.2.7/32".parse().unwrap(), 0);
        assert_eq!((wanted.note.len(), wanted.lasts), (NOTE_MAX, Some(Lasts::MAX)));
    }
}
