//! When a feed wants attention, and what ends meanwhile.

use std::time::{Duration, SystemTime};

use super::Worker;
use crate::feed::{Listing, clock, ledger::Ledger, source::Source, store::Validators};

/// The longest wait after failures.
const BACKOFF_MAX: Duration = Duration::from_hours(1);
/// The wait after the first failure; it doubles with each that follows.
const BACKOFF_MIN: Duration = Duration::from_secs(5);
/// How long a start takes to ask all sources elsewhere.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// By what part a pause may become longer.
const SPREAD: f64 = 0.2;
/// How long a list that was found locally is not asked for again. Changes are told by a watch.
const LOCAL_INTERVAL: Duration = Duration::from_mins(1);

impl Worker {
    /// Returns the time by which its entries end: what lasts so long is not cut short by whoever sets
    /// the wall clock, and what ends at a date does with that clock.
    pub(super) fn now(&self) -> SystemTime {
        if self.feed.config.source.is_stream() { clock::steady() } else { SystemTime::now() }
    }

    /// Returns how long the list stays in force if nobody confirms it; nothing: for ever.
    pub(super) fn lapses_in(&self) -> Option<Duration> {
        let ttl = self.feed.config.ttl.filter(|_| !self.feed.state.expired)?;
        let (at, age) = self.confirmed?;
        Some(ttl.saturating_sub(age.saturating_add(at.elapsed())))
    }

    /// Returns how long the source is left alone now. `spread` is a random number from 0 to 1, so that
    /// feeds and hosts do not ask all at once; nobody asks before the interval has passed, nor before
    /// the source wants it.
    #[must_use]
    pub fn pause(&self, spread: f64) -> Duration {
        let interval = if self.is_local() { LOCAL_INTERVAL } else { self.feed.config.interval };
        let pause = match self.failures {
            0 => interval,
            n => BACKOFF_MIN.saturating_mul(1 << n.min(16).saturating_sub(1)).min(BACKOFF_MAX).min(interval),
        };
        let fresh_for = self.source.as_ref().ok().and_then(Source::fresh_for);
        let floor = self.retry_after.max(fresh_for).unwrap_or_default();
        pause.max(floor).mul_f64(1.0 + SPREAD * spread)
    }

    /// Returns how long it is until something of it ends by itself.
    #[must_use]
    pub fn ends_in(&self) -> Option<Duration> {
        let now = self.now();
        let until = |time: SystemTime| time.duration_since(now).unwrap_or_default();
        let end = self.ledger.as_ref().and_then(Ledger::next_end).map(until);
        [end, self.lapses_in()].into_iter().flatten().min()
    }

    /// Lets go of what has ended. Returns true if something has.
    pub fn expire(&mut self) -> bool {
        let now = self.now();
        let before = self.feed.listing.len();
        if let Some(mut ledger) = self.ledger.take() {
            if ledger.next_end().is_some_and(|end| end <= now) {
                ledger.forget(now);
                self.feed.listing = ledger.listing();
            }
            self.ledger = Some(ledger);
        }
        if self.lapses_in().is_some_and(|left| left.is_zero()) {
            tracing::warn!(feed = %self.feed.config.name, entries = before,
                "not confirmed within its ttl, no longer in force");
            self.feed.state.expired = true;
            self.feed.listing = Listing::default();
            self.ledger = None;
            // The source has to tell all of it.
            self.validators = Validators::default();
            self.refused = None;
            if let Ok(source) = &mut self.source {
                source.forget();
            }
        }
        before != self.feed.listing.len()
    }

    /// Returns how long a start waits before it asks a source elsewhere, so that a host does not ask
    /// for all at once. A feed without any list does not wait.
    #[must_use]
    pub fn first_wait(&self, spread: f64) -> Duration {
        match self.feed.state.last_success {
            Some(_) => FIRST_WAIT.mul_f64(spread),
            None => Duration::ZERO,
        }
    }
}
