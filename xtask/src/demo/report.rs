//! The table, the JSON object, and whether all went as it should.

use std::{
    env,
    fmt::{Display, Write as _},
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use serde_json::{Map, Value, json};
use weir_tests::{metrics::Metrics, namespace::Pair};

use super::{
    LIMIT_PPS, Mode,
    traffic::{Counts, Excess, Group, Requests},
};

/// How far the admitted rate may be from the limit.
const TOLERANCE: f64 = 0.02;
/// Lines of the agent's log that are shown after a failure.
const LOG_LINES: usize = 20;

/// What was sent, what arrived, and what the agent says of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) mode: Mode,
    /// From the start of the agent until it enforced.
    pub(super) ready: Duration,
    /// Entries of the IPv4 list. Each of them sends.
    pub(super) listed_addresses: usize,
    /// Frames of listed sources; three times the same.
    pub(super) sent: Counts,
    /// What arrived of them before the agent was started.
    pub(super) without: Counts,
    /// What arrived of them while it ran.
    pub(super) with: Counts,
    /// What arrived of them after it was killed.
    pub(super) orphaned: Counts,
    pub(super) clean_sources: usize,
    pub(super) clean: Requests,
    pub(super) limit: Excess,
    /// The metrics page, before the agent was killed.
    pub(super) metrics: Metrics,
    /// Pins that `weir unload` has left.
    pub(super) left_behind: Vec<PathBuf>,
    /// What the agent logged.
    pub(super) log: String,
}

impl Report {
    /// Returns what did not go as it should, and where to look.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        self.judge_listed(&mut failures);
        self.judge_clean(&mut failures);
        self.judge_limit(&mut failures);
        self.judge_metrics(&mut failures);
        for pin in &self.left_behind {
            failures
                .push(format!("`weir unload` left {} behind; see agent/src/datapath/pins.rs", pin.display()));
        }
        failures
    }

    fn judge_listed(&self, failures: &mut Vec<String>) {
        for group in Group::ALL {
            let (name, sent) = (name(group), at(&self.sent, group));
            let without = at(&self.without, group);
            if without != sent {
                failures.push(format!(
                    "{name}: {sent} frames were sent without weir, and {without} arrived: this machine loses \
                     frames, and nothing below is sure"
                ));
            }
            for (delivered, when) in [
                (at(&self.with, group), "while the agent ran"),
                (at(&self.orphaned, group), "after the agent was killed"),
            ] {
                if delivered != 0 {
                    failures.push(format!(
                        "{name}: {delivered} of {sent} frames got through {when}; see their reason in \
                         weir_packets_total{{verdict=\"pass\"}}, then common/src/packet.rs and common/src/table"
                    ));
                }
            }
        }
    }

    fn judge_clean(&self, failures: &mut Vec<String>) {
        let Requests { asked, answered, error } = &self.clean;
        if answered != asked {
            failures.push(format!(
                "clean sources: {answered} of {asked} requests were answered ({}); see \
                 weir_packets_total{{verdict=\"drop\"}} for a reason that is neither feed nor limit",
                error.as_deref().unwrap_or("no error")
            ));
        }
    }

    fn judge_limit(&self, failures: &mut Vec<String>) {
        let Excess { offered_pps, admitted_pps, .. } = self.limit;
        if self.limit_error().abs() > TOLERANCE || self.limit_error().is_nan() {
            failures.push(format!(
                "limit: {admitted_pps:.1} of {offered_pps:.1} packets a second were let through, the limit is \
                 {LIMIT_PPS}; see common/src/gcra.rs, and whether something else kept the CPUs busy"
            ));
        }
    }

    /// The page must tell what was sent, to the packet.
    fn judge_metrics(&self, failures: &mut Vec<String>) {
        const PACKETS: &str = "weir_packets_total";
        let v6 = at(&self.sent, Group::V6);
        let v4 = total(&self.sent) - v6;
        let over = self.limit.sent - self.limit.delivered;
        let mode = self.mode.to_string();
        let checks = [
            (PACKETS, vec![("family", "ipv4"), ("verdict", "drop"), ("reason", "feed")], v4),
            (PACKETS, vec![("family", "ipv6"), ("verdict", "drop"), ("reason", "feed")], v6),
            (PACKETS, vec![("verdict", "drop"), ("reason", "limit")], over),
            (PACKETS, vec![("verdict", "drop")], v4 + v6 + over),
            ("weir_feed_packets_total", vec![("feed", "ipsum"), ("verdict", "drop")], v4),
            ("weir_feed_packets_total", vec![("feed", "listed-v6"), ("verdict", "drop")], v6),
            ("weir_limit_packets_total", vec![("limit", "per-source"), ("verdict", "drop")], over),
            ("weir_feed_entries", vec![("feed", "ipsum"), ("family", "ipv4")], self.listed_addresses),
            ("weir_interface_attached", vec![("mode", mode.as_str())], 1),
        ];
        for (metric, labels, expected) in checks {
            let found = self.metrics.sum(metric, &labels);
            if !is_count(found, expected) {
                let labels: Vec<_> =
                    labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
                let labels = labels.join(",");
                failures.push(format!(
                    "metrics: {metric}{{{labels}}} should be {expected} and is {found}; see ebpf/src/account.rs"
                ));
            }
        }
    }

    fn limit_error(&self) -> f64 {
        self.limit.admitted_pps / f64::from(LIMIT_PPS) - 1.0
    }

    fn entries(&self) -> f64 {
        self.metrics.sum("weir_feed_entries", &[("feed", "ipsum"), ("family", "ipv4")])
    }

    /// Returns the last lines of the agent's log.
    pub(super) fn log_tail(&self) -> String {
        let lines: Vec<&str> = self.log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    pub(super) fn json(&self) -> Value {
        let metrics: Map<String, Value> =
            self.metrics.iter().map(|(series, value)| (series.to_string(), number(value))).collect();
        let tagged = |counts: &Counts| at(counts, Group::Vlan) + at(counts, Group::QinQ);
        json!({
            "ok": self.failures().is_empty(),
            "failures": self.failures(),
            "mode": self.mode.to_string(),
            "list_entries": number(self.entries()),
            "ready_ms": u64::try_from(self.ready.as_millis()).unwrap_or(u64::MAX),
            "distinct_listed_sources": self.listed_addresses,
            "listed_sent": total(&self.sent),
            "listed_delivered": total(&self.with),
            "listed_delivered_without_weir": total(&self.without),
            "listed_delivered_after_kill": total(&self.orphaned),
            "listed_v4_sent": at(&self.sent, Group::V4),
            "listed_v4_delivered": at(&self.with, Group::V4),
            "listed_v6_sent": at(&self.sent, Group::V6),
            "listed_v6_delivered": at(&self.with, Group::V6),
            "listed_vlan_sent": tagged(&self.sent),
            "listed_vlan_delivered": tagged(&self.with),
            "clean_sources": self.clean_sources,
            "clean_sent": self.clean.asked,
            "clean_delivered": self.clean.answered,
            "limit_pps": LIMIT_PPS,
            "offered_pps": rounded(self.limit.offered_pps),
            "admitted_pps": rounded(self.limit.admitted_pps),
            "metrics": metrics,
        })
    }

    pub(super) fn table(&self) -> String {
        let mut rows = vec![
            ["sources", "sent", "arrived without weir", "with weir", "weir killed", "dropped"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for group in Group::ALL {
            let (sent, with) = (at(&self.sent, group), at(&self.with, group));
            let orphaned = at(&self.orphaned, group);
            let counts = [sent, at(&self.without, group), with, orphaned, sent.saturating_sub(with)];
            rows.push([name(group).to_owned()].into_iter().chain(counts.map(grouped)).collect());
        }
        let Requests { asked, answered, .. } = self.clean;
        let none = || "-".to_owned();
        rows.push(vec![
            format!("{} clean, TCP requests", self.clean_sources),
            grouped(asked),
            none(),
            grouped(answered),
            none(),
            grouped(asked.saturating_sub(answered)),
        ]);
        let Excess { sent, delivered, offered_pps, admitted_pps } = self.limit;
        rows.push(vec![
            "1 over its limit, UDP".to_owned(),
            grouped(sent),
            none(),
            grouped(delivered),
            none(),
            grouped(sent.saturating_sub(delivered)),
        ]);
        let mut text = format!(
            "\nweir on {} ({} XDP): {} addresses of IPsum level 3, enforced {} ms after the start\n\n",
            Pair::INTERFACE,
            self.mode,
            grouped(self.listed_addresses),
            self.ready.as_millis()
        );
        text.push_str(&aligned(&rows));
        _ = write!(
            text,
            "\nlimit {LIMIT_PPS}/s: offered {offered_pps:.1}/s, admitted {admitted_pps:.1}/s ({:+.2} %)\n\n",
            self.limit_error() * 100.0
        );
        for (series, value) in self.metrics.series("weir_packets_total") {
            _ = writeln!(text, "{series} {value}");
        }
        text.push('\n');
        text.push_str(&if self.failures().is_empty() {
            coloured(32, "passed: nothing listed got through, everything clean did, the limit held")
        } else {
            coloured(31, "failed")
        });
        text.push('\n');
        text
    }
}

const fn name(group: Group) -> &'static str {
    match group {
        Group::V4 => "listed IPv4",
        Group::V6 => "listed IPv6",
        Group::Vlan => "listed, 802.1Q",
        Group::QinQ => "listed, QinQ",
    }
}

fn at(counts: &Counts, group: Group) -> usize {
    counts.get(&group).copied().unwrap_or(0)
}

fn total(counts: &Counts) -> usize {
    counts.values().sum()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn is_count(value: f64, expected: usize) -> bool {
    (value - expected as f64).abs() < 0.5
}

/// A counter of the page is a whole number: JSON shows it as one.
#[expect(clippy::cast_possible_truncation, reason = "checked")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Writes a number with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lays out rows in columns: the first to the left, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            _ = if column == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

fn coloured(colour: u8, text: impl Display) -> String {
    if io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_columns() {
        assert_eq!(
            [0, 999, 1000, 14_217, 1_000_000].map(grouped),
            ["0", "999", "1,000", "14,217", "1,000,000"]
        );
        let rows = [["a", "10"], ["bcd", "5"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a    10\nbcd   5\n");
        assert_eq!(number(3.0), json!(3));
        assert_eq!(number(0.5), json!(0.5));
    }
}
