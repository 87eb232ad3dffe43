//! Sampled packets: the agent keeps the last of them, and hands them on to whoever watches.
//!
//! The kernel tells of as many packets a second and CPU as the configuration says, and of more while
//! somebody watches. Readers follow at their own pace by the numbers of events; who is slower than
//! packets come loses the oldest, and is told how many. Memory is bounded, whatever comes.

/// Which events somebody wants to see.
mod filter;
/// An event in words.
mod view;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use weir_common::event::Event;

pub use filter::Filter;
pub use view::{Line, Names, View};

/// Events that are kept.
pub const KEPT: usize = 4096;
/// Who may watch at a time.
pub const WATCHERS: usize = 8;
/// Events that one CPU may send in a second while somebody watches, at least.
pub const WATCHED_PER_SECOND: u32 = 1000;
/// How long after the last watcher the kernel goes on to tell more: watchers come back.
const LINGER: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(3) };

/// An event, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number, from 1 on since the agent started.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// The event.
    pub event: Event,
}

/// Some events, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Those that passed the filter.
    pub events: Vec<Seen>,
    /// The number of the last that was looked at; where to go on.
    pub last: u64,
    /// Events in between that are not kept any more.
    pub lost: u64,
}

/// Where events come in and are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: Mutex<Ring>,
    /// The number of the last event.
    news: watch::Sender<u64>,
    places: Arc<Semaphore>,
    /// How many watch, or did a moment ago.
    watched: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The last of them, the newest at the back.
    events: VecDeque<Seen>,
    /// The number of the last.
    number: u64,
    /// The number before the first.
    start: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Inner {
            ring: Mutex::default(),
            news: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(WATCHERS)),
            watched: watch::Sender::new(0),
        }))
    }
}

impl Events {
    /// Returns a place whose events have numbers above those of an agent before: they begin at the time in
    /// µs, and no kernel tells of a million a second.
    #[must_use]
    pub fn starting_at(now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(since.as_micros()).unwrap_or(0);
        let events = Self::default();
        *events.ring() = Ring { number: start, start, ..Ring::default() };
        events
    }

    /// Adds an event that came now. The oldest goes where there are too many.
    pub fn push(&self, event: Event) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let mut ring = self.ring();
        ring.number += 1;
        let number = ring.number;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(Seen { number, at, event });
        drop(ring);
        self.0.news.send_replace(number);
    }

    /// Returns up to `most` events after number `after` that pass the filter, the oldest first. After a
    /// number of another agent's life all that are kept are new.
    #[must_use]
    pub fn after(&self, after: u64, most: usize, filter: &Filter) -> Batch {
        let ring = self.ring();
        let after = if (ring.start..=ring.number).contains(&after) { after } else { ring.start };
        let forgotten = ring.number - ring.events.len() as u64;
        let lost = forgotten.saturating_sub(after);
        let skip = usize::try_from((after + lost).saturating_sub(forgotten)).unwrap_or(usize::MAX);
        let mut batch = Batch { events: Vec::new(), last: after + lost, lost };
        for seen in ring.events.iter().skip(skip) {
            if batch.events.len() == most {
                break;
            }
            batch.last = seen.number;
            if filter.passes(&seen.event) {
                batch.events.push(*seen);
            }
        }
        batch
    }

    /// Returns the last events that pass the filter, `most` of them, the oldest first.
    #[must_use]
    pub fn latest(&self, most: usize, filter: &Filter) -> Batch {
        let ring = self.ring();
        let passing = ring.events.iter().rev().filter(|seen| filter.passes(&seen.event));
        let mut events: Vec<Seen> = passing.take(most).copied().collect();
        events.reverse();
        Batch { events, last: ring.number, lost: 0 }
    }

    /// Waits until there is an event after number `after`. Never returns once there will be none.
    pub async fn changed(&self, after: u64) {
        let mut news = self.0.news.subscribe();
        if news.wait_for(|number| *number > after).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes a place among the watchers, while it lives. Nothing where all are taken.
    #[must_use]
    pub fn watch(&self) -> Option<Watcher> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        self.0.watched.send_modify(|watched| *watched += 1);
        Some(Watcher { events: self.clone(), _place: place })
    }

    /// Tells how many watch, and when that changes.
    #[must_use]
    pub fn watched(&self) -> watch::Receiver<usize> {
        self.0.watched.subscribe()
    }

    /// Returns how many events a CPU may send in a second, where the configuration says `configured`.
    #[must_use]
    pub fn budget(&self, configured: u32) -> u32 {
        if *self.0.watched.borrow() == 0 { configured } else { configured.max(WATCHED_PER_SECOND) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the watchers.
#[derive(Debug)]
pub struct Watcher {
    events: Events,
    _place: OwnedSemaphorePermit,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let events = self.events.clone();
        let leave = move || events.0.watched.send_modify(|watched| *watched -= 1);
        // The kernel is not told to and fro where somebody comes back at once.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                leave();
            })),
            Err(_) => leave(),
        }
    }
}

/// What of the events counts as an offence: as many a second as would come while nobody watches. Looking
/// must not change what happens to those who are looked at.
#[derive(Debug, Default)]
pub struct Ration {
    window: u64,
    taken: u64,
}

/// log2 of a window in µs, as the kernel has it for its budget: about a second.
const WINDOW_SHIFT: u32 = 20;

impl Ration {
    /// Returns true for an event that is within the ration, of `configured` a second and CPU.
    pub fn admits(&mut self, event: &Event, configured: u32, cpus: usize) -> bool {
        let window = event.time >> WINDOW_SHIFT;
        if window != self.window {
            *self = Self { window, taken: 0 };
        }
        self.taken += 1;
        self.taken <= u64::from(configured) * cpus as u64
    }
}

#[cfg(test)]
mod tests;
