use std::time::Duration;

use super::{Decision, Source, Verdict, Why, source::Pressure};

/// When a client that is over a limit of the kernel may come again: buckets fill within a second.
const SOON: Duration = Duration::from_secs(1);
/// When one that has done too much may.
const LATER: Duration = Duration::from_secs(30);

/// From which score on what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Requests are challenged.
    pub challenge_at: f64,
    /// They are throttled.
    pub throttle_at: f64,
    /// It is only told what would follow.
    pub shadow: bool,
}

/// Decides by what a source has done lately, and by its buckets in the kernel: there a packet over the
/// limit is dropped, here a request is told when to come again.
#[must_use]
pub fn decide(thresholds: Option<&Thresholds>, source: &Source, score: f64) -> Option<Decision> {
    let refuse = |verdict, why, after| Decision { retry_after: Some(after), ..Decision::of(verdict, why) };
    if source.pressure == Pressure::Over {
        return Some(refuse(Verdict::Throttle, Why::OverLimit, SOON));
    }
    let Thresholds { challenge_at, throttle_at, shadow } = *thresholds?;
    let decision = if score >= throttle_at {
        refuse(Verdict::Throttle, Why::Risk, LATER)
    } else if score >= challenge_at {
        Decision::of(Verdict::Challenge, Why::Risk)
    } else {
        return None;
    };
    Some(if shadow { decision.in_shadow() } else { decision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_rises_with_the_score() {
        let enforced = Thresholds { challenge_at: 40.0, throttle_at: 60.0, shadow: false };
        let calm = Source::default();
        let verdict = |thresholds: &Thresholds, source: &Source, score| {
            decide(Some(thresholds), source, score).map(|decision| decision.verdict)
        };
        assert_eq!(verdict(&enforced, &calm, 39.0), None);
        assert_eq!(verdict(&enforced, &calm, 40.0), Some(Verdict::Challenge));
        assert_eq!(verdict(&enforced, &calm, 60.0), Some(Verdict::Throttle));
        assert_eq!(decide(None, &calm, 1000.0), None);
        let over = Source { pressure: Pressure::Over, ..Source::default() };
        assert_eq!(verdict(&enforced, &over, 0.0), Some(Verdict::Throttle));
        let shadow = decide(Some(&Thresholds { shadow: true, ..enforced }), &calm, 60.0).unwrap();
        assert_eq!(shadow.verdict, Verdict::Allow);
        assert_eq!(shadow.would, Some((Verdict::Throttle, Why::Risk)));
    }
}
