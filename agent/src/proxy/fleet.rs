//! Bans that gateways share, through a Redis or Valkey: what one has banned all drop.
//!
//! A stream carries the changes, and a hash beside it what is in force, a field for each gateway and
//! prefix. Each gateway publishes its own bans only, so nothing goes round in circles. It compares what
//! its book says with what the hash has of it, at a start, after each change and when Redis is back, so
//! whatever was missed is made good. The others follow the stream; whoever has lost his place in it
//! takes the hash instead.

/// What is said of a prefix, and its spelling.
mod entry;
/// What is still to be published. Pure.
mod ledger;
/// The connection.
mod link;
/// From the book to Redis.
mod publish;
/// From Redis to the book.
mod follow;
/// How far the stream has been read.
mod cursor;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{api::Desk, config::l7, naming::Naming, rules::Bulletin, telemetry::registry::Registry};
use link::Fault;

/// Pauses between attempts to connect: the first, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a member of a fleet works with.
#[derive(Clone, Debug)]
struct Member {
    settings: l7::Fleet,
    state: PathBuf,
    naming: Arc<Naming>,
    desk: Desk,
    bulletin: Bulletin,
    counts: Counts,
    /// Those who publish and who follow tell each other.
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What Redis had may be lost: the book is to be compared with it.
    lost: Notify,
    /// All that others have said is in the book.
    current: watch::Sender<bool>,
    quiet: Mutex<Quiet>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { lost: Notify::default(), current: watch::Sender::new(false), quiet: Mutex::default() }
    }
}

/// What leaves the book because another gateway has said so: that is not published again.
#[derive(Debug, Default)]
struct Quiet {
    /// Bans of this gateway.
    own: BTreeSet<IpNet>,
    /// Bans of others.
    foreign: BTreeSet<IpNet>,
}

impl Shared {
    fn quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) {
        self.current.send_replace(true);
    }

    fn behind(&self) {
        self.current.send_replace(false);
    }

    /// Waits until all that others have said is in the book.
    async fn caught_up(&self) {
        // The sender is in the same place.
        _ = self.current.subscribe().wait_for(|current| *current).await;
    }
}

#[derive(Clone, Debug)]
struct Counts {
    connected: IntGauge,
    entries: IntCounterVec,
    resyncs: IntCounter,
}

impl Counts {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counts = Self {
            connected: IntGauge::new(
                "weir_fleet_connected",
                "1: this gateway hears what the others ban; 0: it goes on alone.",
            )?,
            entries: IntCounterVec::new(
                Opts::new(
                    "weir_fleet_entries_total",
                    "Bans and lifts that were published (out) or heard (in), and what became of them.",
                ),
                &["direction", "result"],
            )?,
            resyncs: IntCounter::new(
                "weir_fleet_resyncs_total",
                "How often all bans were read anew, because the place in the stream was lost.",
            )?,
        };
        registry.register(Box::new(counts.connected.clone()))?;
        registry.register(Box::new(counts.entries.clone()))?;
        registry.register(Box::new(counts.resyncs.clone()))?;
        Ok(counts)
    }

    fn heard(&self, result: &str) {
        self.entries.with_label_values(&["in", result]).inc();
    }

    fn published(&self, result: &str) {
        self.entries.with_label_values(&["out", result]).inc();
    }
}

/// Adds what is counted of a fleet, for the catalogue of metrics.
///
/// # Errors
/// If there is a metric of that name.
pub(crate) fn describe(registry: &Registry) -> prometheus::Result<()> {
    Counts::new(registry).map(drop)
}

/// Shares bans until `stopped` changes. `state` is the state directory.
///
/// # Errors
/// If there is a metric of that name.
pub(crate) fn spawn(
    settings: &l7::Fleet,
    (state, naming): (PathBuf, Arc<Naming>),
    (desk, bulletin): (Desk, Bulletin),
    registry: &Registry,
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<()>,
) -> prometheus::Result<()> {
    let counts = Counts::new(registry)?;
    let (settings, shared) = (settings.clone(), Arc::default());
    let member = Member { settings, state, naming, desk, bulletin, counts, shared };
    let mut stopped = stopped.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = publish::run(member.clone()) => {}
            () = follow::run(member) => {}
            _ = stopped.changed() => {}
        }
    });
    Ok(())
}

/// What connects again and again: longer pauses each time, and one line of log for each trouble.
#[derive(Debug)]
struct Patience {
    what: &'static str,
    pause: Duration,
    told: bool,
}

impl Patience {
    const fn new(what: &'static str) -> Self {
        Self { what, pause: PAUSES.0, told: false }
    }

    /// It works.
    fn reset(&mut self) {
        if std::mem::take(&mut self.told) {
            tracing::info!(what = self.what, "the fleet's Redis is back");
        }
        self.pause = PAUSES.0;
    }

    /// It does not. Returns when it is time for the next attempt.
    async fn wait(&mut self, fault: &Fault) {
        if std::mem::replace(&mut self.told, true) {
            tracing::debug!(what = self.what, %fault, "the fleet's Redis");
        } else {
            tracing::warn!(what = self.what, %fault, "the fleet's Redis is away; this gateway goes on alone");
        }
        // Not all gateways at the same moment.
        sleep(self.pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use entry::fuzz;
