//! The agent, its policy and its configuration.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use weir_common::{ABI_VERSION, class, overlay};

use super::{Buckets, Page, Reloads, RuleCounts};
use crate::{config::Enforce, confine::Confinement, datapath::Attached, record::Record};

impl Page {
    pub(super) fn build(&self, kernel: &str) -> prometheus::Result<()> {
        self.gauge(
            "weir_build_info",
            "The agent that answers, the kernel that it runs on, and the version of the layout of its maps.",
            &["version", "kernel", "abi"],
        )?
        .with_label_values(&[env!("CARGO_PKG_VERSION"), kernel, &ABI_VERSION.to_string()])
        .set(1);
        Ok(())
    }

    pub(super) fn confinement(&self, confinement: Option<&Confinement>) -> prometheus::Result<()> {
        let metric = self.gauge(
            "weir_confined",
            "1 for each means of the kernel that holds the agent to what it needs, 0 where the kernel has it not.",
            &["layer"],
        )?;
        for layer in confinement.iter().flat_map(|confinement| &confinement.layers) {
            metric.with_label_values(&[layer.layer.as_str()]).set(i64::from(layer.applied));
        }
        Ok(())
    }

    pub(super) fn policy(
        &self,
        record: &Record,
        publish_seconds: f64,
        unloaded: bool,
    ) -> prometheus::Result<()> {
        self.set(
            "weir_enforcing",
            "1 if the policy drops, 0 if it only counts what it would drop or was unloaded.",
            i64::from(record.enforce == Enforce::Enforce && !unloaded),
        )?;
        self.counter(
            "weir_policy_publications_total",
            "Policies put in force since the maps were made: each is a generation of the tables.",
            &[],
        )?
        .with_label_values::<&str>(&[])
        .inc_by(record.publication);
        self.set(
            "weir_policy_applied_timestamp_seconds",
            "When the generation in force was published; its age is the time since.",
            record.published.cast_signed(),
        )?;
        self.real(
            "weir_policy_publish_duration_seconds",
            "From lists in memory to the flip, at the last publication.",
            &[],
        )?
        .with_label_values::<&str>(&[])
        .set(publish_seconds);
        Ok(())
    }

    pub(super) fn reloads(&self, reloads: &Reloads) -> prometheus::Result<()> {
        let total = self.counter(
            "weir_config_reloads_total",
            "Configurations put in force or refused since the agent started.",
            &["result"],
        )?;
        total.with_label_values(&["ok"]).inc_by(reloads.ok.load(Relaxed));
        total.with_label_values(&["refused"]).inc_by(reloads.refused.load(Relaxed));
        self.set(
            "weir_config_reload_success_timestamp_seconds",
            "When the configuration in force was read: at the start, or at the last reload that was not refused.",
            reloads.taken.load(Relaxed).cast_signed(),
        )
    }

    pub(super) fn interfaces(&self, attached: &[Attached], missing: &[String]) -> prometheus::Result<()> {
        let metric = self.gauge(
            "weir_interface_attached",
            "1 for an interface with the program on it, 0 for one that is gone or does not take it.",
            &["interface", "mode"],
        )?;
        for interface in attached {
            metric.with_label_values(&[interface.interface.as_str(), interface.mode.as_str()]).set(1);
        }
        for interface in missing {
            metric.with_label_values(&[interface.as_str(), "none"]).set(0);
        }
        Ok(())
    }

    /// How full everything is that has a size.
    pub(super) fn tables(
        &self,
        record: &Record,
        buckets: &Buckets,
        rules: &RuleCounts,
    ) -> prometheus::Result<()> {
        let entries = self.real(
            "weir_table_entries",
            "Entries of a table: ipv4 and ipv6 of lists, classes, rules (bans too), buckets of limits (estimated).",
            &["table"],
        )?;
        let capacity = self.gauge(
            "weir_table_capacity",
            "Entries for which a table is meant. Those of lists grow by themselves.",
            &["table"],
        )?;
        let set = |table: &str, used: f64, room: u64| {
            entries.with_label_values(&[table]).set(used);
            capacity.with_label_values(&[table]).set(room.cast_signed());
        };
        for table in &record.tables {
            set(&table.name, real(table.entries), table.capacity);
        }
        set("classes", real(record.classes.len() as u64), u64::from(class::CAPACITY) - 1);
        set("rules", real(rules.in_force()), u64::from(overlay::CAPACITY));
        set("buckets", buckets.live, buckets.capacity);
        self.real(
            "weir_buckets_full_lines_ratio",
            "The share of lines of buckets in which all owe: new sources there share one (estimated).",
            &[],
        )?
        .with_label_values::<&str>(&[])
        .set(buckets.full);
        Ok(())
    }

    pub(super) fn scrape(&self, started: Instant) -> prometheus::Result<()> {
        self.real("weir_scrape_duration_seconds", "How long it took to read what this page says.", &[])?
            .with_label_values::<&str>(&[])
            .set(started.elapsed().as_secs_f64());
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "no table has 2^53 entries")]
const fn real(count: u64) -> f64 {
    count as f64
}
