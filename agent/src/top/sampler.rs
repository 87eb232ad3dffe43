use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{Snapshot, Sources, Totals};
use crate::{
    client::{Client, ClientError},
    datapath::{DatapathError, Pins},
    events::Line,
};

/// Longer than the agent is silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it is waited before an agent is asked again that does not answer.
const RETRY: Duration = Duration::from_secs(2);

/// One reading after the other.
#[derive(Debug)]
pub struct Sampler {
    pins: Pins,
    state: PathBuf,
    before: Option<Totals>,
    feed: Feed,
}

impl Sampler {
    /// Returns a sampler that has sources from `feed`.
    #[must_use]
    pub fn new(pins: &Pins, state: &Path, feed: Feed) -> Self {
        Self { pins: pins.clone(), state: state.to_owned(), before: None, feed }
    }

    /// Reads the counters, and returns what went on since they were read last. Nothing the first time.
    ///
    /// # Errors
    /// [`SampleError`]
    pub fn sample(&mut self) -> Result<Option<Snapshot>, SampleError> {
        let after = Totals::read(&self.pins, &self.state)?.ok_or(SampleError::NotLoaded)?;
        let mut feed = self.feed.lock();
        let snapshot = self.before.as_ref().map(|before| {
            let snapshot = Snapshot::between(before, &after, &mut feed.sources);
            Snapshot { without_sources: feed.trouble.clone(), ..snapshot }
        });
        if self.before.is_none() {
            // What came before the first reading cannot be compared with anything.
            feed.sources = Sources::default();
        }
        drop(feed);
        self.before = Some(after);
        Ok(snapshot)
    }
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// Nothing is loaded.
    #[error("weir is not loaded, so nothing is counted; start it with `weir run --config FILE`")]
    NotLoaded,
    /// The pins cannot be read.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// Sampled events of an agent, followed in the background for as long as the process lives.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Mutex<Followed>>);

#[derive(Debug, Default)]
struct Followed {
    sources: Sources,
    /// Why there are no events.
    trouble: Option<String>,
}

impl Feed {
    /// Follows the events of the agent at `socket`.
    ///
    /// # Errors
    /// If there can be no other thread.
    pub fn follow(socket: &Path) -> std::io::Result<Self> {
        let feed = Self(Arc::default());
        let (socket, sink) = (socket.to_owned(), feed.clone());
        thread::Builder::new().name("events".to_owned()).spawn(move || sink.run(&socket))?;
        Ok(feed)
    }

    fn run(&self, socket: &Path) {
        let mut last = None::<u64>;
        loop {
            let from = last.map_or("limit=0".to_owned(), |last| format!("after={last}"));
            let path = format!("/v1/events?follow=true&{from}");
            let followed = Client::connect(socket).and_then(|mut client| {
                self.lock().trouble = None;
                client.lines(&path, SILENCE, |line| {
                    match serde_json::from_str(line) {
                        Ok(Line::Event(view)) => {
                            last = Some(view.number);
                            self.lock().sources.take(&view);
                        }
                        Ok(Line::Lost { lost }) => self.lock().sources.lose(lost),
                        Ok(Line::Next { next }) => last = Some(next),
                        // An empty one says that there is nothing new.
                        Err(_) => {}
                    }
                    ControlFlow::Continue(())
                })
            });
            if let Err(error) = followed {
                let why = if let ClientError::NotRunning { socket, .. } = &error {
                    format!("no agent answers at {}", socket.display())
                } else {
                    error.to_string()
                };
                self.lock().trouble = Some(why);
                thread::sleep(RETRY);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
