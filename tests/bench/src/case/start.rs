//! A start after a reboot, without the server of the list: `start.cold`.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use weir_bench_ebpf::source::List;
use weir_tests::{
    agent::{Agent, binary},
    frame::{Frame, Sight},
    namespace::Pair,
    web::Server,
    wire::{Receiver, Wire},
};

use super::{
    Settings,
    flood::{TICKS, processor_time},
};
use crate::{
    cpu, data,
    finding::{Bound, Finding},
    stats::{median, quantile},
};

/// What is aimed at, in ms.
const AIM: f64 = 1000.0;
const ROUNDS: u32 = 10;
/// Frames of a listed source in a second: so fine is it seen when they no longer pass.
const PER_SECOND: u32 = 2000;
/// Frames of one call, between which it is asked whether it is time to stop.
const TURN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);
/// What the agent says when it enforces.
const SAYS: &str = " enforcing ";

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let list = List::of(settings.prefixes);
    let entries = data::entries(list, 0);
    let pair = Pair::new()?;
    let mut agent = Agent::new(binary()?, &pair.server)?;
    let server = Server::start(Some(&pair.server))?;
    server.list("/list", data::text(&entries.v4));
    agent.configure(&format!(
        "enforce: enforce\ninterfaces: [{{name: {}}}]\ntables: {{limiter: 8MiB}}\n\
         feeds: [{{name: list, url: '{}', format: plain, action: drop, http: {{insecure: true, private: true}}}}]\n\
         listen: {{metrics: {}}}\n",
        Pair::INTERFACE,
        server.url("/list"),
        Agent::METRICS
    ))?;
    agent.start()?;
    wait_for_list(&agent, settings.prefixes)?;
    ensure!(agent.stop()?.success(), "the agent does not stop as it should");
    drop(server);
    let listed = entries.v4.iter().map(|(network, _)| Ipv4Addr::from_bits(*network));
    // Link-local sources pass whatever lists say (`policy::protect`).
    let listed = listed.into_iter().find(|source| source.octets()[0] == 11).context("a list without 11/8")?;
    let rounds = settings.rounds.min(ROUNDS);
    cpu::stay_nowhere()?;
    let (mut times, mut used) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ensure!(agent.weir(&["unload"])?.status.success(), "nothing can be unloaded");
        let (passed, processor) = cold(&pair, &mut agent, listed)?;
        times.push(passed);
        used.push(processor);
    }
    let log = agent.log();
    let parts = log.lines().rev().find_map(|line| line.split_once(SAYS)).context("no word of the start")?.1;
    Ok(vec![
        Finding::value("start.cold", "ms", median(&times))
            .aiming("P10", None, Bound::AtMost(AIM))
            .measured_times(times.len())
            .noting(format!("slowest {:.0} ms, {} prefixes", quantile(&times, 1.0), list.len()))
            .noting(format!("{:.0} ms of CPU time until it is ready", median(&used)))
            .noting(format!("the last by its own word: {}", parts.trim())),
    ])
}

fn wait_for_list(agent: &Agent, prefixes: u64) -> Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let wanted = prefixes as f64 / 2.0;
    while agent.metrics()?.sum("weir_table_entries", &[("table", "ipv4")]) < wanted {
        ensure!(std::time::Instant::now() < deadline, "the list is not in force:\n{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Starts the agent while a listed source sends; returns how long its frames pass, and the CPU time of
/// the agent, in ms.
fn cold(pair: &Pair, agent: &mut Agent, listed: Ipv4Addr) -> Result<(f64, f64)> {
    let receiver =
        pair.server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source)))?;
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE))?;
    let frame = Frame::new().ipv4(listed, Pair::SERVER.v4).udp(4000, 53).build();
    let stop = AtomicBool::new(false);
    let (started, used) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            while !stop.load(Relaxed) {
                wire.send_paced(std::slice::from_ref(&frame), PER_SECOND, TURN)?;
            }
            anyhow::Ok(())
        });
        let source = IpAddr::V4(listed);
        let spawned = (|| {
            ensure!(receiver.wait_for(&source, 10, PATIENCE), "frames do not pass without an agent");
            let started = SystemTime::now();
            agent.start()?;
            Ok((started, processor_time(agent.id()?)? / TICKS * 1e3))
        })();
        // Long enough to see that nothing passes any more.
        thread::sleep(4 * TURN);
        stop.store(true, Relaxed);
        sending.join().map_err(|_panic| anyhow!("the sender panicked"))??;
        spawned
    })?;
    let arrivals = receiver.stop()?;
    ensure!(agent.stop()?.success(), "the agent does not stop as it should");
    let Some(last) = arrivals.times(&IpAddr::V4(listed)).last() else { bail!("nothing has passed") };
    let passed = last.duration_since(started).context("it was enforced before it was started")?;
    Ok((passed.as_secs_f64() * 1e3, used))
}
