use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    Actor, Audit, What,
    entry::{self, FeedChange},
};
use crate::feed::{Feed, State};

/// A stream changes all the time: its changes within this time are one line.
const TOGETHER: Duration = Duration::from_mins(1);

/// What has been told of feeds.
#[derive(Debug, Default)]
pub struct FeedNotes {
    streams: HashMap<String, Stream>,
}

#[derive(Debug)]
struct Stream {
    /// When it was told last.
    told: Instant,
    /// What has changed since.
    changed: Option<Changed>,
}

#[derive(Debug)]
struct Changed {
    feed: Feed,
    added: usize,
    removed: usize,
    changes: u64,
}

impl FeedNotes {
    /// Takes the news of a feed: tells what has become of it, at once or with what follows.
    pub fn take(&mut self, audit: &Audit, before: &Feed, now: &Feed, at: Instant) {
        let (was, is) = (&before.state, &now.state);
        if let Some(cause) = refused(was, is) {
            let held = is.refusal.as_ref().is_some_and(|refusal| refusal.acceptable);
            note(audit, now, FeedChange::Refused { cause, held });
        }
        if is.expired && !was.expired {
            note(audit, now, FeedChange::Expired);
        } else if before.listing != now.listing {
            let (added, removed) = (is.added, is.removed);
            if now.config.source.is_stream() {
                self.gather(audit, now, (added, removed), at);
            } else {
                note(audit, now, FeedChange::Changed { added, removed, changes: 1 });
            }
        }
    }

    /// Tells what was gathered of streams, where it is time.
    pub fn tell(&mut self, audit: &Audit, at: Instant) {
        for stream in self.streams.values_mut() {
            if at.saturating_duration_since(stream.told) < TOGETHER {
                continue;
            }
            if let Some(Changed { feed, added, removed, changes }) = stream.changed.take() {
                stream.told = at;
                note(audit, &feed, FeedChange::Changed { added, removed, changes });
            }
        }
    }

    fn gather(&mut self, audit: &Audit, feed: &Feed, (added, removed): (usize, usize), at: Instant) {
        let name = &feed.config.name;
        // The first change is told at once.
        let begun = at.checked_sub(TOGETHER).unwrap_or(at);
        let stream = self.streams.entry(name.clone()).or_insert(Stream { told: begun, changed: None });
        let before = stream.changed.take();
        let (more_added, more_removed, changes) =
            before.map_or((0, 0, 0), |before| (before.added, before.removed, before.changes));
        stream.changed = Some(Changed {
            feed: feed.clone(),
            added: more_added + added,
            removed: more_removed + removed,
            changes: changes + 1,
        });
        self.tell(audit, at);
    }

    /// Tells which feeds of before are there no longer.
    pub fn replaced(&mut self, audit: &Audit, before: &[Feed], now: &[Feed]) {
        for feed in before {
            let name = &feed.config.name;
            match now.iter().find(|other| other.config.name == *name) {
                None => {
                    self.streams.remove(name);
                    note(audit, feed, FeedChange::Removed);
                }
                Some(other) if other.listing != feed.listing => {
                    let (added, removed) = (other.state.added, other.state.removed);
                    note(audit, other, FeedChange::Changed { added, removed, changes: 1 });
                }
                Some(_) => {}
            }
        }
        let known = |feed: &&Feed| before.iter().any(|other| other.config.name == feed.config.name);
        now.iter().filter(|feed| !known(feed)).for_each(|feed| first(audit, feed));
    }
}

/// Tells of a feed that was not there before.
pub fn first(audit: &Audit, feed: &Feed) {
    if !feed.listing.is_empty() {
        note(audit, feed, FeedChange::Changed { added: feed.listing.len(), removed: 0, changes: 1 });
    }
}

/// Returns why the newest list is refused, if that is news. That a list cannot be had changes nothing.
fn refused(was: &State, is: &State) -> Option<String> {
    let refusal = is.refusal.as_ref().filter(|_| is.reads.refused > was.reads.refused)?;
    let same = was.refusal.as_ref().is_some_and(|before| before.cause == refusal.cause);
    (!same).then(|| refusal.cause.clone())
}

fn note(audit: &Audit, feed: &Feed, change: FeedChange) {
    let feed = entry::Feed { name: feed.config.name.clone(), change, listing: feed.listing.clone() };
    audit.note(Actor::Agent, What::Feed(feed));
}
