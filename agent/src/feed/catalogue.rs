//! Feeds that are known by name.

/// The catalogue itself.
mod all;

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::config::{FeedAction, Format};

pub use all::ALL;

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
    /// What is done with its sources, mostly. The configuration says what is done.
    pub action: FeedAction,
    /// The header that has a key, where the publisher asks for one; see `http.header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<&'static str>,
    /// Its grammar.
    #[serde(serialize_with = "serialize_format")]
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

    const fn can_be_empty(self) -> Self {
        Self { can_be_empty: true, ..self }
    }

    const fn category(self, category: &'static str) -> Self {
        Self { category, ..self }
    }

    const fn action(self, action: FeedAction) -> Self {
        Self { action, ..self }
    }

    const fn every(self, hours: f32) -> Self {
        Self { hours, ..self }
    }

    const fn auth(self, header: &'static str) -> Self {
        Self { auth: Some(header), ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn serialize_format<S: Serializer>(format: &fn() -> Format, serializer: S) -> Result<S::Ok, S::Error> {
    format().serialize(serializer)
}

/// What the feeds of a publisher have in common.
#[derive(Clone, Copy)]
struct Publisher {
    category: &'static str,
    licence: &'static str,
    hours: f32,
    action: FeedAction,
}

impl Publisher {
    const fn feed(
        self,
        name: &'static str,
        url: &'static str,
        format: fn() -> Format,
        about: &'static str,
    ) -> Known {
        Known {
            name,
            url,
            category: self.category,
            about,
            licence: self.licence,
            hours: self.hours,
            can_be_empty: false,
            action: self.action,
            auth: None,
            format,
        }
    }
}

/// Returns the feed of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests;
