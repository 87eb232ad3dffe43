//! The record of what was changed, when and by whom: lines of JSON that hang together by hashes, so
//! that whoever changes, takes out or moves one leaves a trace. docs/audit.md is its reference.
//!
//! Whoever changes something notes it here and goes on: a queue takes it, and one task writes. Where
//! the disk is full nothing waits for it; entries beyond the queue are lost, and counted.

/// How lines hang together. Pure.
pub mod chain;
/// What is told.
pub mod entry;
/// An entry in the words of OCSF.
mod ocsf;
/// Where the files lie.
pub mod files;
/// The file being written.
mod book;
/// Whether all is as it was written.
pub mod verify;
/// Which refusals of requests are told.
mod gate;
/// What has become of feeds.
pub mod feeds;
/// From the queue to the file.
mod task;

use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::mpsc;

use crate::{
    config,
    decision::{Verdict, Why},
    naming::Naming,
    rules::Rule,
    telemetry::registry::Registry,
};
use book::Book;
use chain::Link;
pub use entry::{Actor, Done, Entry, What};
use files::Head;
use gate::Gate;
use ocsf::Context;
pub(crate) use task::spawn;

/// Entries that may wait.
const PLACES: usize = 8192;
/// Lines that they may make: as many as a full table of rules that ends at once.
const LINES_MAX: usize = 1 << 16;
/// Rules of one entry: each is written at once.
const RULES_TOGETHER: usize = 1000;

/// Where it is noted what was changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Entry>,
    /// Lines that wait.
    lines: AtomicUsize,
    /// Lines that found no place since the last that was written.
    lost: AtomicU64,
    gate: Gate,
    head: Mutex<Link>,
    counts: Counts,
}

/// What is counted.
#[derive(Clone, Debug)]
struct Counts {
    lines: IntCounter,
    failures: IntCounter,
    lost: IntCounter,
    suppressed: IntCounter,
    sequence: IntGauge,
}

impl Counts {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            lines: IntCounter::new("weir_audit_lines_total", "Lines of the audit that were written.")?,
            failures: IntCounter::new(
                "weir_audit_failures_total",
                "Attempts to write the audit that failed.",
            )?,
            lost: IntCounter::new("weir_audit_lost_total", "Lines of the audit that found no place.")?,
            suppressed: IntCounter::new(
                "weir_audit_suppressed_total",
                "Refusals that are not in the audit, since there were too many.",
            )?,
            sequence: IntGauge::new(
                "weir_audit_sequence",
                "Number of the last line of the audit. It only grows: if it falls, the end was cut off.",
            )?,
        })
    }
}

impl Audit {
    /// Returns an audit, and the end at which its entries come out.
    ///
    /// # Errors
    /// If a metric is not well formed.
    pub fn new() -> prometheus::Result<(Self, mpsc::Receiver<Entry>)> {
        let (queue, entries) = mpsc::channel(PLACES);
        let audit = Self(Arc::new(Inner {
            queue,
            lines: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            gate: Gate::new(Instant::now()),
            head: Mutex::default(),
            counts: Counts::new()?,
        }));
        Ok((audit, entries))
    }

    /// Adds what is counted to a registry.
    ///
    /// # Errors
    /// If there is a metric of that name.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let Counts { lines, failures, lost, suppressed, sequence } = &self.0.counts;
        for counter in [lines, failures, lost, suppressed] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(sequence.clone()))
    }

    /// Notes something. Nobody waits for it.
    pub fn note(&self, actor: Actor, what: What) {
        let lines = what.lines();
        let waiting = self.0.lines.fetch_add(lines, Relaxed);
        let entry = Entry { at: SystemTime::now(), actor, what };
        if waiting + lines > LINES_MAX || self.0.queue.try_send(entry).is_err() {
            self.0.lines.fetch_sub(lines, Relaxed);
            self.0.lost.fetch_add(lines as u64, Relaxed);
            self.0.counts.lost.inc_by(lines as u64);
        }
    }

    /// Notes what has become of rules.
    pub fn rules(&self, actor: &Actor, done: Done, rules: &[Rule]) {
        for some in rules.chunks(RULES_TOGETHER) {
            self.note(actor.clone(), What::Rules(done, some.to_vec()));
        }
    }

    /// Notes that requests of a source are refused, unless it has been told, or there are too many.
    pub fn decided(&self, client: IpAddr, verdict: Verdict, why: &Why, surface: &'static str) {
        match self.0.gate.admits(client, verdict, Instant::now()) {
            None => {}
            Some(false) => self.0.counts.suppressed.inc(),
            Some(true) => {
                let decision = entry::Decision { client, verdict, why: why.clone(), surface };
                self.note(Actor::Agent, What::Decision(decision));
            }
        }
    }

    /// Notes a request of the control API that is not permitted, unless there are too many.
    pub fn forbidden(&self, actor: Actor, operation: String) {
        if self.0.gate.admits_forbidden(Instant::now()) {
            self.note(actor, What::Forbidden { operation });
        } else {
            self.0.counts.suppressed.inc();
        }
    }

    /// Returns the last line that was written.
    #[must_use]
    pub fn head(&self) -> Link {
        *self.0.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> &Counts {
        &self.0.counts
    }

    fn take_lost(&self) -> u64 {
        self.0.lost.swap(0, Relaxed)
    }

    fn give_back_lost(&self, lost: u64) {
        self.0.lost.fetch_add(lost, Relaxed);
    }

    /// Takes note of what is on disk.
    fn written(&self, entries: &[Entry], link: Link) {
        // What tells of the audit itself was never in the queue.
        let queued = entries.iter().filter(|entry| !matches!(entry.what, What::Own(_)));
        let lines: usize = queued.map(|entry| entry.what.lines()).sum();
        self.0.lines.fetch_sub(lines, Relaxed);
        let before =
            std::mem::replace(&mut *self.0.head.lock().unwrap_or_else(PoisonError::into_inner), link);
        self.0.counts.sequence.set(link.seq.cast_signed());
        let new = if before.seq == 0 { lines as u64 } else { link.seq.saturating_sub(before.seq) };
        self.0.counts.lines.inc_by(new);
    }
}

/// Writes an entry where no agent is that would. Where a state directory has no audit, it gets none.
///
/// # Errors
/// What the file system says.
pub fn write_alone(state: &Path, actor: Actor, what: What) -> io::Result<()> {
    let Some(Head { file, .. }) = Head::load(state) else { return Ok(()) };
    // How many files are to be kept only the configuration knows, so none is removed.
    let settings = config::Audit { path: Some(file), files: u32::MAX, ..config::Audit::default() };
    let entry = Entry { at: SystemTime::now(), actor, what };
    Book::new(settings, state, Context::new(Arc::new(Naming::Plain))).append(&[entry])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_an_agent_hangs_on_the_others() {
        let state = tempfile::tempdir().unwrap();
        let write = || {
            write_alone(state.path(), Actor::Peer { uid: 0, pid: 7 }, What::Unloaded { detached: Vec::new() })
        };
        write().unwrap();
        assert!(state.path().read_dir().unwrap().next().is_none(), "there is no audit");
        let settings = config::Audit::default();
        let mut book = Book::new(settings, state.path(), Context::new(Arc::new(Naming::Plain)));
        let entry = Entry { at: SystemTime::now(), actor: Actor::Agent, what: What::Stopped };
        let before = book.append(&[entry]).unwrap();
        write().unwrap();
        let report = verify::state(state.path(), 0).unwrap();
        assert!(report.ok && report.last.seq == before.seq + 1, "{report:?}");
    }

    #[tokio::test]
    async fn what_finds_no_place_is_counted_and_nobody_waits() {
        let (audit, mut entries) = Audit::new().unwrap();
        for _ in 0..PLACES + 7 {
            audit.note(Actor::Agent, What::Started);
        }
        assert_eq!(audit.take_lost(), 7);
        let first = entries.recv().await.unwrap();
        audit.written(&[first], Link { seq: 1, ..Link::default() });
        audit.note(Actor::Agent, What::Started);
        assert_eq!((audit.take_lost(), audit.head().seq), (0, 1));
    }
}
