//! The metrics page, made anew from the kernel's counters at each scrape.
//!
//! Nothing is polled for it in between, and nothing that the kernel counts is counted again here. No label
//! carries an address.

/// Bans and manual rules.
mod rules;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus::{Encoder as _, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use weir_common::counter::{Answer, Counter, Outcome, Tally};

use crate::{
    config::Enforce,
    datapath::{Attached, DatapathError, counters::Counters},
    policy::{Origin, classes::ClassSpec},
    record::Record,
};

pub use rules::{Change, Outcome as ChangeOutcome, RuleCounts};

/// What the page is made of.
pub struct Metrics {
    counters: Counters,
    view: Mutex<View>,
    /// What is counted of decisions about requests.
    l7: Registry,
    /// Bans and manual rules.
    pub rules: RuleCounts,
    /// Events that arrived.
    pub events: AtomicU64,
    /// Configurations put in force since the start.
    pub reloads_ok: AtomicU64,
    /// Configurations refused since the start.
    pub reloads_refused: AtomicU64,
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
    /// How long the last publication took, from lists in memory to the flip, in seconds.
    pub publish_seconds: f64,
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
        Self {
            counters,
            view: Mutex::new(view),
            l7,
            rules: RuleCounts::default(),
            events: AtomicU64::new(0),
            reloads_ok: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
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

    /// Returns how many packets the kernel has looked at, on interfaces that are there.
    ///
    /// # Errors
    /// [`DatapathError`] where its counters cannot be read.
    pub fn processed(&self) -> Result<u64, DatapathError> {
        let slots = self.view.lock().unwrap_or_else(PoisonError::into_inner).slots();
        Ok(self.counters.packets(&slots)?.iter().map(|row| row.count.packets).sum())
    }

    /// Returns the packets that were dropped because of a feed.
    ///
    /// # Errors
    /// [`DatapathError`] where the kernel's counters cannot be read.
    pub fn dropped(&self, feed: &str) -> Result<Counter, DatapathError> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        feed_count(&self.counters, &view.record.classes, feed, Outcome::Drop)
    }

    /// Returns the page, in the text format of Prometheus (version 0.0.4).
    ///
    /// # Errors
    /// [`MetricsError`]
    pub fn page(&self) -> Result<Vec<u8>, MetricsError> {
        let view = self.view();
        let page = Page::default();
        page.agent(self, &view)?;
        page.packets(&self.counters, &view)?;
        page.feeds(&self.counters, &view.record)?;
        page.limits(&self.counters, &view.record)?;
        page.rules(&self.rules)?;
        page.events(self.counters.tally()?, self.events.load(Relaxed))?;
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&page.registry.gather(), &mut text)?;
        encoder.encode(&self.l7.gather(), &mut text)?;
        Ok(text)
    }
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

    fn agent(&self, metrics: &Metrics, view: &View) -> prometheus::Result<()> {
        let record = &view.record;
        self.gauge("weir_build_info", "The agent that answers.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        self.gauge("weir_enforcing", "1 if the policy drops, 0 if it only counts what it would drop.", &[])?
            .with_label_values::<&str>(&[])
            .set(i64::from(record.enforce == Enforce::Enforce));
        self.counter(
            "weir_policy_publications_total",
            "Policies put in force since the maps were made.",
            &[],
        )?
        .with_label_values::<&str>(&[])
        .inc_by(record.publication);
        self.gauge(
            "weir_policy_published_timestamp_seconds",
            "When the policy in force was published.",
            &[],
        )?
        .with_label_values::<&str>(&[])
        .set(record.published.cast_signed());
        let duration = GaugeVec::new(
            Opts::new(
                "weir_policy_publish_duration_seconds",
                "From lists in memory to the flip, at the last publication.",
            ),
            &[],
        )?;
        self.registry.register(Box::new(duration.clone()))?;
        duration.with_label_values::<&str>(&[]).set(view.publish_seconds);
        let reloads = self.counter(
            "weir_config_reloads_total",
            "Configurations put in force or refused since the agent started.",
            &["result"],
        )?;
        reloads.with_label_values(&["ok"]).inc_by(metrics.reloads_ok.load(Relaxed));
        reloads.with_label_values(&["refused"]).inc_by(metrics.reloads_refused.load(Relaxed));
        let attached = self.gauge(
            "weir_interface_attached",
            "1 for an interface with the program on it, 0 for one that is gone or does not take it.",
            &["interface", "mode"],
        )?;
        for interface in &view.interfaces {
            attached.with_label_values(&[interface.interface.as_str(), interface.mode.as_str()]).set(1);
        }
        for interface in &view.missing {
            attached.with_label_values(&[interface.as_str(), "none"]).set(0);
        }
        let entries = self.gauge("weir_table_entries", "Entries of a reputation table.", &["table"])?;
        let capacity =
            self.gauge("weir_table_capacity", "Entries for which a reputation table is meant.", &["table"])?;
        for table in &record.tables {
            entries.with_label_values(&[&table.name]).set(table.entries.cast_signed());
            capacity.with_label_values(&[&table.name]).set(table.capacity.cast_signed());
        }
        Ok(())
    }

    fn packets(&self, counters: &Counters, view: &View) -> Result<(), MetricsError> {
        const LABELS: &[&str] = &["interface", "family", "verdict", "reason"];
        let packets = self.counter("weir_packets_total", "Packets, each counted once.", LABELS)?;
        let bytes = self.counter("weir_bytes_total", "Bytes of these packets, without padding.", LABELS)?;
        for row in counters.packets(&view.slots())? {
            let interface = view
                .interfaces
                .iter()
                .find(|interface| interface.slot == row.slot && row.slot != 0)
                .map_or("other", |interface| interface.interface.as_str());
            let labels = [interface, row.family.as_str(), row.outcome.as_str(), row.reason.as_str()];
            packets.with_label_values(&labels).inc_by(row.count.packets);
            bytes.with_label_values(&labels).inc_by(row.count.bytes);
        }
        Ok(())
    }

    fn feeds(&self, counters: &Counters, record: &Record) -> Result<(), MetricsError> {
        let entries = self.gauge("weir_feed_entries", "Entries of a feed in force.", &["feed", "family"])?;
        let left_out =
            self.gauge("weir_feed_rejected", "Lines of a feed that were left out.", &["feed", "cause"])?;
        let held = self.gauge(
            "weir_feed_held",
            "1 if the newest list of a feed is not in force, by cause.",
            &["feed", "cause"],
        )?;
        let success = self.gauge(
            "weir_feed_last_success_timestamp_seconds",
            "When the list of a feed was last confirmed.",
            &["feed"],
        )?;
        let changed = self.gauge(
            "weir_feed_changed_entries",
            "Entries that came with the last change of a list, and that went.",
            &["feed", "change"],
        )?;
        let took = self.gauge(
            "weir_feed_read_milliseconds",
            "How long the last try to read a list took.",
            &["feed"],
        )?;
        let expired = self.gauge(
            "weir_feed_expired",
            "1 if a list is no longer in force, since it was not confirmed within its ttl.",
            &["feed"],
        )?;
        let reads = self.counter(
            "weir_feed_reads_total",
            "Tries to read a list since the agent started.",
            &["feed", "result"],
        )?;
        let packets = self.counter(
            "weir_feed_packets_total",
            "Packets whose source a feed lists; counted for each feed that does.",
            &["feed", "verdict"],
        )?;
        for feed in &record.feeds {
            let name = feed.name.as_str();
            entries.with_label_values(&[name, "ipv4"]).set(gauge(feed.ipv4));
            entries.with_label_values(&[name, "ipv6"]).set(gauge(feed.ipv6));
            let state = &feed.state;
            for (cause, count) in [
                ("format", state.rejected.lines),
                ("too_wide", state.rejected.too_wide),
                ("unselected", state.rejected.unselected),
            ] {
                left_out.with_label_values(&[name, cause]).set(gauge(count));
            }
            // A feed without trouble has a row too, so that an alert can be written for it.
            let cause = state.refusal.as_ref().map_or("none", |refusal| refusal.cause.as_str());
            held.with_label_values(&[name, cause]).set(i64::from(state.refusal.is_some()));
            success.with_label_values(&[name]).set(feed.last_success.unwrap_or(0).cast_signed());
            changed.with_label_values(&[name, "added"]).set(gauge(state.added));
            changed.with_label_values(&[name, "removed"]).set(gauge(state.removed));
            took.with_label_values(&[name]).set(i64::try_from(state.milliseconds).unwrap_or(i64::MAX));
            expired.with_label_values(&[name]).set(i64::from(state.expired));
            for (result, count) in [
                ("ok", state.reads.ok),
                ("unchanged", state.reads.unchanged),
                ("refused", state.reads.refused),
                ("failed", state.reads.failed),
            ] {
                reads.with_label_values(&[name, result]).inc_by(count);
            }
            for outcome in Outcome::ALL {
                let count = feed_count(counters, &record.classes, name, outcome)?;
                packets.with_label_values(&[name, outcome.as_str()]).inc_by(count.packets);
            }
        }
        Ok(())
    }

    fn limits(&self, counters: &Counters, record: &Record) -> Result<(), MetricsError> {
        let packets = self.counter(
            "weir_limit_packets_total",
            "Packets for which a limit was the last to be asked.",
            &["limit", "verdict"],
        )?;
        for limit in &record.limits {
            for answer in Answer::ALL {
                let count = counters.limit(limit.number, answer)?;
                packets.with_label_values(&[limit.name.as_str(), answer.as_str()]).inc_by(count.packets);
            }
        }
        Ok(())
    }

    fn events(&self, tally: Tally, received: u64) -> prometheus::Result<()> {
        let events = self.counter(
            "weir_events_total",
            "Packets against which a rule spoke, by what became of their event.",
            &["result"],
        )?;
        events.with_label_values(&["received"]).inc_by(received);
        events.with_label_values(&["suppressed"]).inc_by(tally.events_suppressed);
        events.with_label_values(&["lost"]).inc_by(tally.events_lost);
        Ok(())
    }
}

/// Adds up all classes that stand for this feed, alone or with others.
pub(crate) fn feed_count(
    counters: &Counters,
    classes: &[ClassSpec],
    feed: &str,
    outcome: Outcome,
) -> Result<Counter, DatapathError> {
    let mut sum = Counter::default();
    for (id, spec) in (1..).zip(classes) {
        let named = |origin: &Origin| matches!(origin, Origin::Feed(name) if name == feed);
        if spec.origins.iter().any(named) {
            let count = counters.class(id, outcome)?;
            sum.packets += count.packets;
            sum.bytes += count.bytes;
        }
    }
    Ok(sum)
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
