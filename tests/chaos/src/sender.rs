//! Frames of known sources, without a pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use weir_tests::{
    namespace::Pair,
    wire::{Receiver, Wire},
};

use crate::{
    flow::{self, Flow, Sources},
    ledger::Ledger,
};

/// Frames are sent that often, those of all flows that are due.
const TICK: Duration = Duration::from_millis(10);
/// Who is later than that does not make good for it: a busy machine would get a burst in addition.
const LATE: Duration = Duration::from_millis(200);

/// The traffic, and who counts what comes through. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stopped: Arc<AtomicBool>,
    sender: Option<JoinHandle<Result<()>>>,
    receiver: Option<Receiver<()>>,
}

impl Traffic {
    /// Starts to send to the first interface of a pair that [`Pair::bridge`] was called for.
    pub(crate) fn start(pair: &Pair, sources: &Arc<Sources>, ledger: &Arc<Ledger>) -> Result<Self> {
        let counts = Arc::clone(ledger);
        // It has counted each frame itself when it says that there was none.
        let count = move |frame: &[u8]| {
            if let Some((flow, epoch)) = Flow::of(frame) {
                counts.arrived(flow, epoch);
            }
            None
        };
        let receiver = pair.server.run(|| Receiver::start(Pair::BEHIND, count))?;
        let wire = pair.client.run(|| Wire::open(Pair::INTERFACE))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (flag, sources, ledger) = (Arc::clone(&stopped), Arc::clone(sources), Arc::clone(ledger));
        let send = move || send(&wire, &sources, &ledger, &flag);
        let sender =
            thread::Builder::new().name("sender".to_owned()).spawn(send).context("start a thread")?;
        Ok(Self { stopped, sender: Some(sender), receiver: Some(receiver) })
    }

    /// Stops, once nothing is on its way any more.
    ///
    /// # Errors
    /// If a frame could not be sent, or was lost before it was counted.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().map_err(|_panic| anyhow!("the sender panicked"))??;
        }
        match self.receiver.take() {
            Some(receiver) => receiver.stop().map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn send(wire: &Wire, sources: &Sources, ledger: &Ledger, stopped: &AtomicBool) -> Result<()> {
    let mut limit = Limit::new();
    let mut sent = [0_u32; Flow::COUNT];
    let mut start = Instant::now();
    while !stopped.load(Ordering::Relaxed) {
        let elapsed = start.elapsed();
        for flow in Flow::ALL {
            let due = elapsed.as_micros() * u128::from(flow.per_second()) / 1_000_000;
            while u128::from(sent[flow.index()]) < due {
                let addresses = sources.of(flow);
                let source = addresses[sent[flow.index()] as usize % addresses.len()];
                let epoch = ledger.epoch();
                ledger.sent(flow, epoch);
                if flow == Flow::Offender && limit.admits(Instant::now()) {
                    ledger.ideal(epoch);
                }
                wire.send(&flow.frame(source, epoch))?;
                sent[flow.index()] += 1;
            }
        }
        let next = TICK.saturating_sub(start.elapsed().saturating_sub(elapsed));
        thread::sleep(next);
        if start.elapsed() > elapsed + LATE {
            start = Instant::now();
            sent = [0; Flow::COUNT];
        }
    }
    Ok(())
}

/// An exact limit, by the clock of the sender.
struct Limit {
    /// When the source owes nothing any more.
    arrival: Instant,
}

impl Limit {
    fn new() -> Self {
        Self { arrival: Instant::now() }
    }

    fn admits(&mut self, now: Instant) -> bool {
        let interval = Duration::from_secs(1) / flow::LIMIT.0;
        let next = self.arrival.max(now) + interval;
        let admitted = next.saturating_duration_since(now) <= interval * flow::LIMIT.1;
        if admitted {
            self.arrival = next;
        }
        admitted
    }
}

/// Sends as fast as can be for a while: frames of made-up sources and of all that the list names, in
/// turn. Returns how many.
pub(crate) fn flood(
    pair: &Pair,
    sources: &Sources,
    ledger: &Ledger,
    random: &mut fastrand::Rng,
    duration: Duration,
) -> Result<u64> {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE))?;
    let listed = sources.of(Flow::Flood);
    let (start, mut frames) = (Instant::now(), 0);
    while start.elapsed() < duration {
        for _ in 0..32 {
            let epoch = ledger.epoch();
            let source = listed[random.usize(..listed.len())];
            ledger.sent(Flow::Flood, epoch);
            wire.send(&Flow::Flood.frame(source, epoch))?;
            wire.send(&flow::spoofed(random))?;
            frames += 2;
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact() {
        let mut limit = Limit::new();
        let start = Instant::now();
        let (rate, burst) = flow::LIMIT;
        // Ten times the rate, for ten seconds.
        let admitted = (0..rate * 100)
            .filter(|n| limit.admits(start + Duration::from_secs(1) / (rate * 10) * *n))
            .count();
        let ideal = usize::try_from(burst + rate * 10).unwrap();
        assert!(admitted.abs_diff(ideal) <= 1, "{admitted} of {ideal}");
    }
}
