//! What time it is, for entries that last so long rather than until a date.
//!
//! A source that says "four hours" means hours, not what a clock on the wall shows after them: that
//! may be put forward or back meanwhile, and then all would end at once, or never.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

static START: LazyLock<(SystemTime, Instant)> = LazyLock::new(|| (SystemTime::now(), Instant::now()));

/// Returns the time of the wall clock as if nobody had set it since the agent started.
#[must_use]
pub fn steady() -> SystemTime {
    let (wall, at) = *START;
    wall.checked_add(at.elapsed()).unwrap_or(wall)
}

/// Returns by how many seconds the wall clock was set forward since the agent started; less than 0:
/// back.
#[must_use]
pub fn set_forward() -> i64 {
    difference(SystemTime::now(), steady())
}

/// Returns `time`, so many seconds later.
pub(super) fn moved(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    moved.unwrap_or(time)
}

/// Returns how far two times are apart, to the nearest second.
fn difference(one: SystemTime, other: SystemTime) -> i64 {
    let seconds = |apart: Duration| i64::try_from((apart.as_millis() + 500) / 1000).unwrap_or(i64::MAX);
    match one.duration_since(other) {
        Ok(later) => seconds(later),
        Err(earlier) => -seconds(earlier.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_whole_seconds_either_way() {
        let at = |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        for (one, other, want) in [(9000, 4000, 5), (4000, 9000, -5), (4499, 4000, 0), (3400, 5000, -2)] {
            assert_eq!(difference(at(one), at(other)), want, "{one} {other}");
        }
        assert_eq!(moved(at(9000), -5), at(4000));
        assert_eq!(moved(at(4000), 5), at(9000));
        assert_eq!(moved(at(4000), i64::MAX), at(4000), "there is no such time");
    }

    #[test]
    fn it_goes_on() {
        let before = steady();
        std::thread::sleep(Duration::from_millis(2));
        assert!(steady() > before);
        assert_eq!(set_forward(), 0);
    }
}
