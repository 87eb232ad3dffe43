use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// What long work has come to, on standard error, if that is a terminal. Dropped, it is wiped away.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Returns a bar of so many steps.
    pub(super) fn new(steps: usize) -> Self {
        // Drawn on standard error, and nowhere if that is no terminal.
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says what comes next.
    pub(super) fn next(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Says that it is done.
    pub(super) fn done(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
