use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

/// What has happened is over when it has not happened again for so long.
const OVER: Duration = Duration::from_mins(2);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// More bans were due in a minute than may be made.
    BanCap,
    /// The ladder makes many bans.
    ManyBans,
    /// A list waits for somebody to accept it.
    FeedHeld,
    /// The configuration was refused, and the one before is in force.
    ConfigurationRefused,
    /// An interface that should be protected is not.
    InterfaceLost,
    /// Somebody has changed behind the agent's back what the kernel enforces by; it is mended.
    Drift,
    /// The audit cannot be written.
    AuditFailed,
    /// The audit is not as it was left.
    AuditTampered,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BanCap,
        Self::ManyBans,
        Self::FeedHeld,
        Self::ConfigurationRefused,
        Self::InterfaceLost,
        Self::Drift,
        Self::AuditFailed,
        Self::AuditTampered,
    ];

    /// Returns its name in metrics and webhooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BanCap => "ban_cap",
            Self::ManyBans => "many_bans",
            Self::FeedHeld => "feed_held",
            Self::ConfigurationRefused => "configuration_refused",
            Self::InterfaceLost => "interface_lost",
            Self::Drift => "drift",
            Self::AuditFailed => "audit_failed",
            Self::AuditTampered => "audit_tampered",
        }
    }

    /// Returns its name in Alertmanager, which is that of the rule for Prometheus.
    #[must_use]
    pub const fn alert(self) -> &'static str {
        match self {
            Self::BanCap => "WeirBanCapHit",
            Self::ManyBans => "WeirManyBans",
            Self::FeedHeld => "WeirFeedHeld",
            Self::ConfigurationRefused => "WeirReloadRefused",
            Self::InterfaceLost => "WeirInterfaceNotAttached",
            Self::Drift => "WeirDrift",
            Self::AuditFailed => "WeirAuditFailing",
            Self::AuditTampered => "WeirAuditTampered",
        }
    }

    /// Returns how bad it is, as Prometheus users have it.
    #[must_use]
    pub const fn severity(self) -> &'static str {
        match self {
            Self::InterfaceLost | Self::AuditFailed | Self::AuditTampered => "critical",
            Self::BanCap | Self::ManyBans | Self::FeedHeld | Self::ConfigurationRefused | Self::Drift => {
                "warning"
            }
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// In words.
    pub text: String,
    /// Since when.
    pub since: SystemTime,
}

/// All that is wrong, by kind and what is concerned.
#[derive(Debug, Default)]
pub(super) struct Board {
    alerts: BTreeMap<(Kind, String), Alert>,
    /// When that which happens was last seen.
    seen: BTreeMap<Kind, Instant>,
}

/// What to expect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Something is over.
    pub(super) ended: bool,
    /// When the next may be over.
    pub(super) at: Option<Instant>,
}

impl Board {
    pub(super) fn alerts(&self) -> &BTreeMap<(Kind, String), Alert> {
        &self.alerts
    }

    /// Sets all that is wrong of a kind. Returns true if that is news.
    pub(super) fn set(&mut self, kind: Kind, wrong: BTreeMap<String, String>, now: SystemTime) -> bool {
        let before = self.alerts.len();
        self.alerts.retain(|(other, subject), _| *other != kind || wrong.contains_key(subject));
        let mut news = self.alerts.len() != before;
        for (subject, text) in wrong {
            self.alerts.entry((kind, subject)).or_insert_with(|| {
                news = true;
                Alert { text, since: now }
            });
        }
        news
    }

    /// Takes note of something that has happened. Returns true if that is news.
    pub(super) fn happened(&mut self, kind: Kind, text: String, now: SystemTime, at: Instant) -> bool {
        self.seen.insert(kind, at);
        let known = self.alerts.contains_key(&(kind, String::new()));
        if !known {
            self.alerts.insert((kind, String::new()), Alert { text, since: now });
        }
        !known
    }

    /// Ends what has not happened for long enough.
    pub(super) fn expire(&mut self, at: Instant) -> Next {
        let before = self.seen.len();
        let alerts = &mut self.alerts;
        self.seen.retain(|kind, seen| {
            let lasts = at.saturating_duration_since(*seen) < OVER;
            if !lasts {
                alerts.remove(&(*kind, String::new()));
            }
            lasts
        });
        Next { ended: self.seen.len() != before, at: self.seen.values().min().map(|seen| *seen + OVER) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = include_str!("../../../deploy/prometheus/alerts.yaml");

    #[test]
    fn prometheus_has_each_by_the_same_name_and_as_bad() {
        for kind in Kind::ALL {
            let rule = RULES.split("- alert: ").find(|rule| rule.lines().next() == Some(kind.alert()));
            let severity = format!("labels: {{severity: {}}}", kind.severity());
            assert!(
                rule.is_some_and(|rule| rule.contains(&severity)),
                "no {} that is {severity}",
                kind.alert()
            );
        }
    }

    #[test]
    fn what_happens_again_goes_on_and_what_does_not_is_over() {
        let (mut board, start, now) = (Board::default(), Instant::now(), SystemTime::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(board.happened(Kind::BanCap, "one".to_owned(), now, start));
        assert!(!board.happened(Kind::BanCap, "two".to_owned(), now, after(60)));
        assert_eq!(board.expire(after(120)), Next { ended: false, at: Some(after(180)) });
        assert_eq!(board.alerts().values().next().unwrap().text, "one");
        assert_eq!(board.expire(after(180)), Next { ended: true, at: None });
        assert!(board.alerts().is_empty());
    }
}
