use std::fmt::Write as _;

use super::{
    report::{Compared, Report},
    rows::{SourceRows, VerdictRow},
};
use crate::output::table;

/// Which tables are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sections {
    /// All of them.
    All,
    /// Verdicts by reason, with families, lists and limits.
    Reason,
    /// Sources.
    Source,
}

/// Returns a report for people.
#[must_use]
pub fn text(report: &Report, sections: Sections) -> String {
    let mut text = head(report);
    if sections != Sections::Source {
        text.push_str(&verdicts(&report.verdicts, report.packets));
        text.push_str(&breakdown(report));
    }
    if sections != Sections::Reason
        && let Some(rows) = &report.sources
    {
        text.push_str(&sources(rows, "SOURCE"));
    }
    if let Some(compared) = &report.against {
        text.push_str(&against(compared, report, sections));
    }
    text.push_str(&notes(report));
    _ = writeln!(
        text,
        "\n{} packets in {:.2} s, {:.1} million a second",
        report.packets,
        report.elapsed_seconds,
        report.packets_per_second / 1e6
    );
    text
}

fn head(report: &Report) -> String {
    let Report { capture, format, compression, packets, bytes, config, shadow, rules, .. } = report;
    let compression = compression.map_or_else(String::new, |compression| format!(", {compression}"));
    let mut text = format!("{} ({format}{compression}): {packets} packets, {bytes} bytes", capture.display());
    if let Some((first, last)) = report.first.as_ref().zip(report.last.as_ref()) {
        _ = write!(text, "\nfrom {first} to {last}, {:.3} s", report.seconds);
    }
    let mode = if *shadow { ", in shadow mode: what it would drop passes" } else { "" };
    let rules = rules.map(|rules| format!(" with {rules} bans and rules")).unwrap_or_default();
    _ = writeln!(text, "\nunder {}{rules}{mode}", config.display());
    text
}

fn verdicts(rows: &[VerdictRow], packets: u64) -> String {
    let cells = rows.iter().map(|row| {
        vec![
            row.verdict.as_str().to_owned(),
            row.reason.to_owned(),
            row.packets.to_string(),
            share(row.packets, packets),
            row.bytes.to_string(),
        ]
    });
    section(&["VERDICT", "REASON", "PACKETS", "SHARE", "BYTES"], cells)
}

fn breakdown(report: &Report) -> String {
    let families = report.families.iter().map(|row| {
        vec![
            row.family.to_owned(),
            row.verdict.as_str().to_owned(),
            row.packets.to_string(),
            share(row.packets, report.packets),
            row.bytes.to_string(),
        ]
    });
    let mut text = section(&["FAMILY", "VERDICT", "PACKETS", "SHARE", "BYTES"], families);
    let lists = report.lists.iter().map(|row| {
        let counts = [row.pass, row.drop, row.would_drop, row.bytes];
        [row.list.clone()].into_iter().chain(counts.iter().map(u64::to_string)).collect()
    });
    text.push_str(&section(&["LIST", "PASS", "DROP", "WOULD DROP", "BYTES"], lists));
    let limits = report.limits.iter().map(|row| {
        let counts = [row.pass, row.near, row.drop, row.would_drop, row.bytes];
        [row.limit.clone()].into_iter().chain(counts.iter().map(u64::to_string)).collect()
    });
    text.push_str(&section(&["LIMIT", "WITHIN", "NEAR", "DROP", "WOULD DROP", "BYTES"], limits));
    text
}

fn sources(sources: &SourceRows, title: &str) -> String {
    let rows = sources.rows.iter().map(|row| {
        let counts = [row.packets, row.bytes, row.pass, row.drop, row.would_drop];
        let reasons = if row.reasons.is_empty() { "clean".to_owned() } else { row.reasons.join(", ") };
        [row.source.clone()].into_iter().chain(counts.iter().map(u64::to_string)).chain([reasons]).collect()
    });
    let header = &[title, "PACKETS", "BYTES", "PASS", "DROP", "WOULD DROP", "REASONS"];
    let mut text = section(header, rows);
    let more = sources.known.saturating_sub(sources.rows.len());
    if more > 0 {
        _ = writeln!(text, "and {more} more (--top)");
    }
    if sources.left_out_packets > 0 {
        _ = writeln!(
            text,
            "{} packets are of sources that were not kept apart, as there were too many: counts are at least those",
            sources.left_out_packets
        );
    }
    text
}

fn against(compared: &Compared, report: &Report, sections: Sections) -> String {
    let Compared { config, shadow, changed, changed_bytes, same_for_another_reason, .. } = compared;
    let mode = if *shadow { " (in shadow mode)" } else { "" };
    let mut text = format!(
        "\nunder {}{mode}, {changed} packets ({}, {changed_bytes} bytes) would get another verdict",
        config.display(),
        share(*changed, report.packets)
    );
    if *same_for_another_reason > 0 {
        _ = write!(text, ", and {same_for_another_reason} the same for another reason");
    }
    text.push('\n');
    let changes = compared.changes.iter().map(|row| {
        vec![
            row.verdict.as_str().to_owned(),
            row.reason.clone(),
            row.other_verdict.as_str().to_owned(),
            row.other_reason.clone(),
            row.packets.to_string(),
            row.bytes.to_string(),
        ]
    });
    if sections != Sections::Source {
        text.push_str(&section(&["VERDICT", "REASON", "BECOMES", "REASON", "PACKETS", "BYTES"], changes));
    }
    if sections != Sections::Reason
        && let Some(rows) = &compared.sources
    {
        text.push_str(&sources(rows, "SOURCE OF THESE"));
    }
    text
}

fn notes(report: &Report) -> String {
    let notes = &report.notes;
    let mut lines = Vec::new();
    let mut note = |count: u64, text: &str| {
        if count > 0 {
            lines.push(format!("{count} {text}"));
        }
    };
    note(notes.sent, "packets were sent by the host itself, so they are left out");
    for (link, count) in &notes.unknown_links {
        note(*count, &format!("packets have link type {link}, which is not known, and are left out"));
    }
    note(notes.unknown_blocks, "blocks of the file have no packets, and were skipped");
    note(notes.cut, "packets were not captured whole, and are judged by what there is");
    note(notes.late, "packets came out of order, and are judged at the time of the one before");
    note(notes.steps_back, "times the clock of the capture went back; it is taken to go on from there");
    note(notes.untimed, "packets have no time, and are judged at that of the one before");
    if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join("\n")) }
}

fn section(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return String::new();
    }
    format!("\n{}", table(header, rows))
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, all: u64) -> String {
    if all == 0 {
        return String::new();
    }
    format!("{:.2} %", part as f64 * 100.0 / all as f64)
}
