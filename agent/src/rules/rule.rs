use std::{
    convert::Infallible,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_common::{limit, overlay::Sentence};

use crate::{
    datapath::rules::Order,
    record::{seconds, time},
};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Drops.
    Ban,
    /// Passes, whatever lists and limits say.
    Allow,
    /// Limits hold its sources to another profile.
    Throttle,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ban, Self::Allow, Self::Throttle];

    /// Returns its name in metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Allow => "allow",
            Self::Throttle => "throttle",
        }
    }
}

/// To which pace limits hold a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// That of everybody.
    Default,
    /// That of trusted integrations.
    Partner,
    /// That of sources with a bad name.
    #[default]
    Suspicious,
}

impl Profile {
    /// Returns its name, which is that of the kernel's profile.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        limit::PROFILE_NAMES[self.number() as usize]
    }

    const fn number(self) -> u8 {
        match self {
            Self::Default => limit::DEFAULT,
            Self::Partner => limit::PARTNER,
            Self::Suspicious => limit::SUSPICIOUS,
        }
    }
}

/// Who wants a rule. Written as text, so that old files of rules are read: `operator`, `escalation`,
/// `fleet:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Author {
    /// A person or a program at the control socket.
    #[default]
    Operator,
    /// The ladder of this gateway.
    Escalation,
    /// Another gateway, by the name that it has in the fleet.
    Fleet(String),
}

impl Author {
    const FLEET: &str = "fleet:";
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Escalation => f.write_str("escalation"),
            Self::Fleet(gateway) => write!(f, "{}{gateway}", Self::FLEET),
        }
    }
}

impl FromStr for Author {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.strip_prefix(Self::FLEET)) {
            (_, Some(gateway)) => Self::Fleet(gateway.to_owned()),
            ("escalation", None) => Self::Escalation,
            (_, None) => Self::Operator,
        })
    }
}

impl From<Author> for String {
    fn from(author: Author) -> Self {
        author.to_string()
    }
}

impl From<String> for Author {
    fn from(text: String) -> Self {
        let Ok(author) = text.parse();
        author
    }
}

/// A rule that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose packets.
    pub prefix: IpNet,
    /// What happens to them.
    pub action: Action,
    /// The pace of [`Action::Throttle`].
    pub profile: Profile,
    /// Counts what a ban would drop.
    pub shadow: bool,
    /// How long; nothing: until it is lifted.
    pub lasts: Option<Duration>,
    /// Why, in the words of whoever wants it.
    pub note: String,
    /// Who wants it.
    pub by: Author,
    /// Proxies hold it, the kernel does not: the packets of these clients come from somebody else, a
    /// CDN for example, who must not be cut off.
    pub proxy_only: bool,
}

/// A rule in the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whose packets.
    pub prefix: IpNet,
    /// What happens to them.
    pub action: Action,
    /// The pace of [`Action::Throttle`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Counts what a ban would drop.
    #[serde(default)]
    pub shadow: bool,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Until when, likewise; nothing: until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Who wants it.
    #[serde(default)]
    pub by: Author,
    /// Proxies hold it, the kernel does not.
    #[serde(default)]
    pub proxy_only: bool,
}

impl Rule {
    pub(super) fn new(wanted: Wanted, now: SystemTime) -> Self {
        let Wanted { prefix, action, profile, shadow, lasts, note, by, proxy_only } = wanted;
        // A second later rather than earlier: the kernel ends it to the microsecond.
        let until = lasts.map(|lasts| seconds(now + lasts) + 1);
        let profile = (action == Action::Throttle).then_some(profile);
        Self { prefix, action, profile, shadow, since: seconds(now), until, note, by, proxy_only }
    }

    /// Returns how long it still lasts; nothing: until it is lifted.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        Some(time(self.until?).duration_since(now).unwrap_or_default())
    }

    pub(super) fn order(&self, lasts: Option<Duration>) -> Order {
        let sentence = match self.action {
            Action::Ban => Sentence::Drop,
            Action::Allow => Sentence::Allow,
            Action::Throttle => Sentence::Limit,
        };
        let profile = self.profile.map_or(limit::DEFAULT, Profile::number);
        Order { sentence, shadow: self.shadow, profile, lasts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_a_word() {
        for author in [Author::Operator, Author::Escalation, Author::Fleet("gw-2".to_owned())] {
            let text = serde_json::to_string(&author).unwrap();
            assert_eq!(serde_json::from_str::<Author>(&text).unwrap(), author);
        }
        // A rule of an agent before, which knew no authors.
        let rule = r#"{"prefix":"192.0.2.7/32","action":"ban","shadow":false,"since":1}"#;
        let rule: Rule = serde_json::from_str(rule).unwrap();
        assert_eq!((rule.by, rule.proxy_only), (Author::Operator, false));
    }
}
