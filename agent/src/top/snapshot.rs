use std::collections::BTreeMap;

use serde::Serialize;
use weir_common::counter::{Counter, Outcome};

use super::{
    sources::{Kind, NEAR, SourceRow, Sources},
    totals::Totals,
};
use crate::{config::Enforce, limits::Answers, policy::Origin};

/// What goes on: rates between two readings.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Seconds between the two.
    pub seconds: f64,
    /// An agent is at work.
    pub agent: bool,
    /// Why sources are not known, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_sources: Option<String>,
    /// `enforce` or `shadow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Enforce>,
    /// Number of the publication in force.
    pub publication: u64,
    /// Bans and manual rules in force.
    pub rules: usize,
    /// Packets a second that passed, were dropped, and would have been.
    pub rates: Rates,
    /// Sources, the fastest first.
    pub sources: Vec<SourceRow>,
    /// Packets by verdict and reason.
    pub reasons: Vec<ReasonRow>,
    /// Packets by feed.
    pub feeds: Vec<FeedRow>,
    /// Packets by limit.
    pub limits: Vec<LimitRow>,
    /// Packets by interface.
    pub interfaces: Vec<InterfaceRow>,
    /// Sampled packets that were left out in this time, for the budget of the kernel or a full buffer.
    pub events_left_out: u64,
    /// And those that came too fast to be told.
    pub events_lost: u64,
}

/// Packets a second by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Passed.
    pub pass: f64,
    /// Dropped.
    pub drop: f64,
    /// Passed, and would have been dropped but for shadow mode.
    pub would_drop: f64,
    /// Bytes a second of all.
    pub bytes: f64,
}

/// Packets of a reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReasonRow {
    /// `pass`, `drop` or `would_drop`.
    pub verdict: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Packets a second.
    pub packets_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Packets since the maps were made.
    pub packets: u64,
}

/// Packets whose source a feed lists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedRow {
    /// The feed.
    pub feed: String,
    /// Entries in force.
    pub entries: usize,
    /// Packets a second, by what the lists of the source did to them.
    pub rates: Rates,
    /// Packets dropped, or only counted, since the maps were made.
    pub packets: u64,
    /// How it is, in words.
    pub state: String,
}

/// Packets of a limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitRow {
    /// The limit.
    pub limit: String,
    /// The service that it stands on; nothing: control packets of all services.
    pub service: Option<String>,
    /// Packets a second within it.
    pub within_per_second: f64,
    /// In its soft band.
    pub near_per_second: f64,
    /// Dropped.
    pub dropped_per_second: f64,
    /// Only counted.
    pub would_drop_per_second: f64,
    /// Packets dropped, or only counted, since the maps were made.
    pub packets: u64,
}

/// Packets of an interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InterfaceRow {
    /// The interface.
    pub interface: String,
    /// `native`, `generic` or `tcx`; nothing: it is gone, or stands for all others.
    pub mode: Option<&'static str>,
    /// Packets and bytes a second.
    pub rates: Rates,
}

impl Snapshot {
    /// Returns what went on between two readings. Ends the window of the sources.
    #[must_use]
    pub fn between(before: &Totals, after: &Totals, sources: &mut Sources) -> Self {
        let per = Per(after.at.saturating_duration_since(before.at).as_secs_f64().max(0.001));
        let mut snapshot = Self {
            seconds: per.0,
            agent: after.agent,
            enforce: after.record.as_ref().map(|record| record.enforce),
            publication: after.publication,
            rules: after.rules,
            limits: limits(before, after, per),
            feeds: feeds(before, after, per),
            events_left_out: (after.tally.events_suppressed + after.tally.events_lost)
                .saturating_sub(before.tally.events_suppressed + before.tally.events_lost),
            ..Self::default()
        };
        let mut counted: BTreeMap<Kind, u64> = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        let mut interfaces: BTreeMap<&str, Rates> =
            after.interfaces.iter().map(|(name, _)| (name.as_str(), Rates::default())).collect();
        for ((interface, outcome, reason), now) in &after.packets {
            let then =
                before.packets.get(&(interface.clone(), *outcome, *reason)).copied().unwrap_or_default();
            let new = Counter {
                packets: now.packets.saturating_sub(then.packets),
                bytes: now.bytes.saturating_sub(then.bytes),
            };
            *counted.entry((outcome.as_str().to_owned(), reason.as_str().to_owned())).or_default() +=
                new.packets;
            let row = reasons.entry((*outcome, *reason)).or_insert_with(|| ReasonRow {
                verdict: outcome.as_str(),
                reason: reason.as_str(),
                packets_per_second: 0.0,
                bytes_per_second: 0.0,
                packets: 0,
            });
            row.packets += now.packets;
            row.packets_per_second += per.second(new.packets);
            row.bytes_per_second += per.second(new.bytes);
            let rates = interfaces.entry(interface.as_str()).or_default();
            for rates in [rates, &mut snapshot.rates] {
                rates.add(*outcome, per.second(new.packets), per.second(new.bytes));
            }
        }
        let near = |totals: &Totals| totals.limits.iter().map(|limit| limit.near).sum::<u64>();
        counted.insert((NEAR.0.to_owned(), NEAR.1.to_owned()), near(after).saturating_sub(near(before)));
        snapshot.events_lost = sources.close(per.0, &counted);
        snapshot.sources = sources.rows();
        snapshot.reasons = reasons.into_values().collect();
        let mode = |name: &str| after.interfaces.iter().find(|(known, _)| known == name).and_then(|it| it.1);
        snapshot.interfaces = interfaces
            .into_iter()
            .map(|(name, rates)| InterfaceRow { interface: name.to_owned(), mode: mode(name), rates })
            .collect();
        snapshot
    }
}

impl Rates {
    fn add(&mut self, outcome: Outcome, packets: f64, bytes: f64) {
        match outcome {
            Outcome::Pass => self.pass += packets,
            Outcome::Drop => self.drop += packets,
            Outcome::WouldDrop => self.would_drop += packets,
        }
        self.bytes += bytes;
    }
}

/// Seconds, to divide by.
#[derive(Clone, Copy)]
struct Per(f64);

impl Per {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn second(self, count: u64) -> f64 {
        count as f64 / self.0
    }
}

fn limits(before: &Totals, after: &Totals, per: Per) -> Vec<LimitRow> {
    let Some(record) = &after.record else { return Vec::new() };
    let then = |number: u8| -> Answers {
        let known = before.record.iter().flat_map(|record| &record.limits).zip(&before.limits);
        known.into_iter().find(|(limit, _)| limit.number == number).map(|(_, it)| *it).unwrap_or_default()
    };
    let row = |(limit, now): (&crate::record::LimitRecord, &Answers)| {
        let then = then(limit.number);
        let rate = |now: u64, then: u64| per.second(now.saturating_sub(then));
        LimitRow {
            limit: limit.name.clone(),
            service: limit.service.clone(),
            within_per_second: rate(now.within, then.within),
            near_per_second: rate(now.near, then.near),
            dropped_per_second: rate(now.dropped, then.dropped),
            would_drop_per_second: rate(now.would_drop, then.would_drop),
            packets: now.dropped + now.would_drop,
        }
    };
    record.limits.iter().zip(&after.limits).map(row).collect()
}

fn feeds(before: &Totals, after: &Totals, per: Per) -> Vec<FeedRow> {
    let Some(record) = &after.record else { return Vec::new() };
    let row = |feed: &crate::record::FeedRecord| {
        let named = |origin: &Origin| matches!(origin, Origin::Feed(name) if *name == feed.name);
        let mut row = FeedRow {
            feed: feed.name.clone(),
            entries: feed.ipv4 + feed.ipv6,
            rates: Rates::default(),
            packets: 0,
            state: feed.health(),
        };
        for (at, (spec, now)) in record.classes.iter().zip(&after.classes).enumerate() {
            if !spec.origins.iter().any(named) {
                continue;
            }
            // Numbers of classes are kept, so this one meant the same before.
            let then = before.classes.get(at).copied().unwrap_or_default();
            for ((outcome, now), then) in Outcome::ALL.into_iter().zip(now).zip(then) {
                row.rates.add(outcome, per.second(now.saturating_sub(then)), 0.0);
                row.packets += if outcome == Outcome::Pass { 0 } else { *now };
            }
        }
        row
    };
    record.feeds.iter().map(row).collect()
}
