//! The metrics page, made anew from the kernel's counters at each scrape.
//!
//! Nothing is polled for it in between, and nothing that the kernel counts is counted again here. No label
//! carries an address. docs/metrics.md lists all of them; see [`super::catalogue`].

/// The agent, its policy and its configuration.
mod agent;
/// What the kernel has counted, at one moment.
mod reading;
/// Packets, classes, limits, events.
mod packets;
/// Lists.
mod feeds;
/// Bans and manual rules.
mod rules;
/// What was changed behind the agent's back.
mod drift;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use prometheus::{
    GaugeVec, IntCounterVec, IntGaugeVec, Opts, process_collector::ProcessCollector, proto::MetricFamily,
};
use weir_common::counter::{Counter, Outcome};

use super::{
    exposition::Exposition,
    registry::{Entry, Registry},
};
use crate::{
    datapath::{Attached, DatapathError, counters::Counters, memory::Mapped, probe},
    events::Names,
    record::{Record, seconds},
};

pub use drift::DriftCounts;
use reading::feed_count;
pub use reading::{Buckets, Reading};
pub use rules::{Change, Outcome as ChangeOutcome, RuleCounts};

/// What the page is made of.
pub struct Metrics {
    counters: Counters,
    view: Mutex<View>,
    /// What is counted of decisions about requests.
    l7: Registry,
    /// What the kernel says of this process.
    process: Registry,
    /// Release of the kernel.
    kernel: String,
    /// Bans and manual rules.
    pub rules: RuleCounts,
    /// What was changed behind the agent's back.
    pub drift: DriftCounts,
    /// Events that arrived.
    pub events: AtomicU64,
    reloads: Reloads,
}

/// How configurations have been received since the start.
#[derive(Debug, Default)]
struct Reloads {
    ok: AtomicU64,
    refused: AtomicU64,
    /// When the one in force was taken, in seconds since 1970.
    taken: AtomicU64,
}

/// What is in force, as of the last publication.
#[derive(Clone, Debug)]
pub struct View {
    /// The record.
    pub record: Record,
    /// Interfaces with the program on them.
    pub interfaces: Vec<Attached>,
    /// Interfaces that should have it and have not.
    pub missing: Vec<String>,
    /// Somebody has taken all of it out of the kernel.
    pub unloaded: bool,
    /// How long the last publication took, from lists in memory to the flip, in seconds.
    pub publish_seconds: f64,
    /// The kernel's maps.
    pub memory: Arc<Mapped>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The kernel's counters cannot be read.
    #[error(transparent)]
    Kernel(#[from] DatapathError),
    /// A metric is not well formed.
    #[error(transparent)]
    Metric(#[from] prometheus::Error),
}

impl Metrics {
    /// Returns the metrics of `view`, and those of a registry.
    #[must_use]
    pub fn new(counters: Counters, view: View, l7: Registry) -> Self {
        let reloads = Reloads { taken: AtomicU64::new(seconds(SystemTime::now())), ..Reloads::default() };
        Self {
            counters,
            view: Mutex::new(view),
            l7,
            process: process(),
            kernel: probe::look().release,
            rules: RuleCounts::default(),
            drift: DriftCounts::default(),
            events: AtomicU64::new(0),
            reloads,
        }
    }

    /// Sets what is in force.
    pub fn set(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Returns what is in force.
    pub fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the names behind the numbers of events.
    #[must_use]
    pub fn names(&self) -> Names {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        Names::new(&view.record, &view.interfaces)
    }

    /// Takes note of a configuration that was put in force, or refused.
    pub fn reloaded(&self, taken: bool) {
        if taken {
            self.reloads.ok.fetch_add(1, Relaxed);
            self.reloads.taken.store(seconds(SystemTime::now()), Relaxed);
        } else {
            self.reloads.refused.fetch_add(1, Relaxed);
        }
    }

    /// Returns how many packets the kernel has looked at, on interfaces that are there.
    ///
    /// # Errors
    /// [`DatapathError`] where its counters cannot be read.
    pub fn processed(&self) -> Result<u64, DatapathError> {
        Ok(self.verdicts()?.iter().map(|count| count.packets).sum())
    }

    /// Returns the same packets by what became of them, in the order of [`Outcome::ALL`].
    ///
    /// # Errors
    /// [`DatapathError`] where the kernel's counters cannot be read.
    pub fn verdicts(&self) -> Result<[Counter; Outcome::ALL.len()], DatapathError> {
        let slots = self.view.lock().unwrap_or_else(PoisonError::into_inner).slots();
        let mut sums = [Counter::default(); Outcome::ALL.len()];
        for row in self.counters.packets(&slots)? {
            let sum = &mut sums[row.outcome as usize];
            sum.packets += row.count.packets;
            sum.bytes += row.count.bytes;
        }
        Ok(sums)
    }

    /// Returns the packets that were dropped because of a feed.
    ///
    /// # Errors
    /// [`DatapathError`] where the kernel's counters cannot be read.
    pub fn dropped(&self, feed: &str) -> Result<Counter, DatapathError> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        feed_count(&self.counters, &view.record.classes, feed, Outcome::Drop)
    }

    /// Reads what the kernel has counted.
    ///
    /// # Errors
    /// [`DatapathError`] where it cannot be read.
    pub fn read(&self, view: &View) -> Result<Reading, DatapathError> {
        Reading::take(&self.counters, &*view.memory, &view.slots(), &view.record)
    }

    /// Returns what is counted of decisions about requests.
    #[must_use]
    pub fn l7(&self) -> Vec<MetricFamily> {
        self.l7.gather()
    }

    /// Returns the page in a format.
    ///
    /// # Errors
    /// [`MetricsError`]
    pub fn page(&self, format: Exposition) -> Result<Vec<u8>, MetricsError> {
        let started = Instant::now();
        let view = self.view();
        let reading = self.read(&view)?;
        let page = Page::default();
        page.build(&self.kernel)?;
        page.confinement(view.record.confinement.as_ref())?;
        page.policy(&view.record, view.publish_seconds, view.unloaded)?;
        page.reloads(&self.reloads)?;
        page.interfaces(&view.interfaces, &view.missing)?;
        page.tables(&view.record, &reading.buckets, &self.rules)?;
        page.packets(&reading, &view.interfaces)?;
        page.classes(&reading, &view.record)?;
        page.feeds(&reading, &view.record)?;
        page.limits(&reading, &view.record)?;
        page.rules(&self.rules)?;
        page.drift(&self.drift)?;
        page.events(&reading.tally, self.events.load(Relaxed))?;
        page.scrape(started)?;
        let mut families = page.registry.gather();
        families.extend(self.l7.gather());
        families.extend(self.process.gather());
        Ok(format.encode(&families)?)
    }
}

/// Returns all metrics that are not counted by a part of the agent of its own, whether or not there is
/// anything to tell of them.
///
/// # Errors
/// If one is not well formed.
pub(super) fn entries() -> prometheus::Result<Vec<Entry>> {
    let (page, reading, rules) = (Page::default(), Reading::default(), RuleCounts::default());
    let record = Record::empty();
    page.build("")?;
    page.confinement(None)?;
    page.policy(&record, 0.0, false)?;
    page.reloads(&Reloads::default())?;
    page.interfaces(&[], &[])?;
    page.tables(&record, &reading.buckets, &rules)?;
    page.packets(&reading, &[])?;
    page.classes(&reading, &record)?;
    page.feeds(&reading, &record)?;
    page.limits(&reading, &record)?;
    page.rules(&rules)?;
    page.drift(&DriftCounts::default())?;
    page.events(&reading.tally, 0)?;
    page.scrape(Instant::now())?;
    Ok([page.registry.entries(), process().entries()].concat())
}

fn process() -> Registry {
    let registry = Registry::new();
    // It is the only one there.
    _ = registry.register(Box::new(ProcessCollector::for_self()));
    registry
}

impl View {
    /// Returns the counter slots of its interfaces, and that of all others.
    fn slots(&self) -> Vec<u32> {
        self.interfaces.iter().map(|interface| interface.slot).chain([0]).collect()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("view", &self.view).finish_non_exhaustive()
    }
}

/// A page in the making.
#[derive(Default)]
struct Page {
    registry: Registry,
}

impl Page {
    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A gauge of numbers that are not whole.
    fn real(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        let metric = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A gauge without labels.
    fn set(&self, name: &str, help: &str, value: i64) -> prometheus::Result<()> {
        self.gauge(name, help, &[])?.with_label_values::<&str>(&[]).set(value);
        Ok(())
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
