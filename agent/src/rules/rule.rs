use std::time::{Duration, SystemTime};

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
    const fn number(self) -> u8 {
        match self {
            Self::Default => limit::DEFAULT,
            Self::Partner => limit::PARTNER,
            Self::Suspicious => limit::SUSPICIOUS,
        }
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
}

impl Rule {
    pub(super) fn new(wanted: Wanted, now: SystemTime) -> Self {
        let Wanted { prefix, action, profile, shadow, lasts, note } = wanted;
        // A second later rather than earlier: the kernel ends it to the microsecond.
        let until = lasts.map(|lasts| seconds(now + lasts) + 1);
        let profile = (action == Action::Throttle).then_some(profile);
        Self { prefix, action, profile, shadow, since: seconds(now), until, note }
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
