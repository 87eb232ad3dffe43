//! One feed at work: asks its source, judges what it answers, keeps the last good list.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc;

use super::{
    Feed, Listing, Parsed, Reads, Refusal, State,
    difference::Difference,
    format, guard,
    ledger::Ledger,
    source::{FetchError, Fetched, Source, crowdsec::Usage},
    store::{Content, Saved, Store, Validators},
};
use crate::config;

/// The longest wait after failures.
const BACKOFF_MAX: Duration = Duration::from_hours(1);
/// The wait after the first failure; it doubles with each that follows.
const BACKOFF_MIN: Duration = Duration::from_secs(5);
/// How long a start takes to ask all sources elsewhere.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// How long a list that was found locally is not asked for again. Changes are told by a watch.
const LOCAL_INTERVAL: Duration = Duration::from_mins(1);

/// A feed at work.
#[derive(Debug)]
pub struct Worker {
    feed: Feed,
    source: Result<Source, FetchError>,
    store: Store,
    validators: Validators,
    ledger: Option<Ledger>,
    /// A list that was refused, but may be accepted.
    held: Option<(Listing, super::Rejected, Validators)>,
    failures: u32,
    retry_after: Option<Duration>,
}

impl Worker {
    /// Returns a worker with the last good list of the store.
    #[must_use]
    pub fn new(config: Arc<config::Feed>, store: Store) -> Self {
        let mut worker = Self {
            source: Source::new(&config),
            feed: Feed::new(config),
            store,
            validators: Validators::default(),
            ledger: None,
            held: None,
            failures: 0,
            retry_after: None,
        };
        worker.restore();
        worker
    }

    /// Returns the feed as it is now.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Returns true if its source is on this host, so that a start can wait for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.source.as_ref().map_or(true, Source::is_local)
    }

    /// Waits for news that the source tells by itself.
    pub async fn news(&mut self) {
        match &mut self.source {
            Ok(source) => source.news().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns where to put in lines that others tell it, if its source lives on such.
    #[must_use]
    pub fn inlet(&self) -> Option<mpsc::Sender<String>> {
        self.source.as_ref().ok().and_then(Source::inlet)
    }

    /// Returns where to note what becomes of packets of its entries, if its source wants to know.
    #[must_use]
    pub fn usage(&self) -> Option<Arc<Usage>> {
        self.source.as_ref().ok().and_then(Source::usage)
    }

    fn restore(&mut self) {
        match self.store.load(&self.feed.config) {
            Ok(Some(saved)) => {
                self.feed.state.last_success = Some(saved.confirmed);
                self.validators = saved.validators;
                match saved.content {
                    Content::Listing(listing) => self.feed.listing = listing,
                    Content::Ledger(ledger) => {
                        if let Ok(source) = &mut self.source {
                            source.resume(&ledger);
                        }
                        self.take_ledger(ledger);
                    }
                }
                self.expire(SystemTime::now());
            }
            Ok(None) => {}
            // The source is asked for the whole list, as if there were none.
            Err(error) => tracing::warn!(feed = %self.feed.config.name, %error,
                "the last good list is not usable"),
        }
    }

    /// Asks the source. Whatever is wrong with what it answers, the last good list stays.
    ///
    /// Returns true if the listing is not what it was.
    pub async fn refresh(&mut self) -> bool {
        let started = Instant::now();
        let fetched = match &mut self.source {
            Ok(source) => source.fetch(&self.validators).await,
            Err(error) => Err(FetchError::new(error.cause, error.message.clone())),
        };
        let changed = match fetched {
            Ok(fetched) => self.take(fetched),
            Err(error) => {
                self.fail(&error);
                false
            }
        };
        self.feed.state.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.expire(SystemTime::now()) || changed
    }

    fn fail(&mut self, error: &FetchError) {
        self.failures = self.failures.saturating_add(1);
        self.retry_after = error.retry_after;
        self.feed.state.reads.failed += 1;
        self.refuse(error.cause, error.message.clone(), false);
    }

    fn refuse(&mut self, cause: &str, message: String, acceptable: bool) {
        let refusal = Refusal { cause: cause.to_owned(), message, acceptable };
        // Said once, not at each try.
        if self.feed.state.refusal.as_ref() != Some(&refusal) {
            tracing::warn!(feed = %self.feed.config.name, cause, kept = self.feed.listing.len(),
                "list refused, the last good one stays: {}", refusal.message);
        }
        self.feed.state.refusal = Some(refusal);
    }

    fn take(&mut self, fetched: Fetched) -> bool {
        self.failures = 0;
        self.retry_after = None;
        match fetched {
            Fetched::Unchanged => {
                // What was refused stays refused, with the reason.
                if self.feed.state.refusal.as_ref().is_none_or(|refusal| !self.is_held(refusal)) {
                    self.confirm();
                }
                self.feed.state.reads.unchanged += 1;
                false
            }
            Fetched::Text(text, validators) => match format::parse(&self.feed.config, &text) {
                Ok(parsed) => self.judge(parsed, validators),
                Err(message) => {
                    self.feed.state.reads.refused += 1;
                    self.refuse("format", message, false);
                    false
                }
            },
            Fetched::List(parsed) => self.judge(parsed, Validators::default()),
            Fetched::Ledger(ledger, rejected) => {
                self.feed.state.reads.ok += 1;
                self.feed.state.rejected = rejected;
                let before = self.feed.listing.clone();
                self.take_ledger(ledger);
                self.confirm();
                self.save();
                self.feed.listing != before
            }
        }
    }

    fn is_held(&self, refusal: &Refusal) -> bool {
        guard::Refused::CAUSES.contains(&refusal.cause.as_str()) || refusal.cause == "format"
    }

    fn judge(&mut self, parsed: Parsed, validators: Validators) -> bool {
        let before = self.feed.state.last_success.map(|_| self.feed.listing.entries.len());
        let verdict = guard::judge(&self.feed.config.guards, before, &parsed);
        let listing = Listing { entries: parsed.entries.into(), throttled: Arc::default() };
        match verdict {
            Ok(()) => self.put(listing, parsed.rejected, validators),
            Err(refused) => {
                self.feed.state.reads.refused += 1;
                self.refuse(refused.cause(), refused.to_string(), refused.acceptable());
                self.held = refused.acceptable().then_some((listing, parsed.rejected, validators));
                false
            }
        }
    }

    fn put(&mut self, listing: Listing, rejected: super::Rejected, validators: Validators) -> bool {
        let changed = self.feed.listing != listing;
        self.feed.state.reads.ok += 1;
        self.feed.state.rejected = rejected;
        self.validators = validators;
        self.held = None;
        if changed {
            self.set(listing);
        }
        self.confirm();
        self.save();
        changed
    }

    fn set(&mut self, listing: Listing) {
        let difference = Difference::between(&self.feed.listing.entries, &listing.entries);
        self.feed.state.added = difference.added.len();
        self.feed.state.removed = difference.removed.len();
        self.feed.listing = listing;
    }

    /// Puts the list in force that was refused.
    ///
    /// # Errors
    /// Says why there is none to accept.
    pub fn accept(&mut self) -> Result<bool, String> {
        let Some((listing, rejected, validators)) = self.held.take() else {
            return Err("has no list that is held back".to_owned());
        };
        tracing::warn!(feed = %self.feed.config.name, entries = listing.len(), "list accepted by hand");
        Ok(self.put(listing, rejected, validators))
    }

    fn confirm(&mut self) {
        self.feed.state.refusal = None;
        self.feed.state.last_success = Some(SystemTime::now());
        self.feed.state.expired = false;
    }

    fn take_ledger(&mut self, mut ledger: Ledger) {
        ledger.forget(SystemTime::now());
        let listing = ledger.listing();
        if self.feed.listing != listing {
            self.set(listing);
        }
        self.ledger = Some(ledger);
    }

    /// Lets go of what has ended. Returns true if something has.
    pub fn expire(&mut self, now: SystemTime) -> bool {
        let before = self.feed.listing.len();
        if let Some(mut ledger) = self.ledger.take() {
            if ledger.next_end().is_some_and(|end| end <= now) {
                ledger.forget(now);
                self.feed.listing = ledger.listing();
            }
            self.ledger = Some(ledger);
        }
        let lapsed = |ttl| self.feed.state.last_success.is_some_and(|last| last + ttl <= now);
        if self.feed.config.ttl.is_some_and(lapsed) && !self.feed.state.expired {
            tracing::warn!(feed = %self.feed.config.name, entries = before,
                "not confirmed within its ttl, no longer in force");
            self.feed.state.expired = true;
            self.feed.listing = Listing::default();
            self.ledger = None;
            self.validators = Validators::default();
        }
        before != self.feed.listing.len()
    }

    fn save(&self) {
        let content = match &self.ledger {
            Some(ledger) => Content::Ledger(ledger.clone()),
            None => Content::Listing(self.feed.listing.clone()),
        };
        let confirmed = self.feed.state.last_success.unwrap_or_else(SystemTime::now);
        let saved = Saved { confirmed, validators: self.validators.clone(), content };
        if let Err(error) = self.store.save(&self.feed.config, &saved) {
            tracing::error!(feed = %self.feed.config.name, %error,
                "cannot keep the list on disk; it is in force, but a start without the source will not have it");
        }
    }

    /// Returns how long to wait until it wants attention: to be asked again, or since something ends.
    /// `spread` is a random number from 0 to 1, so that feeds and hosts do not ask all at once.
    #[must_use]
    pub fn wait(&self, now: SystemTime, spread: f64) -> Duration {
        let interval = if self.is_local() { LOCAL_INTERVAL } else { self.feed.config.interval };
        let pause = match self.failures {
            0 => interval,
            n => BACKOFF_MIN.saturating_mul(1 << n.min(16).saturating_sub(1)).min(BACKOFF_MAX).min(interval),
        };
        let pause = pause.max(self.retry_after.unwrap_or_default());
        let pause = pause.mul_f64(0.9 + 0.2 * spread);
        let until = |time: SystemTime| time.duration_since(now).unwrap_or_default();
        let end = self.ledger.as_ref().and_then(Ledger::next_end).map(until);
        let ttl = self.feed.config.ttl.filter(|_| !self.feed.state.expired);
        let lapse = ttl.zip(self.feed.state.last_success).map(|(ttl, last)| until(last + ttl));
        [end, lapse].into_iter().flatten().fold(pause, Duration::min)
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

    /// Returns how its tries ended, for tests.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.feed.state.reads
    }

    /// Returns how it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.feed.state
    }
}
