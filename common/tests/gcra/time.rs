//! Times that a clock of 40 bits has trouble with.

use weir_common::{
    addr::Address,
    gcra::{self, Charge, SLACK},
    line::Memory,
    map::Map,
};

use crate::{Limiter, oracle::Exact};

const TURN: u64 = 1 << 40;
const DAY: u64 = 86_400_000_000;
const SOURCE: Address = Address::V4(0xc633_6407);

/// Twice the limit for four seconds across every half turn.
#[test]
fn debt_outlives_the_turn_of_the_clock() {
    for tick in [1, 1000, 4000, 10_000] {
        for half in 1..6 {
            let start = half * (TURN / 2) - 2_000_000;
            let mut limiter = Limiter::new(100.0, 10, tick);
            let mut exact = Exact::new(100.0, limiter.profile.tolerance as f64);
            let (mut admitted, mut want) = (0i64, 0i64);
            for i in 0..800 {
                let now = start + i * 5000;
                admitted += i64::from(limiter.admits(SOURCE, now));
                want += i64::from(exact.admits(now as f64));
            }
            assert!((admitted - want).abs() <= 1, "tick {tick}, half turn {half}: {admitted}, exact {want}");
        }
    }
}

#[test]
fn a_clock_that_stands_still_admits_one_burst() {
    for now in [0, 1, 12_345_678, TURN - 1, TURN, TURN + 1] {
        for tick in [1, 4000] {
            let mut limiter = Limiter::new(100.0, 25, tick);
            assert_eq!(limiter.admitted_at_once(SOURCE, now, 1000), 25, "at {now}, tick {tick}");
        }
    }
}

/// A source is silent for a while: for how long does not matter beyond what it owed.
#[test]
fn silence_pays_debt_and_no_more() {
    let (rate, burst) = (100.0, 25u32);
    let jumps = [1, 5000, 10_000, 20_001, 123_456, 249_999, 250_000, 250_100, 1_000_000, DAY / 24];
    let days = (1..=12).map(|day| day * DAY);
    let halves =
        [TURN / 2 - 1, TURN / 2, TURN / 2 + 1, 6 * DAY + 2 * DAY / 5, TURN - 2 * 250_000, TURN + 250_100];
    for jump in jumps.into_iter().chain(days).chain(halves) {
        for start in [3, 1_000_000_000, TURN / 2 - 1000, TURN - 1000] {
            let mut limiter = Limiter::new(rate, burst.into(), 1);
            assert_eq!(limiter.admitted_at_once(SOURCE, start, 100), burst);
            let earned = (jump as f64 * rate / 1e6 + rate * SLACK as f64 / 1e6 + 1.0 / 256.0) as u32;
            let admitted = limiter.admitted_at_once(SOURCE, start + jump, 100);
            assert_eq!(admitted, earned.min(burst), "after {jump} µs from {start}");
        }
    }
}

/// The price of 40 bits: once in a turn, for as long as a burst takes to earn, a source that was
/// silent for the whole turn is taken for one that has just sent. Not a minute earlier.
#[test]
fn a_silence_of_one_turn_is_short_debt() {
    let mut limiter = Limiter::new(100.0, 25, 1);
    let mut refused = 0;
    let step = 10_000;
    for back in 0..10_000 {
        limiter.memory.heap.line(Map::Limiter, limiter.memory.line.get()).unwrap().store([0; 8]);
        let start = 7_000_000_000;
        assert_eq!(limiter.admitted_at_once(SOURCE, start, 100), 25);
        let jump = TURN - back * step;
        refused += u64::from(!limiter.admits(SOURCE, start + jump));
    }
    assert!(refused * step <= 250_000 + step, "{refused} of 10000 steps of 10 ms");
}

/// A limit whose number used to belong to a slower one does not collect the other's debt; but two
/// profiles of one limit, which share buckets behind one /64, do not forgive each other's.
#[test]
fn debt_is_what_the_limit_can_owe() {
    let mut slow = Limiter::new(1.0, 600, 1000);
    let start = 1_000_000_000;
    assert_eq!(slow.admitted_at_once(SOURCE, start, 1000), 600);
    let fast = Limiter::new(100.0, 10, 1000).profile;
    slow.profile = fast;
    assert!(!slow.admits(SOURCE, start + 1_000_000), "another profile of the same limit");
    slow.longest = fast.tolerance;
    assert_eq!(slow.admitted_at_once(SOURCE, start + 1_000_000, 100), 10, "another limit");
}

/// A shared bucket that was never used owes nothing, also shortly before the clock turns.
#[test]
fn an_unused_valve_is_open_at_any_time() {
    for now in [1, DAY, TURN - gcra::DEBT_MAX, TURN - 1_000_000, TURN - 1, TURN, TURN + 1] {
        let mut limiter = Limiter::new(100.0, 10, 1);
        _ = limiter.offer(SOURCE, now);
        let line = limiter.memory.heap.line(Map::Limiter, limiter.memory.line.get()).unwrap();
        // Eight others that owe a second each.
        let tat = (now + 1_000_000) & (TURN - 1);
        line.store(std::array::from_fn(|i| (i as u64 + 1) << 41 | tat));
        let admitted =
            (0..100).filter(|_| limiter.offer(SOURCE, now) == Charge::Valve { admitted: true }).count();
        assert_eq!(admitted, 10, "at {now}");
        assert_eq!(limiter.offer(SOURCE, now), Charge::Valve { admitted: false });
    }
}
