use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{events::View, naming};

/// Sources of which something is kept.
const SOURCES_MAX: usize = 10_000;
/// And after those have been forgotten that have been quiet.
const SOURCES_KEPT: usize = SOURCES_MAX / 2;
/// Time constant of rates in seconds: what was before fades by 1/e in it.
const FADES_IN: f64 = 2.0;
/// Below so many packets a second a source is quiet.
const QUIET: f64 = 0.01;

/// What speaks against packets: verdict and reason, or the soft band of a limit.
pub(super) type Kind = (String, String);

/// Packets in the soft band of a limit pass for want of a reason.
pub(super) const NEAR: (&str, &str) = ("pass", "near");

/// Sources of sampled events, and how much they stand for.
#[derive(Debug, Default)]
pub struct Sources {
    known: HashMap<naming::Source, Source>,
    /// Events since the last reading, by kind.
    window: BTreeMap<Kind, u64>,
    /// Events that were missed since the last reading, for being read too slowly.
    lost: u64,
}

#[derive(Debug, Default)]
struct Source {
    /// Events since the last reading.
    window: Vec<(Kind, u64)>,
    rate: f64,
    packets: f64,
    events: u64,
    kind: Kind,
    by: String,
    last: u64,
}

/// A source, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceRow {
    /// The address, or its pseudonym.
    pub source: naming::Source,
    /// Packets a second against which a rule spoke: an estimate from the sample.
    pub packets_per_second: f64,
    /// Likewise, since it was watched.
    pub packets: f64,
    /// Sampled packets.
    pub events: u64,
    /// What became of the last one.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Lists that name it, or the limit that spoke.
    pub by: String,
    /// When the last one came, in milliseconds since 1970.
    pub last_milliseconds: u64,
}

impl Sources {
    /// Adds a sampled packet. Of more sources than are kept the new ones are left out until others are
    /// forgotten.
    pub fn take(&mut self, view: &View) {
        let (verdict, reason) = if view.verdict == NEAR.0 {
            (NEAR.0.to_owned(), NEAR.1.to_owned())
        } else {
            (view.verdict.clone(), view.reason.clone())
        };
        let kind = (verdict, reason);
        *self.window.entry(kind.clone()).or_default() += 1;
        if self.known.len() >= SOURCES_MAX && !self.known.contains_key(&view.source) {
            return;
        }
        let source = self.known.entry(view.source.clone()).or_default();
        match source.window.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => source.window.push((kind.clone(), 1)),
        }
        source.events += 1;
        source.kind = kind;
        source.by = match &view.limit {
            Some(limit) if view.answer.as_deref() != Some("pass") => format!("limit {limit}"),
            Some(_) | None => view.lists.join(", "),
        };
        source.last = view.at_milliseconds;
    }

    /// Takes note that so many events came too fast to be told.
    pub fn lose(&mut self, lost: u64) {
        self.lost += lost;
    }

    /// Ends a window of so many seconds in which the kernel has counted `packets` of each kind, and returns
    /// how many events were lost in it. An event stands for as many packets of its kind as there were for
    /// each event.
    pub fn close(&mut self, seconds: f64, packets: &BTreeMap<Kind, u64>) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let stands_for = |kind: &Kind| {
            let events = self.window.get(kind).copied().unwrap_or(0).max(1) as f64;
            (packets.get(kind).copied().unwrap_or(0) as f64 / events).max(1.0)
        };
        let fades = 1.0 - (-seconds / FADES_IN).exp();
        for source in self.known.values_mut() {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let packets: f64 =
                source.window.iter().map(|(kind, events)| *events as f64 * stands_for(kind)).sum();
            source.window.clear();
            source.packets += packets;
            let rate = packets / seconds.max(0.001);
            // The first that is known of it is all that is known.
            let fades = if source.rate == 0.0 { 1.0 } else { fades };
            source.rate += (rate - source.rate) * fades;
            if source.rate < QUIET {
                source.rate = 0.0;
            }
        }
        self.window.clear();
        if self.known.len() >= SOURCES_MAX {
            let mut all: Vec<(f64, u64, naming::Source)> =
                self.known.iter().map(|(name, source)| (source.rate, source.last, name.clone())).collect();
            all.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(other.1.cmp(&one.1)));
            for (_, _, name) in all.drain(SOURCES_KEPT..) {
                self.known.remove(&name);
            }
        }
        std::mem::take(&mut self.lost)
    }

    /// Returns all sources, the fastest first.
    #[must_use]
    pub fn rows(&self) -> Vec<SourceRow> {
        let row = |(name, source): (&naming::Source, &Source)| SourceRow {
            source: name.clone(),
            packets_per_second: source.rate,
            packets: source.packets,
            events: source.events,
            verdict: source.kind.0.clone(),
            reason: source.kind.1.clone(),
            by: source.by.clone(),
            last_milliseconds: source.last,
        };
        let mut rows: Vec<SourceRow> = self.known.iter().map(row).collect();
        rows.sort_unstable_by(|one, other| {
            let faster = other.packets_per_second.total_cmp(&one.packets_per_second);
            faster.then(other.packets.total_cmp(&one.packets)).then(one.source.cmp(&other.source))
        });
        rows
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn view(source: &str, verdict: &str, reason: &str) -> View {
        View {
            number: 1,
            at_milliseconds: 1_700_000_000_000,
            interface: "eth0".to_owned(),
            source: naming::Source::Address(source.parse().unwrap()),
            source_prefix: None,
            source_port: 4000,
            destination_port: 443,
            protocol: "udp".to_owned(),
            bytes: 60,
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            lists: vec!["feed bad".to_owned()],
            limit: None,
            answer: None,
        }
    }

    fn kind(verdict: &str, reason: &str) -> Kind {
        (verdict.to_owned(), reason.to_owned())
    }

    #[test]
    fn a_sample_stands_for_what_was_counted() {
        let mut sources = Sources::default();
        for _ in 0..30 {
            sources.take(&view("192.0.2.7", "drop", "feed"));
        }
        for _ in 0..10 {
            sources.take(&view("192.0.2.8", "drop", "feed"));
            sources.take(&view("192.0.2.9", "drop", "ban"));
        }
        sources.lose(3);
        let counted = [(kind("drop", "feed"), 4000), (kind("drop", "ban"), 10)].into();
        assert_eq!(sources.close(2.0, &counted), 3);
        let rows = sources.rows();
        let told: Vec<_> =
            rows.iter().map(|row| (row.source.to_string(), row.packets_per_second, row.packets)).collect();
        let expected =
            [("192.0.2.7", 1500.0, 3000.0), ("192.0.2.8", 500.0, 1000.0), ("192.0.2.9", 5.0, 10.0)];
        assert_eq!(told, expected.map(|(address, rate, packets)| (address.to_owned(), rate, packets)));
        // Who is silent fades, and then is at 0.
        sources.close(2.0, &BTreeMap::new());
        let rate = sources.rows()[0].packets_per_second;
        assert!((500.0..600.0).contains(&rate), "{rate}");
        sources.close(60.0, &BTreeMap::new());
        assert!(sources.rows().iter().all(|row| row.packets_per_second == 0.0));
    }

    #[test]
    fn memory_is_bounded_and_the_fast_stay() {
        let mut sources = Sources::default();
        let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        let fast = view("192.0.2.7", "drop", "feed");
        (0..5).for_each(|_| sources.take(&fast));
        for n in 0..30_000 {
            sources.take(&view(&address(n), "drop", "feed"));
        }
        assert_eq!(sources.rows().len(), SOURCES_MAX);
        sources.close(1.0, &[(kind("drop", "feed"), 30_005)].into());
        let rows = sources.rows();
        assert_eq!((rows.len(), rows[0].source.to_string().as_str()), (SOURCES_KEPT, "192.0.2.7"));
    }
}
