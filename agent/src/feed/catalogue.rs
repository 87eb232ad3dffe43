//! Feeds that are known by name.

use std::time::Duration;

use serde::Serialize;

use crate::config::Format;

/// A feed that is known.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Known {
    /// Its name, as `known` in the configuration has it.
    pub name: &'static str,
    /// Where it is.
    pub url: &'static str,
    /// What it lists, in a word.
    pub category: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Under which terms.
    pub licence: &'static str,
    /// Hours between requests, as its publisher asks for.
    pub hours: f32,
    /// Being empty is no accident.
    pub can_be_empty: bool,
    #[serde(skip)]
    format: fn() -> Format,
}

impl Known {
    /// Returns its grammar.
    #[must_use]
    pub fn format(&self) -> Format {
        (self.format)()
    }

    /// Returns how often it is asked for.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f32(self.hours * 3600.0)
    }

    /// Returns how often it may be asked for at most.
    #[must_use]
    pub fn floor(&self) -> Duration {
        self.interval()
    }
}

/// All of them.
pub const ALL: &[Known] = &[];

/// Returns the feed of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}
