//! One feed at work: asks its source, judges what it answers, keeps the last good list.

/// When it wants attention, and what ends meanwhile.
mod schedule;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::mpsc,
    task,
};

use super::{
    Entries, Feed, Listing, Parsed, Refusal, clock,
    difference::Difference,
    format::{self, Tables},
    guard,
    ledger::Ledger,
    source::{FetchError, Fetched, Source, crowdsec::Usage},
    store::{Content, Saved, Store, Validators},
};
use crate::config;

/// The cause of a list that is no list at all.
const FORMAT: &str = "format";
/// How often a stream's entries are kept on disk.
const SAVE_INTERVAL: Duration = Duration::from_mins(1);

/// A feed at work.
#[derive(Debug)]
pub struct Worker {
    feed: Feed,
    source: Result<Source, FetchError>,
    store: Store,
    /// What autonomous systems and countries in its list stand for.
    tables: Tables,
    validators: Validators,
    ledger: Option<Ledger>,
    /// When its list was last confirmed, and how old the confirmation was then. By a clock that
    /// nobody sets: lists do not end because the host learns what time it is.
    confirmed: Option<(Instant, Duration)>,
    /// Entries of the list that was last in force, also when it has lapsed.
    known: Option<usize>,
    /// Why the newest list was refused, and what its server is asked with, so that it need not send
    /// the same again.
    refused: Option<(Refusal, Validators)>,
    /// A list that was refused, but may be accepted.
    held: Option<New>,
    /// When entries that end by themselves were last kept on disk.
    saved: Option<Instant>,
    failures: u32,
    retry_after: Option<Duration>,
}

/// A list that is not in force.
#[derive(Debug)]
struct New {
    listing: Listing,
    rejected: super::Rejected,
    first_rejected: Option<(usize, String)>,
    validators: Validators,
    ledger: Option<Ledger>,
}

impl Worker {
    /// Returns a worker with the last good list of the store.
    #[must_use]
    pub fn new(config: Arc<config::Feed>, store: Store) -> Self {
        let mut worker = Self {
            source: Source::new(&config),
            feed: Feed::new(config),
            store,
            tables: Tables::default(),
            validators: Validators::default(),
            ledger: None,
            confirmed: None,
            known: None,
            refused: None,
            held: None,
            saved: None,
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
                let age = SystemTime::now().duration_since(saved.confirmed).unwrap_or_default();
                self.confirmed = Some((Instant::now(), age));
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
                self.known = Some(self.feed.listing.entries.len());
                self.expire();
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
        let tables = self.refresh_tables();
        let fetched = match &mut self.source {
            _ if tables.is_err() => Err(FetchError::new("unreadable", tables.err().unwrap_or_default())),
            Ok(source) => {
                let newest = self.refused.as_ref().map(|(_, validators)| validators);
                source.fetch(newest.unwrap_or(&self.validators)).await
            }
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
        self.expire() || changed
    }

    /// Reads the tables that have changed. The list is then asked for as if there were none: what it
    /// names has other prefixes now.
    fn refresh_tables(&mut self) -> Result<(), String> {
        if self.tables.refresh(&self.feed.config.select.tables)? {
            self.validators = Validators::default();
            self.refused = None;
            if let Ok(source) = &mut self.source {
                source.forget();
            }
        }
        Ok(())
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
                if let Some((refusal, _)) = &self.refused {
                    // What was refused stays refused, with the reason.
                    self.feed.state.refusal = Some(refusal.clone());
                } else {
                    self.confirm();
                    self.note();
                }
                self.feed.state.reads.unchanged += 1;
                false
            }
            Fetched::Text(text, validators) => self.take_text(text, validators),
            Fetched::List(parsed) => self.judge(parsed, Validators::default()),
            Fetched::Ledger(ledger, rejected) => self.take_stream(ledger, rejected),
        }
    }

    fn take_text(&mut self, text: Vec<u8>, validators: Validators) -> bool {
        let parsed = self.parse(&text);
        // It is larger than the list.
        drop(text);
        match parsed {
            Ok(parsed) => self.judge(parsed, validators),
            Err(message) => {
                self.feed.state.reads.refused += 1;
                self.refuse(FORMAT, message, false);
                self.held = None;
                self.refused = self.feed.state.refusal.clone().map(|refusal| (refusal, validators));
                false
            }
        }
    }

    /// Takes entries that come one by one. Where they are decisions of this moment nobody doubts that
    /// they are many or few; where they are a collection, it is a list like others.
    fn take_stream(&mut self, mut ledger: Ledger, rejected: super::Rejected) -> bool {
        ledger.forget(self.now());
        let listing = ledger.listing();
        let (validators, ledger) = (Validators::default(), Some(ledger));
        let new = New { listing, rejected, first_rejected: None, validators, ledger };
        if self.feed.config.source.is_stream() {
            return self.put(new);
        }
        let parsed = Parsed { entries: (*new.listing.entries).clone(), rejected, ..Parsed::default() };
        let verdict = guard::judge(&self.feed.config.guards, self.known, &parsed);
        self.settle(verdict, new)
    }

    fn parse(&self, text: &[u8]) -> Result<Parsed, String> {
        blocking(|| format::parse_with(&self.feed.config, text, &self.tables))
    }

    fn judge(&mut self, parsed: Parsed, validators: Validators) -> bool {
        let verdict = guard::judge(&self.feed.config.guards, self.known, &parsed);
        let listing = Listing { entries: parsed.entries.into(), throttled: Arc::default() };
        let (rejected, first_rejected) = (parsed.rejected, parsed.first_rejected);
        self.settle(verdict, New { listing, rejected, first_rejected, validators, ledger: None })
    }

    fn settle(&mut self, verdict: Result<(), guard::Refused>, new: New) -> bool {
        match verdict {
            Ok(()) => self.put(new),
            Err(refused) => {
                self.feed.state.reads.refused += 1;
                // Its name stands in the mend.
                let message = refused.to_string().replace("NAME", &self.feed.config.name);
                self.refuse(refused.cause(), message, refused.acceptable());
                self.refused =
                    self.feed.state.refusal.clone().map(|refusal| (refusal, new.validators.clone()));
                self.held = refused.acceptable().then_some(new);
                false
            }
        }
    }

    fn put(&mut self, new: New) -> bool {
        let changed = self.feed.listing != new.listing;
        self.feed.state.reads.ok += 1;
        self.feed.state.rejected = new.rejected;
        if let Some((line, text)) = new.first_rejected.as_ref().filter(|_| changed) {
            let (feed, rejected) = (&self.feed.config.name, new.rejected.lines);
            tracing::warn!(%feed, rejected, line, text, "lines of the list are not in its format; the first");
        }
        self.feed.state.first_rejected = new.first_rejected;
        self.validators = new.validators;
        self.ledger = new.ledger;
        self.held = None;
        self.refused = None;
        self.known = Some(new.listing.entries.len());
        if changed {
            // Of another agent's life, or of the time before it lapsed, nothing is in force.
            let first = self.feed.state.last_success.is_none() || self.feed.state.expired;
            let added = self.set(new.listing);
            self.note_came(&added, first);
        }
        self.confirm();
        if self.is_to_be_saved() {
            self.save();
        }
        changed
    }

    /// A stream changes all the time, and tells all of it at a start: what is kept of it may be some
    /// minutes old, unless it is told only once.
    fn is_to_be_saved(&mut self) -> bool {
        let once = matches!(self.feed.config.source, config::Source::Bgp(_));
        let recent = self.saved.is_some_and(|saved| saved.elapsed() < SAVE_INTERVAL);
        if self.ledger.is_some() && !once && recent {
            return false;
        }
        self.saved = Some(Instant::now());
        true
    }

    /// Sets the listing, and returns what has come with it.
    fn set(&mut self, listing: Listing) -> Entries {
        let difference = Difference::between(&self.feed.listing.entries, &listing.entries);
        self.feed.state.added = difference.added.len();
        self.feed.state.removed = difference.removed.len();
        self.feed.listing = listing;
        difference.added
    }

    /// For people who ask since when something is in a list: that it cannot be kept hurts nothing.
    fn note_came(&self, added: &Entries, first: bool) {
        if let Err(error) = blocking(|| self.store.came(&self.feed.config, added, first)) {
            tracing::debug!(feed = %self.feed.config.name, %error, "cannot keep since when entries are in the list");
        }
    }

    /// Puts the list in force that was refused.
    ///
    /// # Errors
    /// Says why there is none to accept.
    pub fn accept(&mut self) -> Result<bool, String> {
        let Some(held) = self.held.take() else {
            return Err("has no list that is held back".to_owned());
        };
        tracing::warn!(feed = %self.feed.config.name, entries = held.listing.len(), "list accepted by hand");
        Ok(self.put(held))
    }

    fn confirm(&mut self) {
        self.feed.state.refusal = None;
        self.feed.state.last_success = Some(SystemTime::now());
        self.confirmed = Some((Instant::now(), Duration::ZERO));
        self.feed.state.expired = false;
    }

    fn take_ledger(&mut self, mut ledger: Ledger) {
        ledger.forget(self.now());
        let listing = ledger.listing();
        if self.feed.listing != listing {
            self.set(listing);
        }
        self.ledger = Some(ledger);
    }

    /// Keeps the time of the confirmation, which costs nothing.
    fn note(&self) {
        let confirmed = self.feed.state.last_success.unwrap_or_else(SystemTime::now);
        if let Err(error) = self.store.confirm(&self.feed.config, confirmed) {
            tracing::warn!(feed = %self.feed.config.name, %error, "cannot keep when the list was confirmed");
        }
    }

    fn save(&self) {
        let content = match &self.ledger {
            // The next agent begins with the wall clock as it is then.
            Some(ledger) if self.feed.config.source.is_stream() => {
                Content::Ledger(ledger.moved(clock::set_forward()))
            }
            Some(ledger) => Content::Ledger(ledger.clone()),
            None => Content::Listing(self.feed.listing.clone()),
        };
        let confirmed = self.feed.state.last_success.unwrap_or_else(SystemTime::now);
        let saved = Saved { confirmed, validators: self.validators.clone(), content };
        if let Err(error) = blocking(|| self.store.save(&self.feed.config, &saved)) {
            tracing::error!(feed = %self.feed.config.name, %error,
                "cannot keep the list on disk; it is in force, but a start without the source will not have it");
        }
    }
}

/// Does what takes a while, as long lists do, without keeping others from this thread.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}
