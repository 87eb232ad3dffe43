//! GCRA by the book.

/// One source: its theoretical arrival time in µs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    increment: f64,
    tolerance: f64,
    tat: f64,
}

impl Exact {
    /// Returns the limiter of a source that has never sent, for `rate` a second and a tolerance of
    /// `tolerance` µs.
    pub(crate) fn new(rate: f64, tolerance: f64) -> Self {
        Self { increment: 1e6 / rate, tolerance, tat: f64::NEG_INFINITY }
    }

    pub(crate) fn admits(&mut self, now: f64) -> bool {
        let tat = self.tat.max(now) + self.increment;
        let within = tat <= now + self.tolerance;
        if within {
            self.tat = tat;
        }
        within
    }
}
