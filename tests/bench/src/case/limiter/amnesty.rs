//! Offenders beneath a flood: `limiter.amnesty`.
//!
//! Each offender sends twice what it may. Its packets are sent one by one, so that what becomes of
//! each is known, and compared with a bucket of its own that nobody else touches. On another CPU
//! packets of random sources come as fast as asked for, which is what makes tables forget.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_tests::{frame::Frame, namespace::Pair};

use super::Settings;
use crate::{
    cpu,
    driver::{Action, Driver},
    finding::{Bound, Finding},
    ours::{Limit, PORT},
    textbook::{Textbook, buckets_in},
};

/// What an offender may send, and what it sends.
const LIMIT: Limit = Limit { packets: 30, seconds: 60, burst: 2 };
const SENT_PER_SECOND: u32 = 1;
/// Packets of the flood, each second.
const FLOOD: u64 = 2_000_000;
/// Times that the flooding program is asked whether a packet is due, in one call.
const ASKED: u32 = 1_000_000;
/// Where the source stands in a frame.
const SOURCE: std::ops::Range<usize> = 26..30;
/// What is aimed at: admitted beyond the limit, in %, and how many times as much others admit.
const AIM: f64 = 0.01;
const AIM_BESIDE_LRU: f64 = 100.0;
const LRU: &str = "LRU_HASH of the same size";

/// What came of it.
#[derive(Debug)]
struct Answer {
    /// Packets admitted beyond what the oracle admits, and what that admits.
    beyond: u64,
    due: u64,
    /// Packets of the flood, each second.
    flood: f64,
    /// How many times their limit offenders sent.
    offered: f64,
}

impl Answer {
    /// Returns what was admitted beyond, in %.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn percent(&self) -> f64 {
        self.beyond as f64 / self.due.max(1) as f64 * 100.0
    }

    /// The least that can be told apart from nothing.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn resolution(&self) -> f64 {
        100.0 / self.due.max(1) as f64
    }
}

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let sizes: &[(&str, u32)] = &[("limiter.amnesty", 21), ("limiter.amnesty.8mb", 17)];
    if cpu::count()? < 2 {
        let why = "the flood takes a CPU of its own, and this machine has one".to_owned();
        return Ok(sizes.iter().map(|(case, _)| Finding::not_measured(case, "%", why.clone())).collect());
    }
    sizes.iter().map(|&(case, bits)| measure(settings, case, bits)).collect()
}

fn measure(settings: &Settings, case: &str, limiter_bits: u32) -> Result<Finding> {
    let own = {
        let ours = super::ours(LIMIT, limiter_bits)?;
        let program = ours.program()?;
        beset(settings, || Driver::new(&program))?
    };
    let mut textbook = Textbook::new(buckets_in(64 << limiter_bits))?;
    textbook.limit(LIMIT)?;
    let program = textbook.program("textbook")?;
    let lru = beset(settings, || Driver::new(&program))?;
    // Where nothing is beyond, that it is less than one packet is all that is known.
    let floor = own.resolution();
    let rates = |answer: &Answer| {
        format!("{:.2} Mpps of flood, offenders at {:.2}× their limit", answer.flood / 1e6, answer.offered)
    };
    let finding = Finding::value(case, "%", own.percent()).noting(format!(
        "{} of {} packets beyond, LRU_HASH {} of {}; ours beneath {}, LRU_HASH beneath {}",
        own.beyond,
        own.due,
        lru.beyond,
        lru.due,
        rates(&own),
        rates(&lru)
    ));
    let mut finding = finding.beside(LRU, Ok(lru.percent()));
    if let Some(peer) = finding.peers.first_mut() {
        peer.ratio = Some(crate::stats::Spread::of(&[lru.percent() / own.percent().max(floor)]));
    }
    let aimed = limiter_bits == 21;
    Ok(if aimed {
        finding.aiming("P6", None, Bound::AtMost(AIM)).aiming("P6", Some(LRU), Bound::AtLeast(AIM_BESIDE_LRU))
    } else {
        finding
    })
}

/// Has offenders send beneath a flood.
fn beset(settings: &Settings, driver: impl Fn() -> Result<Driver>) -> Result<Answer> {
    let (offenders, duration) =
        if settings.quick { (10_000, Duration::from_secs(6)) } else { (100_000, Duration::from_secs(20)) };
    let frame = Frame::new().ipv4(Pair::CLIENT.v4, Pair::SERVER.v4).udp(4000, PORT).payload(&[0; 18]).build();
    let mut flood = driver()?;
    flood.order(
        Orders { choice: Choice::Unlisted as u64, rate: FLOOD, list: List::NONE, ..Orders::default() },
        3,
    )?;
    let mut single = driver()?;
    single.order(Orders { choice: Choice::Fixed as u64, ..Orders::default() }, 1)?;
    let stop = AtomicBool::new(false);
    let (mut answer, flooded) = thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            cpu::stay_on(0)?;
            while !stop.load(Relaxed) {
                flood.run(&frame, ASKED)?;
            }
            flood.states()
        });
        let answer = offend(&single, &frame, offenders, duration);
        stop.store(true, Relaxed);
        let states = flooding.join().map_err(|_panic| anyhow!("the flood panicked"))??;
        anyhow::Ok((answer?, states))
    })?;
    let flooded = flooded.first().copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_second =
        flooded.packets as f64 / (flooded.last.saturating_sub(flooded.first).max(1) as f64 / 1e9);
    answer.flood = per_second;
    Ok(answer)
}

/// Sends packets of all offenders in turn, and compares what becomes of them with the oracle.
fn offend(driver: &Driver, frame: &[u8], offenders: u32, duration: Duration) -> Result<Answer> {
    cpu::stay_on(cpu::count()? - 1)?;
    let mut buckets = vec![Bucket::default(); usize::try_from(offenders)?];
    let mut frame = frame.to_vec();
    let per_second = offenders * SENT_PER_SECOND;
    let (start, mut sent) = (Instant::now(), 0u32);
    while start.elapsed() < duration {
        for (n, bucket) in (0..).zip(&mut buckets) {
            let due = Duration::from_secs_f64(f64::from(sent) / f64::from(per_second));
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
            sent += 1;
            let address = Ipv4Addr::from_bits(List::NONE.clean(n, u64::from(offenders)));
            frame[SOURCE].copy_from_slice(&address.octets());
            let admitted = driver.run(&frame, 1)?.action == Action::Pass;
            // After it: the oracle rather admits one too many.
            bucket.sent(start.elapsed(), admitted);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let limit = LIMIT.packets as f64 / LIMIT.seconds as f64 * f64::from(offenders);
    let offered = f64::from(sent) / start.elapsed().as_secs_f64() / limit;
    Ok(Answer {
        beyond: buckets.iter().map(|bucket| bucket.admitted.saturating_sub(bucket.due)).sum(),
        due: buckets.iter().map(|bucket| bucket.due).sum(),
        flood: 0.0,
        offered,
    })
}

/// The bucket of one offender, kept exactly, and what was admitted of its packets.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Theoretical arrival time in ns.
    tat: u64,
    /// Packets that the oracle admits.
    due: u64,
    /// Packets that were admitted.
    admitted: u64,
}

impl Bucket {
    const INCREMENT: u64 = 1_000_000_000 * LIMIT.seconds / LIMIT.packets;
    /// What the limiter may be off by: a tick of its clock at HZ=250, and the slack in which sources
    /// that keep exactly to their limit are admitted (`weir_common::gcra::SLACK`).
    const TICK: u64 = 4_000_000;
    const SLACK: u64 = 1000 * weir_common::gcra::SLACK + Self::INCREMENT / 256;
    const TOLERANCE: u64 = Self::INCREMENT * LIMIT.burst + Self::TICK + Self::SLACK;

    fn sent(&mut self, now: Duration, admitted: bool) {
        // A second is 10^9 ns, so this lasts for 500 years.
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let tat = self.tat.max(now) + Self::INCREMENT;
        if tat - now <= Self::TOLERANCE {
            self.tat = tat;
            self.due += 1;
        }
        self.admitted += u64::from(admitted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_admits_the_burst_and_then_the_rate() {
        let mut bucket = Bucket::default();
        for tenth in 0..200 {
            bucket.sent(Duration::from_millis(tenth * 100), false);
        }
        // 2 at once, and one every other of 19.9 seconds.
        assert_eq!(bucket.due, 11);
    }
}
