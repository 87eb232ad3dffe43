//! What is in force, for others.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, SystemTime},
};

use weir_common::ABI_VERSION;

use super::{App, Built, drift::UNLOADED};
use crate::{
    config::Enforce,
    decision::source::Names,
    notify::Kind,
    policy::{compile, generations::Way, warnings},
    proxy::judge::World,
    record::{FeedRecord, LimitRecord, Record, TableRecord, seconds},
    telemetry::metrics::View,
};

impl App {
    /// Returns what decisions about requests are made by.
    pub(super) fn world(&self, record: &Record) -> World {
        let names = Names::new(&record.classes, &record.limits);
        World { memory: self.datapath.shared_memory(), names }
    }

    pub(super) fn view(&self, built: &Built, publication: u64, took: Duration) -> View {
        let room = compile::room(self.datapath.sizes());
        let table = |name: &str, entries, capacity| TableRecord { name: name.to_owned(), entries, capacity };
        let record = Record {
            abi: ABI_VERSION,
            publication,
            published: seconds(SystemTime::now()),
            enforce: if built.policy.shadow { Enforce::Shadow } else { Enforce::Enforce },
            classes: self.classes.specs().to_vec(),
            limit_numbers: self.numbers.clone(),
            limits: built.policy.limits.iter().map(LimitRecord::from).collect(),
            feeds: self.feeds.iter().map(FeedRecord::from).collect(),
            conflicts: built.conflicts.clone(),
            confinement: Some(self.confinement.clone()),
            tables: vec![table("ipv4", built.demand.v4, room.v4), table("ipv6", built.demand.v6, room.v6)],
        };
        let (interfaces, missing) = (self.interfaces.clone(), self.missing());
        let memory = self.datapath.shared_memory();
        let (publish_seconds, unloaded) = (took.as_secs_f64(), self.patrol.gone);
        View { record, interfaces, missing, unloaded, publish_seconds, memory }
    }

    /// Says what is in force, and leaves the record of it.
    pub(super) fn report(&self, view: &View, adopted: bool, way: Way) {
        let record = &view.record;
        tracing::info!(
            publication = record.publication,
            enforce = !record.enforce.is_shadow(),
            adopted,
            written = way.as_str(),
            ipv4 = record.tables[0].entries,
            ipv6 = record.tables[1].entries,
            seconds = view.publish_seconds,
            "policy in force"
        );
        for conflicts in &record.conflicts {
            tracing::warn!(list = %conflicts.list, entries = conflicts.entries,
                "the list names what must not be cut off; see `weir status`");
        }
        self.store(record);
    }

    /// Returns what of the configuration in force may not be meant so.
    pub(super) fn warnings(&self) -> Vec<String> {
        warnings::of(&self.config, self.datapath.sizes().limiter_bits)
    }

    /// Logs them, and before them another.
    pub(super) fn warn(&self, another: Option<String>) {
        another.into_iter().chain(self.warnings()).for_each(|warning| tracing::warn!("{warning}"));
    }

    /// Says which lists are held back and which interfaces are not protected, to whom it concerns.
    pub(super) fn tell_of_trouble(&self) {
        let held = self.feeds.iter().filter_map(|feed| {
            let refusal = feed.state.refusal.as_ref().filter(|refusal| refusal.acceptable)?;
            let (name, cause) = (&feed.config.name, &refusal.cause);
            let text = format!(
                "the list is held back ({cause}), the last good one is in force; \
                `weir feeds accept {name}` takes it"
            );
            Some((name.clone(), text))
        });
        self.notifier.set(Kind::FeedHeld, held);
        let why =
            if self.patrol.gone { UNLOADED } else { "the interface is not protected; it is when it is back" };
        let lost = |name: String| (name, why.to_owned());
        self.notifier.set(Kind::InterfaceLost, self.missing().into_iter().map(lost));
    }

    /// Keeps the record. That it cannot be kept is told once: news of lists come every second.
    pub(super) fn store(&self, record: &Record) {
        let stored = record.store(&self.places.state);
        match (stored, self.record_fails.load(Relaxed)) {
            (Err(error), false) => {
                self.record_fails.store(true, Relaxed);
                tracing::error!(%error, directory = %self.places.state.display(),
                    "cannot write the record; enforcement goes on, but `weir explain` will not know the names");
            }
            (Ok(()), true) => {
                self.record_fails.store(false, Relaxed);
                tracing::info!("the record is written again");
            }
            (Err(_), true) | (Ok(()), false) => {}
        }
    }
}
