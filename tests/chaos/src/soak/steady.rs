//! Whether something grows.
//!
//! The time after the warm-up is cut into twelve parts. In each the least value counts, since what a
//! flood or a request needs for a moment is given back. Through these a straight line is laid (least
//! squares); what it rises from the first to the last is the growth, and must be within the bound.

use std::{fmt, time::Duration};

use serde_json::{Value, json};
use weir_tests::vitals::Vitals;

const PARTS: usize = 12;
const MIB: f64 = 1_048_576.0;

/// What is looked at: its name, and how much it may grow.
#[derive(Clone, Copy, Debug)]
struct Quantity {
    name: &'static str,
    /// The unit, as a number by which it is divided.
    unit: f64,
    bound: f64,
}

const QUANTITIES: [Quantity; 5] = [
    Quantity { name: "resident memory, MiB", unit: MIB, bound: 2.0 },
    Quantity { name: "file descriptors", unit: 1.0, bound: 1.5 },
    Quantity { name: "of these, maps, programs and links", unit: 1.0, bound: 0.5 },
    Quantity { name: "threads", unit: 1.0, bound: 2.5 },
    Quantity { name: "pins", unit: 1.0, bound: 0.5 },
];

/// What was seen, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Series(Vec<(Duration, [f64; QUANTITIES.len()])>);

/// Whether a quantity is flat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    quantity: Quantity,
    first: f64,
    last: f64,
    growth: f64,
}

impl Series {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn note(&mut self, at: Duration, vitals: Vitals, pins: usize) {
        let Vitals { resident, descriptors, bpf, threads } = vitals;
        let values = [resident, descriptors, bpf, threads, pins as u64].map(|value| value as f64);
        self.0.push((at, values));
    }

    /// Returns the last look, in words.
    pub(super) fn last(&self) -> String {
        let Some((_, values)) = self.0.last() else { return "no look yet".to_owned() };
        let words = QUANTITIES
            .iter()
            .zip(values)
            .map(|(quantity, value)| format!("{} {:.0}", quantity.name, value / quantity.unit));
        words.collect::<Vec<_>>().join(", ")
    }

    /// Returns whether each quantity is flat after a warm-up of this share of the time.
    pub(super) fn verdicts(&self, warm_up: f64) -> Vec<Verdict> {
        let (Some((begin, _)), Some((end, _))) = (self.0.first(), self.0.last()) else { return Vec::new() };
        let from = *begin + end.saturating_sub(*begin).mul_f64(warm_up);
        let samples: Vec<_> = self.0.iter().filter(|(at, _)| *at >= from).collect();
        let part = samples.len().div_ceil(PARTS).max(1);
        let verdict = |(at, quantity): (usize, &Quantity)| {
            let floor = |part: &[&(Duration, [f64; QUANTITIES.len()])]| {
                part.iter().map(|(_, values)| values[at] / quantity.unit).fold(f64::INFINITY, f64::min)
            };
            let floors: Vec<f64> = samples.chunks(part).map(floor).collect();
            let (first, last) = (floors.first().copied(), floors.last().copied());
            Verdict {
                quantity: *quantity,
                first: first.unwrap_or(0.0),
                last: last.unwrap_or(0.0),
                growth: rise(&floors),
            }
        };
        QUANTITIES.iter().enumerate().map(verdict).collect()
    }
}

/// Returns what a straight line through values at equal distances rises from the first to the last.
#[expect(clippy::cast_precision_loss, reason = "a few numbers")]
fn rise(values: &[f64]) -> f64 {
    let many = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let (middle, mean) = ((many - 1.0) / 2.0, values.iter().sum::<f64>() / many);
    let (mut together, mut alone) = (0.0, 0.0);
    for (n, value) in values.iter().enumerate() {
        let distance = n as f64 - middle;
        together += distance * (value - mean);
        alone += distance * distance;
    }
    together / alone * (many - 1.0)
}

impl Verdict {
    pub(super) fn is_flat(&self) -> bool {
        self.growth <= self.quantity.bound
    }

    pub(super) fn row(&self) -> Vec<String> {
        let numbers = [self.first, self.last, self.growth, self.quantity.bound].map(|n| format!("{n:.1}"));
        [vec![self.quantity.name.to_owned()], numbers.to_vec()].concat()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "quantity": self.quantity.name,
            "first": self.first,
            "last": self.last,
            "growth": self.growth,
            "bound": self.quantity.bound,
            "flat": self.is_flat(),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quantity, first, last, growth } = self;
        let (name, bound) = (quantity.name, quantity.bound);
        write!(f, "{name} grew by {growth:.1}, from {first:.1} to {last:.1}; {bound:.1} is allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(value: impl Fn(u64) -> u64) -> Vec<Verdict> {
        let mut series = Series::default();
        for second in 0..600 {
            let vitals = Vitals { resident: value(second) << 20, descriptors: 50, bpf: 30, threads: 5 };
            series.note(Duration::from_secs(second), vitals, 40);
        }
        series.verdicts(0.25)
    }

    #[test]
    fn what_grows_is_seen_and_what_comes_and_goes_is_not() {
        assert!(series(|_| 90).iter().all(Verdict::is_flat));
        // It fills, and then every ten seconds something is needed for a moment.
        let peaks = |second| if second % 10 == 0 { 150 } else { 90.min(40 + second) };
        assert!(series(peaks).iter().all(Verdict::is_flat));
        let grows = series(|second| 90 + second / 100);
        assert!(!grows[0].is_flat() && grows[1..].iter().all(Verdict::is_flat), "{grows:?}");
        assert!((rise(&[1.0, 2.0, 3.0]) - 2.0).abs() < 1e-9);
    }
}
