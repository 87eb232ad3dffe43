//! Routes of a BGP speaker, as exabgp (4 and 5) tells them to a process that reads its JSON.
//!
//! What counts are blackhole routes (RFC 7999) and FlowSpec rules about a source (RFC 8955, 8956).
//! Lines come in by [`Bgp::inlet`].

/// What a line says.
mod line;
/// What all lines together say.
mod routes;

use tokio::sync::mpsc;

pub use self::{
    line::Malformed,
    routes::{Routes, START},
};
use super::{FetchError, Fetched};
use crate::{
    config::{self, Feed},
    feed::{clock, ledger::Ledger},
};

/// Lines that wait. Whoever has more waits too, and so does exabgp, which then keeps its peers waiting.
const LINES: usize = 1024;
/// Lines that are taken in before the result is put in force.
const AT_ONCE: usize = 4 * LINES;

/// Routes, and the end of a queue of lines.
#[derive(Debug)]
pub struct Bgp {
    name: String,
    routes: Routes,
    inlet: mpsc::Sender<String>,
    lines: mpsc::Receiver<String>,
    waiting: Vec<String>,
    /// Something is to be told that has not been.
    changed: bool,
    malformed: u64,
}

impl Bgp {
    /// Returns routes of which none is known.
    #[must_use]
    pub fn new(config: &config::Bgp, feed: &Feed) -> Self {
        let (inlet, lines) = mpsc::channel(LINES);
        let routes = Routes::new(config, feed.guards);
        Self {
            name: feed.name.clone(),
            routes,
            inlet,
            lines,
            waiting: Vec::new(),
            changed: false,
            malformed: 0,
        }
    }

    /// Returns where lines of exabgp go in, each without its end.
    #[must_use]
    pub fn inlet(&self) -> mpsc::Sender<String> {
        self.inlet.clone()
    }

    /// Begins with routes that were known before: exabgp tells each only once.
    pub fn resume(&mut self, ledger: Ledger) {
        self.routes.resume(ledger);
    }

    /// Has all that stand be told again.
    pub fn forget(&mut self) {
        self.changed = true;
    }

    /// Waits for a line.
    pub async fn news(&mut self) {
        if self.waiting.is_empty()
            && let Some(line) = self.lines.recv().await
        {
            self.waiting.push(line);
        }
    }

    /// Takes in what has come.
    ///
    /// # Errors
    /// [`FetchError`] where there are more routes than may be.
    pub fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let now = clock::steady();
        while self.waiting.len() < AT_ONCE
            && let Ok(line) = self.lines.try_recv()
        {
            self.waiting.push(line);
        }
        for line in self.waiting.drain(..) {
            match self.routes.line(&line, now) {
                Ok(changed) => self.changed |= changed,
                Err(malformed) => {
                    self.malformed += 1;
                    // A line names addresses, so it is not told itself.
                    if self.malformed.is_power_of_two() {
                        tracing::warn!(
                            feed = self.name,
                            lines = self.malformed,
                            "not understood: {malformed}"
                        );
                    }
                }
            }
        }
        self.changed |= self.routes.forget(now);
        if !self.changed {
            return Ok(Fetched::Unchanged);
        }
        let fetched = self.routes.fetched()?;
        self.changed = false;
        Ok(fetched)
    }
}
