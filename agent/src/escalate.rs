//! Offences of sources, and what they lead to: a risk that fades, from which decisions follow, and bans
//! that double.

/// What sources have done. Pure: the time comes from outside.
pub mod ladder;
/// From a step of the ladder to a ban.
mod task;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};
use tokio::sync::mpsc;
use weir_common::{counter::Outcome, event::Event, verdict::Reason};

use crate::{
    config::l7::{
        Escalation,
        escalation::{Mode, Weights},
    },
    decision::Client,
    notify::{Kind, Notifier},
    telemetry::registry::Registry,
};
use ladder::{Book, Step};
pub(crate) use task::run;

/// Bans that wait to be made. Beyond that the source goes on for the moment, and offends again.
const PLACES: usize = 1024;

/// What a source has done.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// A request of it got this status.
    Status(u16),
    /// A request of it met this rule.
    Rule {
        /// The rule.
        name: Arc<str>,
        /// What it says that this weighs.
        weight: f64,
    },
    /// A request of it was over a quota.
    Quota,
    /// A packet of it was over a limit of the kernel.
    Limit,
    /// It was refused for what it has done, and came again.
    Refused,
    /// It is banned, and came all the same. Where the ladder has not banned it, that is nothing.
    Banned,
}

impl Cause {
    /// Returns its kind, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Rule { .. } => "rule",
            Self::Quota => "quota",
            Self::Limit => "limit",
            Self::Refused => "refused",
            Self::Banned => "banned",
        }
    }

    fn weight(&self, weights: &Weights) -> f64 {
        match self {
            Self::Status(status) => weights.status(*status),
            Self::Rule { weight, .. } => *weight,
            Self::Quota => weights.quota,
            Self::Limit => weights.limit,
            Self::Refused | Self::Banned => weights.refused,
        }
    }
}

/// An offence.
#[derive(Clone, Debug, PartialEq)]
pub struct Offence {
    /// Whose.
    pub client: Client,
    /// What.
    pub cause: Cause,
}

/// A ban that is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    client: Client,
    lasts: Duration,
    risk: f64,
    shadow: bool,
}

/// What sources have done, shared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ladder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    settings: ArcSwap<Escalation>,
    book: Book,
    due: mpsc::Sender<Due>,
    notifier: Notifier,
    counts: Counts,
    /// Evictions that have been counted.
    evicted: AtomicU64,
}

#[derive(Clone, Debug)]
struct Counts {
    offences: IntCounterVec,
    bans: IntCounterVec,
    sources: IntGauge,
    evictions: IntCounter,
}

impl Counts {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            offences: IntCounterVec::new(
                Opts::new("weir_escalation_offences_total", "Offences that weigh something."),
                &["cause"],
            )?,
            bans: IntCounterVec::new(
                Opts::new("weir_escalation_bans_total", "Bans that were due, and what became of them."),
                &["result"],
            )?,
            sources: IntGauge::new("weir_escalation_sources", "Sources of which something is known.")?,
            evictions: IntCounter::new(
                "weir_escalation_evictions_total",
                "Sources that were forgotten early, for want of room.",
            )?,
        })
    }
}

impl Ladder {
    /// Returns a ladder, and the end at which bans come out that are due.
    ///
    /// # Errors
    /// If a metric is not well formed.
    pub fn new(settings: &Escalation, notifier: Notifier) -> prometheus::Result<(Self, mpsc::Receiver<Due>)> {
        let (due, receiver) = mpsc::channel(PLACES);
        let ladder = Self(Arc::new(Inner {
            started: Instant::now(),
            settings: ArcSwap::from_pointee(settings.clone()),
            book: Book::default(),
            due,
            notifier,
            counts: Counts::new()?,
            evicted: AtomicU64::new(0),
        }));
        Ok((ladder, receiver))
    }

    /// Adds what is counted to a registry.
    ///
    /// # Errors
    /// If there is a metric of that name.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let Counts { offences, bans, sources, evictions } = &self.0.counts;
        registry.register(Box::new(offences.clone()))?;
        registry.register(Box::new(bans.clone()))?;
        registry.register(Box::new(sources.clone()))?;
        registry.register(Box::new(evictions.clone()))
    }

    /// Sets what the configuration says. What sources have done stays.
    pub fn set(&self, settings: &Escalation) {
        self.0.settings.store(Arc::new(settings.clone()));
    }

    /// Returns what the configuration says.
    #[must_use]
    pub fn settings(&self) -> Arc<Escalation> {
        self.0.settings.load_full()
    }

    /// Returns how much a source has done, less what is forgotten.
    #[must_use]
    pub fn risk(&self, address: IpAddr) -> f64 {
        let settings = self.0.settings.load();
        if settings.mode == Mode::Off { 0.0 } else { self.0.book.risk(&settings, address, self.now()) }
    }

    /// Takes note of an offence.
    pub fn note(&self, Offence { client, cause }: Offence) {
        let settings = self.0.settings.load();
        let weight = cause.weight(&settings.weights);
        if settings.mode == Mode::Off || weight <= 0.0 {
            return;
        }
        if cause == Cause::Banned && !self.0.book.is_banned(client.address, self.now()) {
            return;
        }
        self.0.counts.offences.with_label_values(&[cause.kind()]).inc();
        let step = self.0.book.note(&settings, client.address, weight, self.now());
        self.count();
        match step {
            Step::Stay => {}
            Step::Capped => {
                self.ban("capped");
                let most = settings.ban.per_minute;
                let text = format!("more than {most} bans in a minute are due; those beyond are not made");
                self.0.notifier.happened(Kind::BanCap, text);
            }
            Step::Ban { lasts, risk } => {
                let due = Due { client, lasts, risk, shadow: settings.mode == Mode::Shadow };
                if self.0.due.try_send(due).is_err() {
                    self.ban("crowded");
                }
            }
        }
    }

    /// Takes note of a sampled packet.
    pub fn packet(&self, event: &Event) {
        let (limit, dropped) = (Reason::Limit as u8, Outcome::Drop as u8);
        if event.reason == limit && event.outcome == dropped {
            let client = Client { address: event.source(), direct: true };
            self.note(Offence { client, cause: Cause::Limit });
        }
    }

    fn ban(&self, result: &str) {
        self.0.counts.bans.with_label_values(&[result]).inc();
    }

    fn count(&self) {
        let (sources, evicted) = self.0.book.sizes();
        self.0.counts.sources.set(i64::try_from(sources).unwrap_or(i64::MAX));
        // Whoever is overtaken by another thread has nothing to add.
        let before = self.0.evicted.fetch_max(evicted, Relaxed);
        self.0.counts.evictions.inc_by(evicted.saturating_sub(before));
    }

    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
