use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::prctl;

/// How late a sleeping thread may be woken, beyond what the scheduler takes (PR_SET_TIMERSLACK).
const SLACK_NS: u64 = 1_000;

/// Questions of a connection before it counts: those of proxies are old, and what a first question makes
/// on both sides is there.
const WARM: u32 = 100;

/// Somebody who asks and waits for the answer.
pub(super) trait Asker {
    /// Asks about a client. Returns whether it is let pass.
    fn ask(&mut self, client: Ipv4Addr) -> Result<bool>;
}

/// What became of the questions.
pub(super) struct Outcome {
    /// From due to answered, sorted.
    latencies: Vec<Duration>,
    /// Questions without an answer, or with one that no client here may get.
    pub(super) errors: u64,
}

impl Outcome {
    /// Returns a quantile in µs.
    pub(super) fn micros(&self, quantile: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = ((self.latencies.len() as f64 * quantile).ceil() as usize).saturating_sub(1);
        self.latencies.get(place).map_or(f64::INFINITY, |latency| latency.as_secs_f64() * 1e6)
    }

    /// Returns how many were answered.
    pub(super) fn asked(&self) -> usize {
        self.latencies.len()
    }
}

/// Documentation addresses (RFC 5737), which no list of the benchmark has.
fn client(question: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc000_0200 + question % 250)
}

/// Asks `rate` times a second over some connections, each at its own times.
pub(super) fn run(
    rate: u32,
    connections: u32,
    duration: Duration,
    connect: impl Fn() -> Result<Box<dyn Asker>> + Sync,
) -> Result<Outcome> {
    let interval = Duration::from_secs(1) / rate;
    // Time to connect and to get warm.
    let start = Instant::now() + Duration::from_millis(200);
    let one = |number: u32| -> Result<Outcome> {
        prctl::set_timerslack(SLACK_NS)?;
        let mut asker = connect()?;
        for question in 0..WARM {
            asker.ask(client(question)).context("before it counts")?;
        }
        let (mut latencies, mut errors) = (Vec::new(), 0);
        for question in (number..).step_by(connections as usize) {
            let due = interval * question;
            if due > duration {
                break;
            }
            let due = start + due;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match asker.ask(client(question)) {
                Ok(true) => latencies.push(due.elapsed()),
                Ok(false) | Err(_) => errors += 1,
            }
        }
        Ok(Outcome { latencies, errors })
    };
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|number| scope.spawn(move || one(number))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_panic| Err(anyhow!("an asker panicked")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let errors = outcomes.iter().map(|outcome| outcome.errors).sum();
    let mut latencies: Vec<_> = outcomes.into_iter().flat_map(|outcome| outcome.latencies).collect();
    latencies.sort_unstable();
    Ok(Outcome { latencies, errors })
}
