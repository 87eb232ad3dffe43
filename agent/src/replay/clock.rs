use crate::offline::BEGINNING;

/// Packets may be out of order by this much, in µs, as those of several interfaces are.
const DISORDER_MAX: u64 = 1_000_000;

/// The clock by which packets of a capture are judged. It goes as their times do, but never back, as
/// the kernel's does not: limits would forget what is owed, or never end.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// In µs.
    now: u64,
    /// What is added to a time of the capture, modulo 2^64.
    shift: u64,
    times: Times,
}

/// Times of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The first and the last, in nanoseconds since 1970. Nothing where packets have none.
    pub span: Option<(u64, u64)>,
    /// Packets that came a little late.
    pub late: u64,
    /// How often the times went back by more than a second: captures behind one another, or a clock
    /// that was set.
    pub steps_back: u64,
    /// Packets without a time; they come at that of the packet before.
    pub untimed: u64,
}

impl Clock {
    /// Returns when a packet of this time, in nanoseconds since 1970, is judged.
    pub(super) fn at(&mut self, time: Option<u64>) -> u64 {
        let Some(time) = time else {
            self.times.untimed += 1;
            self.now = self.now.max(BEGINNING);
            return self.now;
        };
        let micros = time / 1000;
        match &mut self.times.span {
            Some((first, last)) => (*first, *last) = ((*first).min(time), (*last).max(time)),
            none @ None => {
                *none = Some((time, time));
                self.now = self.now.max(BEGINNING);
                self.shift = self.now.wrapping_sub(micros);
            }
        }
        let at = micros.wrapping_add(self.shift);
        // Times of all of 64 bits occur in damaged files, so what is before and what behind is modular.
        let behind = self.now.wrapping_sub(at);
        if behind == 0 || behind > u64::MAX / 2 {
            self.now = at;
        } else if behind <= DISORDER_MAX {
            self.times.late += 1;
        } else {
            self.times.steps_back += 1;
            self.shift = self.now.wrapping_sub(micros);
        }
        self.now
    }

    pub(super) fn times(&self) -> Times {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(clock: &mut Clock, seconds: u64) -> u64 {
        clock.at(Some(seconds * SECOND)) - BEGINNING
    }

    #[test]
    fn it_goes_as_the_times_do_and_never_back() {
        let mut clock = Clock::default();
        assert_eq!(at(&mut clock, 1_700_000_000), 0);
        assert_eq!(at(&mut clock, 1_700_000_003), 3_000_000);
        assert_eq!(clock.at(Some(1_700_000_002 * SECOND + SECOND / 2)) - BEGINNING, 3_000_000);
        assert_eq!(clock.at(None) - BEGINNING, 3_000_000);
        // Another capture, of the day before.
        assert_eq!(at(&mut clock, 1_699_913_600), 3_000_000);
        assert_eq!(at(&mut clock, 1_699_913_601), 4_000_000);
        let times = clock.times();
        assert_eq!((times.late, times.steps_back, times.untimed), (1, 1, 1));
        assert_eq!(times.span, Some((1_699_913_600 * SECOND, 1_700_000_003 * SECOND)));
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let mut clock = Clock::default();
        let mut before = 0;
        for time in [Some(u64::MAX), Some(0), None, Some(u64::MAX), Some(1), Some(u64::MAX - 1)] {
            let now = clock.at(time);
            assert!(now >= before, "{time:?}");
            before = now;
        }
    }
}
