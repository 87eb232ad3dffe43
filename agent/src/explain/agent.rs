use serde::Serialize;

use crate::{api::risk, events::View};

/// What a running agent knows of an address, and nobody else: it is in its memory alone.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentSays {
    /// What it has done lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<risk::View>,
    /// What has been seen of it lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
    /// Why nothing is known: no agent runs, for example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl AgentSays {
    /// Says what has become of a source, from its risk and its sampled packets, the oldest first.
    #[must_use]
    pub fn of(risk: risk::View, events: &[View]) -> Self {
        let recent = events.last().map(|last| Recent {
            events: events.len(),
            last: format!("{} ({})", last.verdict, last.reason),
            at_milliseconds: last.at_milliseconds,
        });
        Self { risk: Some(risk), recent, unknown: None }
    }
}

/// Sampled packets of an address, among the last that the agent keeps of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recent {
    /// How many.
    pub events: usize,
    /// Verdict and reason of the last.
    pub last: String,
    /// When that was, in milliseconds since 1970.
    pub at_milliseconds: u64,
}
