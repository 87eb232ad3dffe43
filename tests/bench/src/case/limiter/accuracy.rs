//! Admitted beside min(offered, limit): `limiter.accuracy.*`.
//!
//! One source sends at a rate that the sending program keeps by the clock, packet by packet, from one
//! CPU or from two. First it uses up its burst, so that from then on no more is earned than the limit.

use std::{
    net::Ipv4Addr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use weir_bench_ebpf::source::{Choice, Orders, State};
use weir_common::counter::Outcome;
use weir_tests::{frame::Frame, namespace::Pair};

use super::Settings;
use crate::{
    cpu,
    driver::Driver,
    finding::{Bound, Finding},
    ours::{Limit, Ours, PORT},
};

/// How many times the limit is offered.
const FACTORS: [f64; 5] = [0.9, 1.0, 1.1, 2.0, 10.0];
/// A rate that no CPU keeps: as fast as it can, but counted.
const FLAT_OUT: u64 = 1_000_000_000;
/// Rates above this are not kept: all of them are flat out.
const KEPT_MAX: f64 = 2_000_000.0;
/// Times that the sending program is asked whether a packet is due, in one call.
const ASKED: u32 = 500_000;
/// How long it takes to use up the burst of a limit that is not much slower than two CPUs.
const DRAIN: Duration = Duration::from_secs(3);
/// A burst lasts for half a second (two packets at least: with one, each that is late puts off the next). Where a sender does not run for most of that, since others have
/// its CPU, it is tried again.
const PAUSE_MAX: Duration = Duration::from_millis(400);
const TRIES: usize = 5;
/// What is aimed at, in %.
const AIM: f64 = 1.0;

/// A limit, how long it is tried, and from how many CPUs.
#[derive(Clone, Copy)]
struct Trial {
    per_second: u64,
    seconds: f64,
    cpus: usize,
}

/// What came of an offer.
struct Answer {
    /// How many times the limit was offered.
    factor: f64,
    /// Admitted beyond what should have been, in % of that.
    off: f64,
}

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let limits: &[(u64, f64)] = if settings.quick {
        &[(1000, 0.3), (1_000_000, 0.3)]
    } else {
        &[(1, 5.0), (100, 1.5), (10_000, 1.5), (1_000_000, 1.5), (10_000_000, 1.5)]
    };
    let trials = limits
        .iter()
        .flat_map(|&(per_second, seconds)| [1, 2].map(|cpus| Trial { per_second, seconds, cpus }));
    trials.map(measure).collect()
}

fn measure(trial: Trial) -> Result<Finding> {
    const UNIT: &str = "% off";
    let case = format!("limiter.accuracy.{}.{}cpu", name(trial.per_second), trial.cpus);
    if trial.cpus > cpu::count()? {
        return Ok(Finding::not_measured(&case, UNIT, "this machine has one CPU".to_owned()));
    }
    let limit = Limit::per_second(trial.per_second, (trial.per_second / 2).max(2));
    let ours = super::ours(limit, 17)?;
    let mut driver = Driver::new(&ours.program()?)?;
    let (mut worst, mut notes) = (0.0f64, Vec::new());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let kept = |factor: f64| trial.per_second as f64 * factor <= KEPT_MAX;
    let factors: Vec<_> = FACTORS.into_iter().filter(|factor| kept(*factor)).collect();
    let flat_out = factors.len() < FACTORS.len();
    // Each try is of a source that owes nothing yet.
    let mut sources = 1u8..;
    for factor in factors.into_iter().map(Some).chain(flat_out.then_some(None)) {
        let mut tries = sources
            .by_ref()
            .take(TRIES)
            .map(|source| offer(&ours, &mut driver, limit, trial, factor, source));
        let Some(answer) = tries.find_map(Result::transpose).transpose()? else {
            let why = format!("a sender did not run for {} ms, again and again", PAUSE_MAX.as_millis());
            return Ok(Finding::not_measured(&case, UNIT, why));
        };
        worst = worst.max(answer.off.abs());
        notes.push(format!("{:.2}×: {:+.3} %", answer.factor, answer.off));
    }
    let finding = Finding::value(&case, UNIT, worst).measured_times(notes.len());
    Ok(finding.aiming("P7", None, Bound::AtMost(AIM)).noting(notes.join(", ")))
}

fn name(per_second: u64) -> String {
    match per_second {
        0..1_000 => format!("{per_second}ps"),
        1_000..1_000_000 => format!("{}kps", per_second / 1_000),
        _ => format!("{}Mps", per_second / 1_000_000),
    }
}

/// Offers packets of one source for a while, at `factor` times the limit or flat out.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and counts far below 2^52"
)]
fn offer(
    ours: &Ours,
    driver: &mut Driver,
    limit: Limit,
    trial: Trial,
    factor: Option<f64>,
    source: u8,
) -> Result<Option<Answer>> {
    let orders = Orders { choice: Choice::Fixed as u64, ..Orders::default() };
    let frame =
        Frame::new().ipv4(Ipv4Addr::new(198, 51, 100, source), Pair::SERVER.v4).udp(4000, PORT).build();
    // The burst, and as much again as the source earns meanwhile.
    driver.order(Orders { rate: FLAT_OUT, ..orders }, 1)?;
    if trial.per_second as f64 > KEPT_MAX {
        send(driver, &frame, trial.cpus, DRAIN)?; // one CPU alone may be slower than the limit
    } else {
        driver.run(&frame, u32::try_from(limit.burst * 3 + 100)?)?;
    }
    let drained = last(&driver.states()?);
    let before = passed(ours)?;

    let rate =
        factor.map_or(FLAT_OUT, |factor| (trial.per_second as f64 * factor / trial.cpus as f64) as u64);
    // A rate below one a second on each CPU cannot be told to the program: all from one then.
    let (rate, cpus) = if rate == 0 { (1, 1) } else { (rate, trial.cpus) };
    // All stop at the same time, and none is asked before that for the last time.
    let lasts = Duration::from_secs_f64(trial.seconds);
    driver.order(Orders { rate, lasts: u64::try_from(lasts.as_nanos())?, ..orders }, 1)?;
    send(driver, &frame, cpus, lasts + Duration::from_millis(20))?;
    let states = driver.states()?;
    if states.iter().any(|state| Duration::from_nanos(state.pause) > PAUSE_MAX) {
        return Ok(None); // what the source did not send meanwhile it may not send later
    }
    let offered: u64 = states.iter().map(|state| state.packets).sum();
    let admitted = passed(ours)? - before;

    let seconds = last(&states).saturating_sub(drained) as f64 / 1e9;
    let earned = seconds * trial.per_second as f64;
    let due = (offered as f64).min(earned);
    // Where the time is cut, one packet more or less is neither too much nor too little.
    let beyond = admitted as f64 - due;
    let off = beyond.signum() * (beyond.abs() - 1.0).max(0.0) / due * 100.0;
    Ok(Some(Answer { factor: offered as f64 / earned, off }))
}

/// Has CPUs send at the same time, for so long.
fn send(driver: &Driver, frame: &[u8], cpus: usize, duration: Duration) -> Result<()> {
    let barrier = Barrier::new(cpus);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus)
            .map(|cpu| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let ready = cpu::stay_on(cpu);
                    barrier.wait();
                    ready?;
                    let start = Instant::now();
                    while start.elapsed() < duration {
                        driver.run(frame, ASKED)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_panic| anyhow!("a sender panicked"))?)
    })
}

/// Returns when the last packet was sent.
fn last(states: &[State]) -> u64 {
    states.iter().map(|state| state.last).max().unwrap_or(0)
}

/// Returns how many packets have passed so far.
fn passed(ours: &Ours) -> Result<u64> {
    let rows = ours.datapath.counters()?.packets(&[0]).context("read the counters")?;
    Ok(rows.iter().filter(|row| row.outcome == Outcome::Pass).map(|row| row.count.packets).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_short_names() {
        assert_eq!([1, 100, 10_000, 1_000_000].map(name), ["1ps", "100ps", "10kps", "1Mps"]);
    }
}
