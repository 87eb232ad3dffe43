//! How long a proxy waits for a decision: `l7.*`, at fixed rates, with and without a flood that is
//! being dropped beside it.
//!
//! Open loop: a question has a time at which it is due, and its latency runs from there, whether or not
//! the one before has been answered. So an agent that stalls is not forgiven for what could not be
//! asked meanwhile. Rounds of all surfaces and rates take turns, and beside each of Envoy's its peer:
//! what is told is the median round.

/// Asking at a fixed rate.
mod load;
/// Envoy's `ext_authz`.
mod grpc;
/// Envoy's rate limit service.
mod limits;
/// `/v1/auth`.
mod http;
/// HAProxy's SPOP.
mod haproxy;
/// What it takes to be asked at all.
mod echo;
/// Whom answers to Envoy are compared with.
mod peer;

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
    stats::{least, median},
};
use load::{Asker, Outcome};
use peer::Peer;

const RATES: [u32; 3] = [1_000, 5_000, 10_000];
/// Connections of a proxy: it has one a thread.
const CONNECTIONS: u32 = 4;
/// What P8 asks of `ext_authz` at the highest rate.
const AIM_MICROS: f64 = 300.0;
/// The agent and those who ask share a CPU; the flood has the other.
const AGENT_CPU: usize = 0;
/// Rounds at most: each is a second for each surface, rate and peer, with and without a flood.
const ROUNDS_MAX: u32 = 5;

/// A surface, and how somebody connects to it.
struct Surface {
    name: &'static str,
    connect: fn(&Path) -> Result<Box<dyn Asker>>,
    /// Who is asked the same.
    peer: Option<&'static str>,
}

const SURFACES: [Surface; 5] = [
    Surface { name: "echo", connect: echo::connect, peer: None },
    Surface { name: "grpc", connect: grpc::connect, peer: Some("an ext_authz that answers at once") },
    Surface { name: "limits", connect: limits::connect, peer: Some("Limitador") },
    Surface { name: "http", connect: http::connect, peer: None },
    Surface { name: "haproxy", connect: haproxy::connect, peer: None },
];

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let list = List::of(settings.prefixes);
    let mut stand = Stand::new()?;
    let mut agent = Agent::new(binary()?, &stand.pair.server)?;
    configure(&agent, list)?;
    agent.start()?;
    stay_on(agent.id()?, AGENT_CPU)?;
    let peer = Peer::start(agent.directory());
    if let Ok(peer) = &peer {
        stay_on(peer.id(), AGENT_CPU)?;
    }
    stand.order(Orders { choice: Choice::Listed as u64, list, ..Orders::default() })?;
    let mut cases = cases();
    for _ in 0..settings.rounds.min(ROUNDS_MAX) {
        for case in &mut cases {
            let socket = agent.directory().join(format!("{}.sock", case.surface.name));
            case.ours.push(measure(&stand, agent.id()?, &socket, case)?);
            if let (Some(_), Ok(peer)) = (case.surface.peer, &peer) {
                case.theirs.push(measure(&stand, peer.id(), peer.socket(), case)?);
            }
        }
    }
    let missing = peer.err().map(|error| format!("{error:#}"));
    Ok(cases.iter().map(|case| case.finding(missing.as_deref())).collect())
}

fn cases() -> Vec<Case> {
    let rates = |flooded| {
        SURFACES.iter().flat_map(move |surface| {
            RATES.map(|rate| Case { surface, rate, flooded, ours: Vec::new(), theirs: Vec::new() })
        })
    };
    [false, true].into_iter().flat_map(rates).collect()
}

/// A surface at a rate, and what was found in each round.
struct Case {
    surface: &'static Surface,
    rate: u32,
    flooded: bool,
    ours: Vec<Round>,
    theirs: Vec<Round>,
}

struct Round {
    outcome: Outcome,
    /// Of a CPU, in percent.
    used: f64,
    /// Packets a second.
    flood: f64,
}

fn measure(stand: &Stand, process: u32, socket: &Path, case: &Case) -> Result<Round> {
    let (duration, stop) = (Duration::from_secs(1), AtomicBool::new(false));
    let before = processor_time(process)?;
    let (outcome, flood) = thread::scope(|scope| {
        let flooding = scope.spawn(|| if case.flooded { pour(stand, &stop) } else { Ok(0.0) });
        let asking = scope.spawn(|| {
            cpu::stay_on(AGENT_CPU)?;
            load::run(case.rate, CONNECTIONS, duration, || (case.surface.connect)(socket))
        });
        let outcome = asking.join().map_err(|_panic| anyhow!("those who ask panicked"))?;
        stop.store(true, Relaxed);
        let flood = flooding.join().map_err(|_panic| anyhow!("the flood panicked"))??;
        anyhow::Ok((outcome?, flood))
    })?;
    let used = (processor_time(process)? - before) / TICKS / duration.as_secs_f64() * 100.0;
    Ok(Round { outcome, used, flood })
}

impl Case {
    fn finding(&self, missing: Option<&str>) -> Finding {
        let Self { surface, rate, flooded, ours, theirs } = self;
        let case = format!("l7.{}.{}k{}", surface.name, rate / 1000, if *flooded { ".flood" } else { "" });
        let quantile =
            |rounds: &[Round], q| rounds.iter().map(|round| round.outcome.micros(q)).collect::<Vec<_>>();
        let middle = |q| median(&quantile(ours, q));
        let p99 = quantile(ours, 0.99);
        let mut finding = Finding::value(&case, "µs p99", median(&p99)).measured_times(ours.len());
        match (surface.peer, missing) {
            (Some(name), None) => finding = finding.beside_rounds(name, &p99, &quantile(theirs, 0.99)),
            (Some(name), Some(why)) => finding = finding.without([(name, why.to_owned())]),
            (None, _) => {}
        }
        if surface.name == "grpc" && Some(rate) == RATES.last() {
            finding = finding.aiming("P8", None, Bound::AtMost(AIM_MICROS));
        }
        let mean = |of: fn(&Round) -> f64| median(&ours.iter().map(of).collect::<Vec<_>>());
        let flood = mean(|round| round.flood) / 1e6;
        let beneath = if *flooded { format!(", beneath {flood:.2} Mpps") } else { String::new() };
        finding.noting(format!(
            "least {:.0} µs, p50 {:.0} µs, p99.9 {:.0} µs, worst of all {:.0} µs; {} asked, {} errors; agent {:.0} % of a CPU{beneath}",
            least(&p99),
            middle(0.5),
            middle(0.999),
            quantile(ours, 1.0).into_iter().fold(0.0, f64::max),
            ours.iter().map(|round| round.outcome.asked()).sum::<usize>(),
            ours.iter().map(|round| round.outcome.errors).sum::<u64>(),
            mean(|round| round.used),
        ))
    }
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
         l7:\n  listen: {{grpc: ['{}', '{}'], http: ['{}'], haproxy: ['{}']}}\n  quotas:\n    domains:\n      \
         - domain: bench\n        descriptors: [{{key: consumer, limits: [{{requests: 100000, per: second, \
         burst: 100000}}]}}]\n",
        Pair::INTERFACE,
        path.display(),
        Agent::METRICS,
        socket("grpc"),
        socket("limits"),
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
