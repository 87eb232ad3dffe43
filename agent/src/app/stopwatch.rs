//! How long the parts of a start take.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Runs from the start of the agent until it enforces.
#[derive(Debug)]
pub(super) struct Stopwatch {
    started: Instant,
    parts: Vec<(&'static str, Duration)>,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), parts: Vec::new() }
    }

    /// Takes the time of what has been done since the last part.
    pub(super) fn lap(&mut self, part: &'static str) {
        let before: Duration = self.parts.iter().map(|(_, took)| *took).sum();
        self.parts.push((part, self.started.elapsed().saturating_sub(before)));
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// In milliseconds.
impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (part, took)) in self.parts.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{part} {:.1}", took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}
