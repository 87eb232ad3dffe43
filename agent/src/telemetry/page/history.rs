//! What has been counted in the last minutes, so that a page that is opened shows how it came to this.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::{
    task,
    time::{MissedTickBehavior, interval},
};
use weir_common::counter::Outcome;

use crate::telemetry::metrics::Metrics;

const EVERY: Duration = Duration::from_secs(5);
/// A quarter of an hour.
const POINTS: usize = 181;

/// The last minutes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Arc<Mutex<VecDeque<Point>>>);

/// Packets counted until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Point {
    /// Milliseconds since 1970.
    pub(super) at: u64,
    pub(super) pass: u64,
    pub(super) drop: u64,
    pub(super) would_drop: u64,
}

impl History {
    /// Takes note, again and again.
    pub(super) async fn keep(&self, metrics: Arc<Metrics>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let metrics = Arc::clone(&metrics);
            let counts = task::spawn_blocking(move || metrics.verdicts());
            let Ok(Ok(counts)) = counts.await else { continue };
            let [pass, drop, would_drop] = Outcome::ALL.map(|outcome| counts[outcome as usize].packets);
            self.add(Point { at: milliseconds(), pass, drop, would_drop });
        }
    }

    fn add(&self, point: Point) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever sets the clock back begins anew, and so do counters.
        if points.back().is_some_and(|last| last.at >= point.at || last.pass > point.pass) {
            points.clear();
        }
        if points.len() == POINTS {
            points.pop_front();
        }
        points.push_back(point);
    }

    /// Returns all of it, the oldest first.
    pub(super) fn points(&self) -> Vec<Point> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

pub(super) fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_of_an_hour_is_kept() {
        let history = History::default();
        let point = |at| Point { at, pass: at, drop: 0, would_drop: 0 };
        for at in 0..POINTS as u64 + 10 {
            history.add(point(at));
        }
        let points = history.points();
        assert_eq!(
            (points.len(), points[0], points[POINTS - 1]),
            (POINTS, point(10), point(POINTS as u64 + 9))
        );
        history.add(point(3));
        assert_eq!(history.points(), [point(3)]);
    }
}
