use std::collections::BTreeMap;

use serde::Serialize;
use weir_common::{
    counter::{Answer, Counter, Outcome},
    verdict::Reason,
};

use super::{
    Fate,
    comparison::Comparison,
    sources::{Namer, Sources},
    tally::{Tally, sum},
};
use crate::offline::Names;

/// Packets of a verdict and a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictRow {
    /// What becomes of them.
    pub verdict: Fate,
    /// Why, as in metrics; `cut` where the capture does not have what decides.
    pub reason: &'static str,
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets of a family and a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyRow {
    /// `ipv4`, `ipv6` or `other`.
    pub family: &'static str,
    /// What becomes of them.
    pub verdict: Fate,
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a list did, packets of several lists with each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListRow {
    /// The list: `feed NAME`, `consensus NAME`, or the setting that names sources.
    pub list: String,
    /// Packets of its sources that it let pass.
    pub pass: u64,
    /// That it dropped.
    pub drop: u64,
    /// That it would have dropped, were it not in shadow mode.
    pub would_drop: u64,
    /// Bytes of all these.
    pub bytes: u64,
}

/// What a limit said, of packets for which it was the last to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitRow {
    /// The limit.
    pub limit: String,
    /// Packets within it.
    pub pass: u64,
    /// Of those, packets in its soft band.
    pub near: u64,
    /// Over it, and dropped.
    pub drop: u64,
    /// Over it, and passed, because it is in shadow mode.
    pub would_drop: u64,
    /// Bytes of all these.
    pub bytes: u64,
}

/// Sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRows {
    /// Those that are shown.
    pub rows: Vec<SourceRow>,
    /// How many were kept apart.
    pub known: usize,
    /// Packets of sources that were not: there were too many. Counts of the others may be too low by
    /// what they sent before they were kept.
    pub left_out_packets: u64,
}

/// What a source sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRow {
    /// Its address, or a pseudonym.
    pub source: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Packets that pass.
    pub pass: u64,
    /// That are dropped.
    pub drop: u64,
    /// That would be.
    pub would_drop: u64,
    /// Of which that is not known.
    pub unknown: u64,
    /// Why, whatever became of them.
    pub reasons: Vec<&'static str>,
}

/// Packets of which two policies say different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeRow {
    /// What becomes of them.
    pub verdict: Fate,
    /// Why, with the lists or the limit that say so.
    pub reason: String,
    /// What would become of them under the other policy.
    pub other_verdict: Fate,
    /// Why.
    pub other_reason: String,
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Returns rows without those that are empty, in the order of the kernel's numbers.
pub(super) fn verdict_rows(tally: &Tally) -> Vec<VerdictRow> {
    let mut rows: BTreeMap<(Fate, &'static str), (Reason, Counter)> = BTreeMap::new();
    for (_, fate, reason, count) in tally.rows().filter(|(.., count)| count.packets > 0) {
        let name = if fate == Fate::Unknown { "cut" } else { reason.as_str() };
        let (_, known) = rows.entry((fate, name)).or_insert((reason, Counter::default()));
        *known = sum(*known, count);
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|((fate, _), (reason, _))| (*fate, *reason));
    let row = |((verdict, reason), (_, count)): ((Fate, &'static str), (Reason, Counter))| VerdictRow {
        verdict,
        reason,
        packets: count.packets,
        bytes: count.bytes,
    };
    rows.into_iter().map(row).collect()
}

pub(super) fn family_rows(tally: &Tally) -> Vec<FamilyRow> {
    let mut rows: Vec<FamilyRow> = Vec::new();
    for (family, verdict, _, count) in tally.rows().filter(|(.., count)| count.packets > 0) {
        let family = family.as_str();
        match rows.last_mut().filter(|row| row.family == family && row.verdict == verdict) {
            Some(row) => {
                row.packets += count.packets;
                row.bytes += count.bytes;
            }
            None => rows.push(FamilyRow { family, verdict, packets: count.packets, bytes: count.bytes }),
        }
    }
    rows
}

pub(super) fn list_rows(tally: &Tally, names: &Names) -> Vec<ListRow> {
    let mut rows: BTreeMap<String, ListRow> = BTreeMap::new();
    for (class, counts) in tally.classes().filter(|(_, counts)| counts.iter().any(|count| count.packets > 0))
    {
        for origin in names.lists(class) {
            let list = origin.to_string();
            let empty = ListRow { list: list.clone(), pass: 0, drop: 0, would_drop: 0, bytes: 0 };
            let row = rows.entry(list).or_insert(empty);
            row.pass += counts[Outcome::Pass as usize].packets;
            row.drop += counts[Outcome::Drop as usize].packets;
            row.would_drop += counts[Outcome::WouldDrop as usize].packets;
            row.bytes += counts.iter().map(|count| count.bytes).sum::<u64>();
        }
    }
    rows.into_values().collect()
}

pub(super) fn limit_rows(tally: &Tally, names: &Names) -> Vec<LimitRow> {
    let row = |(number, limit): &(u8, String)| {
        let counts = tally.limit(*number);
        let of = |answer: Answer| counts[answer as usize].packets;
        LimitRow {
            limit: limit.clone(),
            pass: of(Answer::Within) + of(Answer::Near),
            near: of(Answer::Near),
            drop: of(Answer::Drop),
            would_drop: of(Answer::WouldDrop),
            bytes: counts.iter().map(|count| count.bytes).sum(),
        }
    };
    names.limits().iter().map(row).collect()
}

pub(super) fn source_rows(sources: &Sources, top: usize, namer: &Namer) -> SourceRows {
    let rows = sources.top(top).into_iter().map(|(address, source)| {
        let of = |fate: Fate| source.packets[fate as usize];
        SourceRow {
            source: namer.name(address),
            packets: source.total(),
            bytes: source.bytes,
            pass: of(Fate::Pass),
            drop: of(Fate::Drop),
            would_drop: of(Fate::WouldDrop),
            unknown: of(Fate::Unknown),
            reasons: source.reasons().map(Reason::as_str).collect(),
        }
    });
    SourceRows { rows: rows.collect(), known: sources.len(), left_out_packets: sources.left_out() }
}

/// Returns what changes from one policy, whose names these are, to the other, most first.
pub(super) fn change_rows(comparison: &Comparison<'_>, names: &Names) -> Vec<ChangeRow> {
    let others = comparison.policy.names();
    let mut changes: Vec<ChangeRow> = comparison
        .changes
        .iter()
        .map(|((before, after), count)| ChangeRow {
            verdict: before.fate,
            reason: before.why(names).to_string(),
            other_verdict: after.fate,
            other_reason: after.why(others).to_string(),
            packets: count.packets,
            bytes: count.bytes,
        })
        .collect();
    changes.sort_by(|a, b| {
        b.packets
            .cmp(&a.packets)
            .then_with(|| (&a.reason, &a.other_reason).cmp(&(&b.reason, &b.other_reason)))
    });
    changes
}
