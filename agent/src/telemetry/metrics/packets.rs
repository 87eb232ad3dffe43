//! Packets, classes, limits, events.

use weir_common::counter::{Answer, Outcome, Tally};

use super::{Page, Reading};
use crate::{datapath::Attached, record::Record};

impl Page {
    pub(super) fn packets(&self, reading: &Reading, interfaces: &[Attached]) -> prometheus::Result<()> {
        const LABELS: &[&str] = &["interface", "family", "verdict", "reason"];
        let packets = self.counter("weir_packets_total", "Packets, each counted once.", LABELS)?;
        let bytes = self.counter(
            "weir_bytes_total",
            "Bytes of the packets that weir_packets_total counts, without padding.",
            LABELS,
        )?;
        for row in &reading.packets {
            let interface = interfaces
                .iter()
                .find(|interface| interface.slot == row.slot && row.slot != 0)
                .map_or("other", |interface| interface.interface.as_str());
            let labels = [interface, row.family.as_str(), row.outcome.as_str(), row.reason.as_str()];
            packets.with_label_values(&labels).inc_by(row.count.packets);
            bytes.with_label_values(&labels).inc_by(row.count.bytes);
        }
        Ok(())
    }

    /// What the policy makes of lists that overlap: sources on the same lists are one class.
    pub(super) fn classes(&self, reading: &Reading, record: &Record) -> prometheus::Result<()> {
        const LABELS: &[&str] = &["class", "lists", "verdict"];
        let packets = self.counter(
            "weir_class_packets_total",
            "Packets whose source is on exactly these lists, by what that did to them.",
            LABELS,
        )?;
        let bytes = self.counter(
            "weir_class_bytes_total",
            "Bytes of the packets that weir_class_packets_total counts, without padding.",
            LABELS,
        )?;
        for ((number, spec), counts) in (1..).zip(&record.classes).zip(&reading.classes) {
            let (number, mut lists) = (u32::to_string(&number), None);
            for (outcome, count) in
                Outcome::ALL.into_iter().zip(counts).filter(|(_, count)| count.packets > 0)
            {
                let names = || spec.origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ");
                let lists: &str = lists.get_or_insert_with(names);
                packets.with_label_values(&[&number, lists, outcome.as_str()]).inc_by(count.packets);
                bytes.with_label_values(&[&number, lists, outcome.as_str()]).inc_by(count.bytes);
            }
        }
        Ok(())
    }

    pub(super) fn limits(&self, reading: &Reading, record: &Record) -> prometheus::Result<()> {
        const LABELS: &[&str] = &["limit", "verdict"];
        let packets = self.counter(
            "weir_limit_packets_total",
            "Packets for which a limit was the last to be asked.",
            LABELS,
        )?;
        let bytes = self.counter(
            "weir_limit_bytes_total",
            "Bytes of the packets that weir_limit_packets_total counts, without padding.",
            LABELS,
        )?;
        for (limit, counts) in record.limits.iter().zip(&reading.limits) {
            for (answer, count) in Answer::ALL.into_iter().zip(counts) {
                let labels = [limit.name.as_str(), answer.as_str()];
                packets.with_label_values(&labels).inc_by(count.packets);
                bytes.with_label_values(&labels).inc_by(count.bytes);
            }
        }
        Ok(())
    }

    pub(super) fn events(&self, tally: &Tally, received: u64) -> prometheus::Result<()> {
        let events = self.counter(
            "weir_events_total",
            "Packets against which a rule spoke, by what became of their event: suppressed ones were over the \
             budget, lost ones found the ring buffer full.",
            &["result"],
        )?;
        events.with_label_values(&["received"]).inc_by(received);
        events.with_label_values(&["suppressed"]).inc_by(tally.events_suppressed);
        events.with_label_values(&["lost"]).inc_by(tally.events_lost);
        Ok(())
    }
}
