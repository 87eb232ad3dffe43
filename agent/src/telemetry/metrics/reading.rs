//! What the kernel has counted, at one moment.

use weir_common::{
    counter::{Answer, Counter, Outcome, Tally},
    gcra,
    line::Memory,
};

use crate::{
    datapath::{
        DatapathError,
        counters::{Counters, Row},
        onlooker::Onlooker,
    },
    policy::{Origin, classes::ClassSpec},
    record::Record,
};

/// Lines of buckets that are looked at: each is a call, and there are two million.
const SAMPLE: u32 = 1024;

/// What the kernel has counted, and how full its buckets are.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Packets by interface, family, verdict and reason.
    pub packets: Vec<Row>,
    /// Of class 1 and following, by [`Outcome`].
    pub classes: Vec<[Counter; Outcome::ALL.len()]>,
    /// Of the limits of the record in their order, by [`Answer`].
    pub limits: Vec<[Counter; Answer::ALL.len()]>,
    /// What became of events.
    pub tally: Tally,
    /// How full the buckets are.
    pub buckets: Buckets,
}

/// How full the buckets of the limiter are, from a sample of their lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Buckets that somebody owes something in, about.
    pub live: f64,
    /// All of them.
    pub capacity: u64,
    /// The share of lines that have no bucket left: new sources there share one.
    pub full: f64,
}

impl Reading {
    /// Reads the counters of these slots, and of what the record names.
    ///
    /// # Errors
    /// [`DatapathError`] where one cannot be read.
    pub fn take(
        counters: &Counters,
        memory: &impl Memory,
        slots: &[u32],
        record: &Record,
    ) -> Result<Self, DatapathError> {
        let mut reading =
            Self { packets: counters.packets(slots)?, tally: counters.tally()?, ..Self::default() };
        for (id, _) in (1..).zip(&record.classes) {
            let mut counts = [Counter::default(); Outcome::ALL.len()];
            for outcome in Outcome::ALL {
                counts[outcome as usize] = counters.class(id, outcome)?;
            }
            reading.classes.push(counts);
        }
        for limit in &record.limits {
            let mut counts = [Counter::default(); Answer::ALL.len()];
            for answer in Answer::ALL {
                counts[answer as usize] = counters.limit(limit.number, answer)?;
            }
            reading.limits.push(counts);
        }
        let now = Onlooker::new(memory).now;
        reading.buckets = Buckets::sample(counters.bucket_lines(), now, |i| counters.bucket_line(i))?;
        Ok(reading)
    }

    /// Adds up all classes that stand for this feed, alone or with others.
    #[must_use]
    pub fn feed(&self, classes: &[ClassSpec], feed: &str) -> [Counter; Outcome::ALL.len()] {
        let named = |origin: &Origin| matches!(origin, Origin::Feed(name) if name == feed);
        let ours = self.classes.iter().zip(classes).filter(|(_, spec)| spec.origins.iter().any(named));
        ours.fold(Default::default(), |mut sum: [Counter; Outcome::ALL.len()], (counts, _)| {
            for (sum, count) in sum.iter_mut().zip(counts) {
                sum.packets += count.packets;
                sum.bytes += count.bytes;
            }
            sum
        })
    }
}

impl Buckets {
    /// Looks at some of so many lines, evenly spread: which sources have them is as good as chance.
    fn sample<E>(
        lines: u32,
        now: u64,
        read: impl Fn(u32) -> Result<[u64; gcra::PER_LINE as usize], E>,
    ) -> Result<Self, E> {
        let (mut looked, mut live, mut full) = (0u32, 0u32, 0u32);
        for index in (0..lines).step_by((lines / SAMPLE).max(1) as usize) {
            let owing = gcra::owing(read(index)?, now);
            looked += 1;
            live += owing;
            full += u32::from(owing == gcra::PER_LINE);
        }
        let looked = f64::from(looked.max(1));
        Ok(Self {
            live: (f64::from(live) / looked * f64::from(lines)).round(),
            capacity: u64::from(lines) * u64::from(gcra::PER_LINE),
            full: f64::from(full) / looked,
        })
    }
}

/// Reads and adds up the classes that stand for this feed, for whoever wants to know of no other.
pub(super) fn feed_count(
    counters: &Counters,
    classes: &[ClassSpec],
    feed: &str,
    outcome: Outcome,
) -> Result<Counter, DatapathError> {
    let mut sum = Counter::default();
    for (id, spec) in (1..).zip(classes) {
        let named = |origin: &Origin| matches!(origin, Origin::Feed(name) if name == feed);
        if spec.origins.iter().any(named) {
            let count = counters.class(id, outcome)?;
            sum.packets += count.packets;
            sum.bytes += count.bytes;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_estimated_from_a_sample() {
        const LINES: u32 = 1 << 17;
        let now = 5_000_000;
        // In every other line that is looked at somebody owes in each bucket; in others in one.
        let line = |index: u32| {
            let owed = 1 << 40 | (now + 1000);
            let passed = 1 << 40 | (now - 1000);
            let full = (index / (LINES / SAMPLE)).is_multiple_of(2);
            Ok::<_, ()>(if full { [owed; 8] } else { [owed, passed, 0, 0, 0, 0, 0, passed] })
        };
        let Buckets { live, capacity, full } = Buckets::sample(LINES, now, line).unwrap();
        assert_eq!(capacity, 8 << 17);
        assert!((live - f64::from(LINES) * 4.5).abs() < 0.5 && (full - 0.5).abs() < 1e-9, "{live} {full}");
        let none = Buckets::sample(0, now, line).unwrap();
        assert!(none.live < 0.5 && none.capacity == 0 && none.full < 1e-9);
    }
}
