//! How long a proxy waits for a decision: `l7.*`, at fixed rates, with and without a flood that is
//! being dropped beside it.
//!
//! Open loop: a question has a time at which it is due, and its latency runs from there, whether or not
//! the one before has been answered. So an agent that stalls is not forgiven for what could not be
//! asked meanwhile.

/// Asking at a fixed rate.
mod load;
/// Envoy's `ext_authz`.
mod grpc;
/// `/v1/auth`.
mod http;
/// HAProxy's SPOP.
mod haproxy;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
};

use super::{
    Settings,
    flood::{FRAMES, TICKS, processor_time},
};
use crate::{
    cpu, data,
    finding::{Bound, Finding},
    ours::PORT,
    stand::{Stand, frame},
};
use load::{Asker, Outcome};

const RATES: [u32; 3] = [1_000, 5_000, 10_000];
/// Connections of a proxy: it has one a thread.
const CONNECTIONS: u32 = 4;
/// What P8 asks of `ext_authz` at the highest rate.
const AIM_MICROS: f64 = 300.0;
/// The agent and those who ask share a CPU; the flood has the other.
const AGENT_CPU: usize = 0;

/// A surface, and how somebody connects to it.
struct Surface {
    name: &'static str,
    connect: fn(&Path) -> Result<Box<dyn Asker>>,
}

const SURFACES: [Surface; 3] = [
    Surface { name: "grpc", connect: grpc::connect },
    Surface { name: "http", connect: http::connect },
    Surface { name: "haproxy", connect: haproxy::connect },
];

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let seconds = if settings.quick { 1 } else { 5 };
    let list = List::of(settings.prefixes);
    let mut stand = Stand::new()?;
    let mut agent = Agent::new(binary()?, &stand.pair.server)?;
    configure(&agent, list)?;
    agent.start()?;
    stay_on(agent.id()?, AGENT_CPU)?;
    stand.order(Orders { choice: Choice::Listed as u64, list, ..Orders::default() })?;
    let mut findings = Vec::new();
    for flooded in [false, true] {
        for surface in &SURFACES {
            for rate in RATES {
                let asked = Asked { surface, rate, seconds, flooded };
                findings.push(measure(&stand, &mut agent, &asked)?);
            }
        }
    }
    Ok(findings)
}

struct Asked<'s> {
    surface: &'s Surface,
    rate: u32,
    seconds: u64,
    flooded: bool,
}

fn measure(stand: &Stand, agent: &mut Agent, asked: &Asked<'_>) -> Result<Finding> {
    let Asked { surface, rate, seconds, flooded } = *asked;
    let socket = agent.directory().join(format!("{}.sock", surface.name));
    let process = agent.id()?;
    let duration = Duration::from_secs(seconds);
    let stop = AtomicBool::new(false);
    let before = processor_time(process)?;
    let (outcome, flood) = thread::scope(|scope| {
        let flooding = scope.spawn(|| if flooded { pour(stand, &stop) } else { Ok(0.0) });
        let asking = scope.spawn(|| {
            cpu::stay_on(AGENT_CPU)?;
            load::run(rate, CONNECTIONS, duration, || (surface.connect)(&socket))
        });
        let outcome = asking.join().map_err(|_panic| anyhow!("those who ask panicked"))?;
        stop.store(true, Relaxed);
        let flood = flooding.join().map_err(|_panic| anyhow!("the flood panicked"))??;
        anyhow::Ok((outcome?, flood))
    })?;
    let used = (processor_time(process)? - before) / TICKS / duration.as_secs_f64() * 100.0;
    Ok(finding(asked, &outcome, used, flood))
}

fn finding(asked: &Asked<'_>, outcome: &Outcome, used: f64, flood: f64) -> Finding {
    let Asked { surface, rate, flooded, .. } = *asked;
    let case = format!("l7.{}.{}k{}", surface.name, rate / 1000, if flooded { ".flood" } else { "" });
    let mut finding = Finding::value(&case, "µs p99", outcome.micros(0.99));
    if surface.name == "grpc" && Some(&rate) == RATES.last() {
        finding = finding.aiming("P8", None, Bound::AtMost(AIM_MICROS));
    }
    let beneath = if flooded { format!(", beneath {:.2} Mpps", flood / 1e6) } else { String::new() };
    finding.noting(format!(
        "p50 {:.0} µs, p99.9 {:.0} µs, worst {:.0} µs; {} asked, {} errors; agent {used:.0} % of a CPU{beneath}",
        outcome.micros(0.5),
        outcome.micros(0.999),
        outcome.micros(1.0),
        outcome.asked(),
        outcome.errors,
    ))
}

/// Sends listed sources until it is told to stop; returns how many a second.
fn pour(stand: &Stand, stop: &AtomicBool) -> Result<f64> {
    cpu::stay_on(cpu::count()?.saturating_sub(1))?;
    stand.pair.client.run(|| {
        let (frame, start, mut sent) = (frame(PORT, true), std::time::Instant::now(), 0u32);
        while !stop.load(Relaxed) {
            stand.generate(&frame, FRAMES)?;
            sent += FRAMES;
        }
        Ok(f64::from(sent) / start.elapsed().as_secs_f64())
    })
}

fn configure(agent: &Agent, list: List) -> Result<()> {
    let path = agent.write("list", data::text(&data::entries(list, 0).v4))?;
    let socket = |name: &str| format!("unix:{}", agent.directory().join(format!("{name}.sock")).display());
    agent.configure(&format!(
        "enforce: enforce\ninterfaces: [{{name: {}}}]\nservices: [{{name: https, ports: [{PORT}/udp]}}]\n\
         feeds: [{{name: list, path: {}, action: drop}}]\n\
         limits: [{{name: per-source, service: https, packets: {{rate: 1000/s, burst: 2000}}}}]\n\
         listen: {{metrics: {}}}\n\
         l7: {{listen: {{grpc: ['{}'], http: ['{}'], haproxy: ['{}']}}}}\n",
        Pair::INTERFACE,
        path.display(),
        Agent::METRICS,
        socket("grpc"),
        socket("http"),
        socket("haproxy"),
    ))
}

/// Keeps all threads of a process on a CPU.
fn stay_on(process: u32, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).context("choose a CPU")?;
    for task in fs::read_dir(format!("/proc/{process}/task")).context("find the threads of the agent")? {
        let name = task?.file_name();
        let thread = name.to_string_lossy().parse().context("the number of a thread")?;
        sched_setaffinity(Pid::from_raw(thread), &set).context("keep the agent on one CPU")?;
    }
    Ok(())
}
