use std::{
    collections::BTreeMap,
    iter,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use weir_common::counter::Counter;

use super::{
    Replay,
    comparison::Comparison,
    rows::{
        ChangeRow, FamilyRow, LimitRow, ListRow, SourceRows, VerdictRow, change_rows, family_rows,
        limit_rows, list_rows, source_rows, verdict_rows,
    },
    sources::{Namer, Sources},
    tally::sum,
};
use crate::{
    capture::{Capture, Compression, Damage},
    offline::Names,
};

/// In a second.
const NANOSECONDS: f64 = 1e9;

/// What a policy would have done to a capture.
#[derive(Debug, Serialize)]
pub struct Report {
    /// All of the capture was read.
    pub ok: bool,
    /// The file.
    pub capture: PathBuf,
    /// `pcap` or `pcapng`.
    pub format: &'static str,
    /// `gzip` or `zstd`, if it was compressed so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<&'static str>,
    /// Where it breaks off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// The configuration.
    pub config: PathBuf,
    /// The policy drops nothing, and counts what it would drop.
    pub shadow: bool,
    /// Bans and manual rules that were in force besides; nothing: they were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<usize>,
    /// Packets that were judged.
    pub packets: u64,
    /// Their bytes, from the start of the Ethernet frame to the end of the IP packet.
    pub bytes: u64,
    /// Time of the first packet, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// Time of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Seconds between the two.
    pub seconds: f64,
    /// By verdict and reason.
    pub verdicts: Vec<VerdictRow>,
    /// By family and verdict.
    pub families: Vec<FamilyRow>,
    /// By list: what it did to packets of its sources.
    pub lists: Vec<ListRow>,
    /// By limit.
    pub limits: Vec<LimitRow>,
    /// By source, those first of which most is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<SourceRows>,
    /// What another policy would have done instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Compared>,
    /// What else should be known of the capture.
    pub notes: Notes,
    /// Seconds that it took to read and judge it.
    pub elapsed_seconds: f64,
    /// Packets in one of them.
    pub packets_per_second: f64,
}

/// What a report begins with.
#[derive(Debug)]
pub struct Summary<'r> {
    /// Name of the capture.
    pub capture: &'r Path,
    /// Where it breaks off.
    pub damage: Option<Damage>,
    /// The configuration.
    pub config: &'r Path,
    /// It is in shadow mode.
    pub shadow: bool,
    /// Bans and manual rules that were in force besides; nothing: they were left out.
    pub rules: Option<usize>,
    /// The one that is compared with, and whether that is in shadow mode.
    pub against: Option<(&'r Path, bool)>,
    /// How long it took to judge.
    pub elapsed: Duration,
}

/// What else should be known of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Packets that were not judged because the host has sent them.
    pub sent: u64,
    /// Packets that were not judged because nothing is known of their links, by number of the link type.
    pub unknown_links: BTreeMap<u16, u64>,
    /// Blocks of pcapng without packets that were not looked into.
    pub unknown_blocks: u64,
    /// Packets that were not captured whole. They were judged by what there is, and their original length.
    pub cut: u64,
    /// Packets a little out of order: judged at the time of the one before.
    pub late: u64,
    /// How often time went back by more than a second; it went on from there.
    pub steps_back: u64,
    /// Packets without a time, judged at that of the one before.
    pub untimed: u64,
}

/// What another policy would have done instead.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Its configuration.
    pub config: PathBuf,
    /// It is in shadow mode.
    pub shadow: bool,
    /// Packets with another verdict.
    pub changed: u64,
    /// Their bytes.
    pub changed_bytes: u64,
    /// Packets with the same verdict, for another reason.
    pub same_for_another_reason: u64,
    /// From what to what, most first.
    pub changes: Vec<ChangeRow>,
    /// By verdict and reason, under that policy.
    pub verdicts: Vec<VerdictRow>,
    /// Sources of packets with another verdict, and what becomes of these packets under that policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<SourceRows>,
}

impl Report {
    /// Says what came of a replay of `capture`.
    #[must_use]
    pub fn new(replay: &mut Replay<'_>, capture: &Capture, summary: Summary<'_>) -> Self {
        let others = replay.comparison.as_mut().and_then(|comparison| comparison.sources.as_mut());
        iter::once(&mut replay.sources).chain(others).for_each(Sources::settle);
        let Replay { policy, comparison, naming, clock, tally, left_out, .. } = replay;
        let Summary { capture: name, damage, config, shadow, rules, against, elapsed } = summary;
        let times = clock.times();
        let all = tally.rows().fold(Counter::default(), |all, (.., count)| sum(all, count));
        // Pseudonyms of both tables are of one key.
        let namer = if naming.top == 0 { None } else { Namer::new(naming.pseudonyms) };
        let sources = |sources: &Sources| namer.as_ref().map(|namer| source_rows(sources, naming.top, namer));
        let elapsed_seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let packets_per_second = if elapsed.is_zero() { 0.0 } else { all.packets as f64 / elapsed_seconds };
        Self {
            ok: damage.is_none(),
            capture: name.to_owned(),
            format: capture.format(),
            compression: match capture.compression() {
                Compression::None => None,
                Compression::Gzip => Some("gzip"),
                Compression::Zstd => Some("zstd"),
            },
            damage,
            config: config.to_owned(),
            shadow,
            rules,
            packets: all.packets,
            bytes: all.bytes,
            first: times.span.map(|(first, _)| rfc3339(first)),
            last: times.span.map(|(_, last)| rfc3339(last)),
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            seconds: times.span.map_or(0.0, |(first, last)| (last - first) as f64 / NANOSECONDS),
            verdicts: verdict_rows(tally),
            families: family_rows(tally),
            lists: list_rows(tally, policy.names()),
            limits: limit_rows(tally, policy.names()),
            sources: sources(&replay.sources),
            against: comparison.as_ref().zip(against).map(|(comparison, (config, shadow))| {
                compared(comparison, policy.names(), config, shadow, sources)
            }),
            notes: Notes {
                sent: left_out.sent,
                unknown_links: left_out.links.clone(),
                unknown_blocks: capture.skipped(),
                cut: tally.cut,
                late: times.late,
                steps_back: times.steps_back,
                untimed: times.untimed,
            },
            elapsed_seconds,
            packets_per_second,
        }
    }
}

fn compared(
    comparison: &Comparison<'_>,
    names: &Names,
    config: &Path,
    shadow: bool,
    sources: impl Fn(&Sources) -> Option<SourceRows>,
) -> Compared {
    let all = comparison.changes.values().fold(comparison.others, |all, count| sum(all, *count));
    Compared {
        config: config.to_owned(),
        shadow,
        changed: all.packets,
        changed_bytes: all.bytes,
        same_for_another_reason: comparison.reasons,
        changes: change_rows(comparison, names),
        verdicts: verdict_rows(&comparison.tally),
        sources: comparison.sources.as_ref().and_then(sources),
    }
}

fn rfc3339(nanoseconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    humantime::format_rfc3339_micros(time).to_string()
}
