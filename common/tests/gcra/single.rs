//! One source: how much of what it offers is admitted.

use weir_common::{
    addr::Address,
    gcra::{Profile, SLACK},
};

use crate::{Limiter, oracle::Exact, random::Random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrivals {
    Even,
    Poisson,
}

/// A source and its limit.
#[derive(Clone, Copy, Debug)]
struct Run {
    rate: f64,
    burst: u64,
    /// What the source offers, in parts of the limit.
    load: f64,
    tick: u64,
    arrivals: Arrivals,
    packets: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    admitted: f64,
    /// What a fluid limiter admits: all that is offered, or burst and rate.
    ideal: f64,
    /// What exact GCRA admits with the burst as it was asked for.
    exact: f64,
    /// The same with the burst as the profile rounds it.
    exact_rounded: f64,
    /// Furthest above `burst + rate × (t + tick)` at any time.
    above: f64,
    /// Five standard deviations of what rounding to whole µs adds up to.
    noise: f64,
}

fn run(run: Run, random: &mut Random) -> Outcome {
    let Run { rate, burst, load, tick, arrivals, packets } = run;
    let mut limiter = Limiter::new(rate, burst, tick);
    let unit = 1e6 / rate;
    let mut exact = Exact::new(rate, unit * burst as f64);
    let mut exact_rounded = Exact::new(rate, limiter.profile.tolerance as f64);
    let gap = unit / load;
    let start = 1e9 + random.below(1_000_000) as f64 / 10.0;
    let mut now = start;
    let (mut admitted, mut want, mut want_rounded) = (0u64, 0u64, 0u64);
    let mut above = f64::NEG_INFINITY;
    for i in 1..=packets {
        match arrivals {
            Arrivals::Even => now = start + i as f64 * gap,
            Arrivals::Poisson => now -= gap * (1.0 - random.below(1 << 53) as f64 / (1u64 << 53) as f64).ln(),
        }
        if limiter.admits(Address::V4(7), now as u64) {
            admitted += 1;
            let bound = burst as f64 + (now - start + tick as f64 + SLACK as f64 + 2.0 + unit / 256.0) / unit;
            above = above.max(admitted as f64 - bound);
        }
        want += u64::from(exact.admits(now));
        want_rounded += u64::from(exact_rounded.admits(now));
    }
    let deviation = (admitted as f64 * unit.fract() * (1.0 - unit.fract())).sqrt() / unit;
    Outcome {
        admitted: admitted as f64,
        ideal: (packets as f64).min(burst as f64 + (now - start) / unit),
        exact: want as f64,
        exact_rounded: want_rounded as f64,
        above,
        noise: 5.0 * deviation,
    }
}

/// Every combination for some thousand packets: never more than burst, rate and one tick allow, and
/// never less than exact GCRA.
#[test]
fn admits_what_the_limit_says() {
    let mut random = Random(11);
    for rate in [1.0, 3.0, 100.0, 1000.0, 77_777.0, 1e6, 1e7] {
        for burst in [1u64, 10, 100, 10_000] {
            if burst as f64 / rate > 3600.0 {
                continue;
            }
            for load in [0.5, 0.9, 1.0, 1.1, 2.0, 10.0] {
                for tick in [1u64, 1000, 4000, 10_000] {
                    for arrivals in [Arrivals::Even, Arrivals::Poisson] {
                        let a_tick = (tick as f64 * rate * load / 1e6) as u64;
                        let packets = (3 * a_tick).clamp(20_000, 200_000);
                        let case = Run { rate, burst, load, tick, arrivals, packets };
                        check(case, run(case, &mut random));
                    }
                }
            }
        }
    }
}

fn check(case: Run, outcome: Outcome) {
    let Outcome { admitted, ideal, exact, exact_rounded, above, noise } = outcome;
    assert!(above <= noise, "{above} above the bound: {case:?} {outcome:?}");
    assert!(admitted >= 0.99 * exact - 1.0 - noise, "stricter than GCRA: {case:?} {outcome:?}");
    // A burst of one packet makes much of a µs: what is early by that much is refused.
    if case.burst > 1 {
        if case.tick == 1 {
            let close = (admitted - exact_rounded).abs() <= 0.01 * exact_rounded + 1.0 + noise;
            assert!(close, "away from GCRA: {case:?} {outcome:?}");
        }
        // Poisson arrivals need a burst to get all that the limit gives.
        if case.arrivals == Arrivals::Even || case.burst >= 10_000 {
            assert!(admitted >= 0.99 * ideal - 1.0 - noise, "less than the limit: {case:?} {outcome:?}");
        }
    }
}

/// Long enough that a burst and a tick no longer matter: within 1 % of the limit at every load.
#[test]
fn keeps_to_the_limit_in_the_long_run() {
    let mut random = Random(12);
    for (rate, seconds) in
        [(10.0, 4000.0), (100.0, 400.0), (1000.0, 100.0), (77_777.0, 4.0), (1e6, 2.0), (1e7, 1.0)]
    {
        for load in [0.9, 1.0, 1.1, 2.0, 10.0] {
            if rate * load * seconds > 2e7 {
                continue;
            }
            for tick in [1000, 4000, 10_000] {
                // 2 ms, or ten packets.
                let burst = (rate as u64 / 500).max(10);
                let packets = (rate * load * seconds) as u64;
                let case = Run { rate, burst, load, tick, arrivals: Arrivals::Even, packets };
                let Outcome { admitted, ideal, .. } = run(case, &mut random);
                let share = admitted / ideal;
                assert!((0.99..=1.01).contains(&share), "{share}: {case:?}");
            }
        }
    }
}

/// Chance decides each packet: of 2^24 that cost a tenth of a µs the mean is known to 0.07 %.
#[test]
fn costs_are_right_on_average() {
    for (rate, units) in [(1e7, 1), (3e6, 1), (1.25e8, 64), (1.25e9, 1514), (77_777.0, 1), (1.0, 1)] {
        let profile = Profile::new(rate, 1).unwrap();
        let want = f64::from(units) * 1e6 / rate;
        let count = 1 << 24;
        let mut sum = 0;
        for sequence in 0..count {
            let dither = (u64::wrapping_mul(sequence, 0x9e37_79b9_7f4a_7c15) >> 40) as u32;
            let cost = profile.cost(units);
            assert!(cost.ceiling - cost.charged(dither) <= 1, "{rate}: {cost:?}");
            sum += cost.charged(dither);
        }
        let mean = sum as f64 / count as f64;
        assert!((mean / want - 1.0).abs() < 2e-3, "{rate}/s, {units} units: {mean} µs instead of {want}");
    }
}

/// A packet of many dear units costs more than 64 bits of 2^-24 µs can say.
#[test]
fn costs_do_not_wrap() {
    let profile = Profile::new(1.0 / 3600.0, 1).unwrap();
    assert_eq!(profile.cost(u16::MAX.into()).charged(0), u64::from(u16::MAX) * 3_600_000_000);
}
