//! Bans and manual rules.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Page;
use crate::rules::Action;

/// What was done to rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put in force, or changed.
    Set(Action),
    /// Lifted.
    Lift,
}

impl Change {
    const ALL: [Self; 4] =
        [Self::Set(Action::Ban), Self::Set(Action::Allow), Self::Set(Action::Throttle), Self::Lift];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Set(action) => action.as_str(),
            Self::Lift => "lift",
        }
    }

    const fn number(self) -> usize {
        match self {
            Self::Set(action) => action as usize,
            Self::Lift => Action::ALL.len(),
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force and on disk.
    Ok,
    /// Nothing was changed.
    Refused,
    /// It is in force, but not on disk.
    Unsaved,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Ok, Self::Refused, Self::Unsaved];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unsaved => "unsaved",
        }
    }
}

/// Counts of rules and of what was done to them.
#[derive(Debug, Default)]
pub struct RuleCounts {
    in_force: [AtomicU64; Action::ALL.len()],
    changes: [[AtomicU64; Outcome::ALL.len()]; Change::ALL.len()],
}

impl RuleCounts {
    /// Sets how many rules there are.
    pub fn set(&self, counts: [(Action, usize); Action::ALL.len()]) {
        for (action, count) in counts {
            self.in_force[action as usize].store(count as u64, Relaxed);
        }
    }

    /// Returns how many rules there are.
    pub(super) fn in_force(&self) -> u64 {
        self.in_force.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Counts changes.
    pub fn count(&self, change: Change, outcome: Outcome, rules: usize) {
        self.changes[change.number()][outcome as usize].fetch_add(rules as u64, Relaxed);
    }
}

impl Page {
    pub(super) fn rules(&self, counts: &RuleCounts) -> prometheus::Result<()> {
        let rules = self.gauge("weir_rules", "Bans and manual rules in force.", &["action"])?;
        for action in Action::ALL {
            let count = counts.in_force[action as usize].load(Relaxed);
            rules.with_label_values(&[action.as_str()]).set(count.cast_signed());
        }
        let changes = self.counter(
            "weir_rule_changes_total",
            "Changes of bans and manual rules since the agent started; unsaved ones will not survive a reboot.",
            &["action", "result"],
        )?;
        for change in Change::ALL {
            for outcome in Outcome::ALL {
                let count = counts.changes[change.number()][outcome as usize].load(Relaxed);
                changes.with_label_values(&[change.as_str(), outcome.as_str()]).inc_by(count);
            }
        }
        Ok(())
    }
}
