//! Lists.

use std::time::Duration;

use weir_common::counter::Outcome;

use super::{Page, Reading, gauge};
use crate::record::Record;

impl Page {
    pub(super) fn feeds(&self, reading: &Reading, record: &Record) -> prometheus::Result<()> {
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
        let interval = self.gauge(
            "weir_feed_interval_seconds",
            "How often a list is asked for; 0 for one that comes by itself.",
            &["feed"],
        )?;
        let changed = self.gauge(
            "weir_feed_changed_entries",
            "Entries that came with the last change of a list, and that went.",
            &["feed", "change"],
        )?;
        let took = self.real(
            "weir_feed_read_duration_seconds",
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
        let bytes = self.counter(
            "weir_feed_bytes_total",
            "Bytes of the packets that weir_feed_packets_total counts, without padding.",
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
            interval.with_label_values(&[name]).set(feed.interval_seconds.cast_signed());
            changed.with_label_values(&[name, "added"]).set(gauge(state.added));
            changed.with_label_values(&[name, "removed"]).set(gauge(state.removed));
            took.with_label_values(&[name]).set(Duration::from_millis(state.milliseconds).as_secs_f64());
            expired.with_label_values(&[name]).set(i64::from(state.expired));
            for (result, count) in [
                ("ok", state.reads.ok),
                ("unchanged", state.reads.unchanged),
                ("refused", state.reads.refused),
                ("failed", state.reads.failed),
            ] {
                reads.with_label_values(&[name, result]).inc_by(count);
            }
            for (outcome, count) in Outcome::ALL.into_iter().zip(reading.feed(&record.classes, name)) {
                packets.with_label_values(&[name, outcome.as_str()]).inc_by(count.packets);
                bytes.with_label_values(&[name, outcome.as_str()]).inc_by(count.bytes);
            }
        }
        Ok(())
    }
}
