//! The agent while its host is flooded, and before: `flood.*`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_tests::{
    agent::{Agent, binary},
    frame::{Frame, Sight},
    namespace::Pair,
    wire::{Receiver, Wire},
};

use super::Settings;
use crate::{
    cpu, data,
    finding::{Bound, Finding},
    ours::PORT,
    stand::{Stand, frame},
};

/// Whom the flood must not harm, and what they send.
const LEGITIMATE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const LEGITIMATE_PER_SECOND: u32 = 500;
/// Frames of one call, between which it is asked whether it is time to stop.
pub(super) const FRAMES: u32 = 20_000;
/// Between one metrics page and the next.
const PAUSE: Duration = Duration::from_millis(200);
/// Until what comes after a start is done: the last good list is on disk, and tables are sealed.
const SETTLED: Duration = Duration::from_secs(5);
/// Ticks of the CPU times in /proc, each second (USER_HZ).
pub(super) const TICKS: f64 = 100.0;

/// What was seen while the host was flooded.
struct Seen {
    lost: f64,
    flood: f64,
    cpu: f64,
    memory: f64,
    page: Duration,
}

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let duration = Duration::from_secs(if settings.quick { 2 } else { 10 });
    let list = List::of(settings.prefixes);
    let mut stand = Stand::new()?;
    let mut agent = Agent::new(binary()?, &stand.pair.server)?;
    let path = agent.write("list", data::text(&data::entries(list, 0).v4))?;
    agent.configure(&format!(
        "enforce: enforce\ninterfaces: [{{name: {}}}]\nservices: [{{name: https, ports: [{PORT}/udp]}}]\n\
         feeds: [{{name: list, path: {}, action: drop}}]\n\
         limits: [{{name: per-source, service: https, packets: {{rate: 1000/s, burst: 2000}}}}]\n\
         listen: {{metrics: {}}}\n",
        Pair::INTERFACE,
        path.display(),
        Agent::METRICS
    ))?;
    agent.start()?;
    let idle = idle(agent.id()?, Duration::from_secs(if settings.quick { 5 } else { 30 }))?;
    stand.order(Orders { choice: Choice::Listed as u64, list, ..Orders::default() })?;
    let seen = flood(&stand, &mut agent, duration)?;
    let prefixes = list.len();
    let beneath = format!("beneath {:.2} Mpps of listed sources", seen.flood / 1e6);
    let millis = seen.page.as_secs_f64() * 1e3;
    Ok(vec![
        Finding::value("flood.loss", "% lost", seen.lost)
            .aiming("P6", None, Bound::AtMost(0.0))
            .noting(beneath),
        Finding::value("flood.agent.memory", "MB", seen.memory)
            .aiming("P9", None, Bound::AtMost(150.0))
            .noting(format!("resident, with {prefixes} prefixes")),
        Finding::value("flood.agent.cpu", "% of a CPU", seen.cpu),
        Finding::value("flood.agent.idle", "% of a CPU", idle)
            .aiming("P9", None, Bound::AtMost(0.5))
            .noting(format!("before the flood, with {prefixes} prefixes")),
        Finding::value("flood.agent.page", "ms", millis)
            .aiming("P9", None, Bound::AtMost(10.0))
            .noting("/metrics, the median of those asked for meanwhile"),
    ])
}

/// Returns what an agent that has nothing to do takes of a CPU, in percent.
fn idle(process: u32, duration: Duration) -> Result<f64> {
    thread::sleep(SETTLED);
    let before = processor_time(process)?;
    thread::sleep(duration);
    Ok((processor_time(process)? - before) / TICKS / duration.as_secs_f64() * 100.0)
}

fn flood(stand: &Stand, agent: &mut Agent, duration: Duration) -> Result<Seen> {
    let receiver =
        stand.pair.server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source)))?;
    let wire = stand.pair.client.run(|| Wire::open(Pair::INTERFACE))?;
    let process = agent.id()?;
    let (before, stop) = (processor_time(process)?, AtomicBool::new(false));
    let (sent, flooded, pages) = thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            stand.pair.client.run(|| {
                let (frame, start, mut sent) = (frame(PORT, true), Instant::now(), 0u32);
                while !stop.load(Relaxed) {
                    stand.generate(&frame, FRAMES)?;
                    sent += FRAMES;
                }
                Ok(f64::from(sent) / start.elapsed().as_secs_f64())
            })
        });
        let sending = scope.spawn(|| {
            cpu::stay_on(0)?;
            let frame = Frame::new().destination_mac(Pair::SERVER.mac).ipv4(LEGITIMATE, Pair::SERVER.v4);
            wire.send_paced(&[frame.udp(4000, PORT).build()], LEGITIMATE_PER_SECOND, duration)
        });
        let pages = ask(agent, || sending.is_finished());
        let sent = sending.join().map_err(|_panic| anyhow!("the client panicked"))?;
        stop.store(true, Relaxed);
        let flooded = flooding.join().map_err(|_panic| anyhow!("the flood panicked"))?;
        anyhow::Ok((sent?.packets, flooded?, pages?))
    })?;
    let used = processor_time(process)? - before;
    let arrived = receiver.stop()?.packets(&IpAddr::V4(LEGITIMATE));
    let seconds: Vec<_> = pages.iter().map(Duration::as_secs_f64).collect();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(Seen {
        lost: (1.0 - arrived as f64 / sent as f64) * 100.0,
        flood: flooded,
        cpu: used / TICKS / duration.as_secs_f64() * 100.0,
        memory: memory(process)?,
        page: Duration::from_secs_f64(crate::stats::median(&seconds)),
    })
}

/// Asks for the metrics page from time to time; returns how long each took.
fn ask(agent: &Agent, is_over: impl Fn() -> bool) -> Result<Vec<Duration>> {
    cpu::stay_nowhere()?;
    let mut pages = Vec::new();
    while !is_over() {
        let start = Instant::now();
        ensure!(agent.get("/metrics")?.0 == 200, "there is no metrics page");
        pages.push(start.elapsed());
        thread::sleep(PAUSE);
    }
    Ok(pages)
}

/// Returns the CPU time of a process in ticks.
pub(super) fn processor_time(process: u32) -> Result<f64> {
    let text =
        fs::read_to_string(format!("/proc/{process}/stat")).context("read the CPU time of the agent")?;
    // Behind the name, which may hold anything, are the fields from the third on (proc(5)).
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field =
        |number: usize| -> Result<f64> { Ok(fields.get(number - 3).context("a short line")?.parse()?) };
    Ok(field(14)? + field(15)?)
}

/// Returns the resident memory of a process in MB.
fn memory(process: u32) -> Result<f64> {
    let text =
        fs::read_to_string(format!("/proc/{process}/status")).context("read the memory of the agent")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("read VmRSS")?;
    Ok(kilobytes / 1024.0)
}
