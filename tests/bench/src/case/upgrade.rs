//! What gets through while agents and tables change: `upgrade.*`. All of it must be nothing.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use weir::{
    datapath::Pins,
    feed::Entries,
    policy::generations::{InForce, Way},
};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_common::counter::Outcome;
use weir_tests::{
    agent::{Agent, binary},
    frame::Sight,
    namespace::Pair,
    wire::Receiver,
};

use super::Settings;
use crate::{
    cpu, data,
    driver::Driver,
    finding::{Bound, Finding},
    ours::{BPFFS, Made, Ours, PORT},
    stand::{Stand, frame},
};

const UNIT: &str = "packets";
/// Frames of one call, between which it is asked whether it is time to stop.
const FRAMES: u32 = 20_000;

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let mut findings = vec![leak(settings)?];
    let ways = [
        ("upgrade.swap.drop", Choice::Listed, Outcome::Pass),
        ("upgrade.swap.pass", Choice::Unlisted, Outcome::Drop),
    ];
    for (case, choice, wrong) in ways {
        findings.push(swap(settings, case, choice, wrong)?);
    }
    Ok(findings)
}

/// Agents are killed, stopped and started while listed sources send; what passes is a leak.
fn leak(settings: &Settings) -> Result<Finding> {
    let times = if settings.quick { 2 } else { 10 };
    let list = List::of(settings.prefixes / 8);
    let mut stand = Stand::new()?;
    let mut agent = Agent::new(binary()?, &stand.pair.server)?;
    let path = agent.write("list", data::text(&data::entries(list, 0).v4))?;
    agent.configure(&format!(
        "enforce: enforce\ninterfaces: [{{name: {}}}]\nfeeds: [{{name: list, path: {}, action: drop}}]\n\
         listen: {{metrics: {}}}\ntables: {{limiter: 8MiB}}\n",
        Pair::INTERFACE,
        path.display(),
        Agent::METRICS
    ))?;
    agent.start()?;
    stand.order(Orders { choice: Choice::Listed as u64, list, ..Orders::default() })?;
    // Link-local sources pass whatever lists say (`policy::protect`), and some are under a prefix.
    let sight = |frame: &[u8]| {
        let sight = Sight::of(frame)?;
        let protected = matches!(sight.source, IpAddr::V4(source) if source.is_link_local());
        Some(sight.destination == Pair::SERVER.v4 && !protected)
    };
    let receiver = stand.pair.server.run(|| Receiver::start(Pair::INTERFACE, sight))?;
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            stand.pair.client.run(|| {
                let (frame, mut sent) = (frame(PORT, true), 0u64);
                while !stop.load(Relaxed) {
                    stand.generate(&frame, FRAMES)?;
                    sent += u64::from(FRAMES);
                }
                Ok(sent)
            })
        });
        cpu::stay_nowhere()?;
        let came_and_went = (0..times).try_for_each(|_| {
            agent.kill()?;
            agent.start()?;
            ensure!(agent.stop()?.success(), "the agent does not stop as it should");
            agent.start()
        });
        stop.store(true, Relaxed);
        let sent = sending.join().map_err(|_panic| anyhow!("the sender panicked"))?;
        came_and_went?;
        sent
    })?;
    let leaked = receiver.stop()?.packets(&true);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(Finding::value("upgrade.leak", UNIT, leaked as f64)
        .aiming("P5", None, Bound::AtMost(0.0))
        .measured_times(2 * times)
        .noting(format!("of {sent} frames of listed sources, while agents were killed, stopped and started")))
}

/// Tables are swapped while packets are judged, half of the times in part; a verdict that is not the
/// one that all policies have is wrong.
fn swap(settings: &Settings, case: &str, choice: Choice, wrong: Outcome) -> Result<Finding> {
    let swaps = if settings.quick { 5 } else { 50 };
    Pins::new(Path::new(BPFFS)).remove()?;
    let list = List::of(settings.prefixes);
    let entries = data::entries(list, 0);
    let lists = [Arc::new(cut(&entries)), entries];
    let mut ours = Ours::new(&Made::new(Arc::clone(&lists[1]), None)?, 17)?;
    let mut driver = Driver::new(&ours.program()?)?;
    driver.order(Orders { choice: choice as u64, list, ..Orders::default() }, 1)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let judging = scope.spawn(|| {
            cpu::stay_on(0)?;
            let frame = frame(PORT, true);
            while !stop.load(Relaxed) {
                driver.run(&frame, FRAMES * 10)?;
            }
            anyhow::Ok(())
        });
        let swapped = swap_tables(&mut ours, &lists, swaps);
        stop.store(true, Relaxed);
        judging.join().map_err(|_panic| anyhow!("the sender panicked"))??;
        let changes = swapped?;
        ensure!(changes >= swaps / 2, "{changes} of {swaps} tables were swapped in part");
        anyhow::Ok(())
    })?;
    let rows = ours.datapath.counters()?.packets(&[0]).context("read the counters")?;
    let count = |outcome| -> u64 {
        rows.iter().filter(|row| row.outcome == outcome).map(|row| row.count.packets).sum()
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(Finding::value(case, "wrong verdicts", count(wrong) as f64)
        .aiming("P5", None, Bound::AtMost(0.0))
        .measured_times(swaps)
        .noting(format!(
            "of {}, while {swaps} tables were swapped, half of them in part",
            count(Outcome::Pass) + count(Outcome::Drop)
        )))
}

/// Swaps tables; returns how often in part.
fn swap_tables(ours: &mut Ours, lists: &[Arc<Entries>; 2], swaps: usize) -> Result<usize> {
    let mut changes = 0;
    let mut before: Option<InForce> = None;
    for (swap, entries) in (0..swaps).zip(lists.iter().cycle()) {
        // From the middle on what is different from the one before, which is known from then on.
        let known = before.as_ref().filter(|_| swap + 2 >= swaps / 2);
        let made = Made::after(known, Arc::clone(entries), None)?;
        let (publication, way) = ours.publish(&made)?;
        changes += usize::from(way == Way::Change);
        before = Some(made.published(publication));
    }
    Ok(changes)
}

/// Returns a list that covers the same addresses, with some of its prefixes cut into halves.
fn cut(entries: &Entries) -> Entries {
    let networks = entries.v4.iter().enumerate().filter(|(_, (_, length))| *length < 32);
    let cut: BTreeSet<usize> =
        networks.map(|(place, _)| place).step_by(entries.v4.len() / 1000 + 1).collect();
    let halves = |(place, &(network, length)): (usize, &(u32, u8))| {
        let other = network | 1 << (31 - u32::from(length.min(31)));
        let halves = cut.contains(&place);
        let first = (network, length + u8::from(halves));
        [first].into_iter().chain(halves.then_some((other, length + 1)))
    };
    Entries { v4: entries.v4.iter().enumerate().flat_map(halves).collect(), v6: entries.v6.clone() }
}
