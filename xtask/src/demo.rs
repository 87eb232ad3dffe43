//! Shows weir at work: a real list, real packets, a real interface.
//!
//! A client and a server stand in network namespaces of their own, with a cable between them and no
//! way out, so that addresses of real hosts may be used as sources.

/// Who sends, and who is listed.
mod sources;
/// What is sent, and what of it arrives.
mod traffic;
/// The table, the JSON object, and whether all went as it should.
mod report;

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use weir_tests::{agent::Agent, namespace::Pair, process::on_interrupt, service::Server};

use crate::{
    release,
    setup::{self, Need},
    sh,
};
use report::Report;
use sources::Sources;

/// What each source may send to the service, packets per second.
const LIMIT_PPS: u32 = 1000;
/// What it may send at once beyond that, packets.
const BURST: u32 = 500;
/// How many times its limit one source sends.
const EXCESS: u32 = 5;
/// Port of the service, over TCP and UDP.
const PORT: u16 = 443;

/// How to show it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Where the program runs: in the driver, or in the network stack of the kernel.
    #[arg(long, value_enum, default_value_t = Mode::Native)]
    mode: Mode,
    /// How long the limit is measured.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// An agent that is built already, on a machine that is set up: what is called through sudo, and by CI.
    #[arg(long, hide = true, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Runs the demonstration, and fails unless all went as it should.
pub(crate) fn run(args: &Args) -> Result<()> {
    let agent = if let Some(agent) = &args.agent {
        agent.clone()
    } else {
        setup::ensure(&[Need::Build, Need::Run])?;
        release::build("weir")?
    };
    if !sh::is_root() {
        return run_as_root(args, &agent);
    }
    let report = show(args, &agent)?;
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.table());
    }
    let failures = report.failures();
    if !failures.is_empty() {
        eprintln!("the agent's log ended with:\n{}", report.log_tail());
        bail!("the demonstration failed:\n- {}", failures.join("\n- "));
    }
    Ok(())
}

/// Runs the same demonstration as root.
fn run_as_root(args: &Args, agent: &Path) -> Result<()> {
    say("asking sudo for root: namespaces and XDP need it");
    let mut command = Command::new("sudo");
    command.arg("env");
    // sudo would set its own.
    for name in ["PATH", "HOME"] {
        if let Some(value) = env::var_os(name) {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            command.arg(setting);
        }
    }
    command.arg(env::current_exe().context("find this program")?).arg("demo").arg("--agent").arg(agent);
    command.args(["--mode", &args.mode.to_string(), "--seconds", &args.seconds.to_string()]);
    if args.json {
        command.arg("--json");
    }
    let status = command.status().context("run sudo (without it, run this as root)")?;
    ensure!(status.success(), "the demonstration as root failed ({status})");
    Ok(())
}

fn show(args: &Args, program: &Path) -> Result<Report> {
    let sources = Sources::load()?;
    // Everything else ends with this process, but the agent's directory would stay.
    let workspace = tempfile::Builder::new().prefix("weir-demo-").tempdir().context("make a directory")?;
    let directory = workspace.path().to_owned();
    on_interrupt(move || _ = fs::remove_dir_all(directory))?;

    say("two network namespaces, one cable");
    let pair = Pair::new()?;
    pair.add_client_addresses(sources.clean.iter().copied())?;
    let _server = Server::start(&pair.server, PORT)?;
    let _sink = traffic::sink(&pair)?;

    say("listed sources send, without weir");
    let listed = traffic::listed(&sources);
    let without = traffic::send_listed(&pair, &listed)?;

    let foreign = pins(&pair)?;
    let mut agent = Agent::new_in(program, &pair.server, workspace.path())?;
    let list = agent.write("ipsum-level3.txt", sources::list()?)?;
    let list_v6 = agent.write("listed-v6.txt", sources::LIST_V6)?;
    agent.configure(&config(args.mode, &list, &list_v6))?;
    let started = Instant::now();
    agent.start()?;
    let ready = started.elapsed();
    say(&format!("weir enforces the list, {} ms after its start", ready.as_millis()));

    say("listed sources send, and clean ones make requests");
    let (with, clean) = traffic::send_listed_and_ask(&pair, &listed, &sources.clean)?;
    say(&format!("one source sends {EXCESS} times its limit for {} s", args.seconds));
    let limit = traffic::exceed(&pair, Duration::from_secs(args.seconds))?;
    let metrics = agent.metrics()?;

    say("the agent is killed, and listed sources send");
    agent.kill()?;
    let orphaned = traffic::send_listed(&pair, &listed)?;
    unload(&agent)?;
    let left_behind = pins(&pair)?.into_iter().filter(|pin| !foreign.contains(pin)).collect();
    let sent = traffic::count(&listed);
    Ok(Report {
        mode: args.mode,
        ready,
        listed_addresses: sources.listed.len(),
        sent,
        without,
        with,
        orphaned,
        clean_sources: sources.clean.len(),
        clean,
        limit,
        metrics,
        left_behind,
        log: agent.log(),
    })
}

fn config(mode: Mode, list: &Path, list_v6: &Path) -> String {
    let (list, list_v6) = (list.display(), list_v6.display());
    format!(
        "enforce: enforce
interfaces: [{{name: {interface}, mode: {mode}}}]
services: [{{name: https, ports: [{PORT}/tcp, {PORT}/udp]}}]
feeds:
  - {{name: ipsum, path: {list}, format: plain, action: drop}}
  - {{name: listed-v6, path: {list_v6}, format: plain, action: drop}}
limits: [{{name: per-source, service: https, packets: {{rate: {LIMIT_PPS}/s, burst: {BURST}}}}}]
listen: {{metrics: {metrics}}}
",
        interface = Pair::INTERFACE,
        metrics = Agent::METRICS,
    )
}

/// Takes weir out of the kernel.
fn unload(agent: &Agent) -> Result<()> {
    let output = agent.weir(&["unload"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`weir unload` failed ({}): {}", output.status, said.trim());
    Ok(())
}

/// Returns what is pinned on the server.
fn pins(pair: &Pair) -> Result<Vec<PathBuf>> {
    pair.server.run(|| {
        let pins = fs::read_dir("/sys/fs/bpf").context("read /sys/fs/bpf")?;
        pins.map(|pin| Ok(pin?.path())).collect()
    })
}

/// Tells on standard error what is being done.
fn say(what: &str) {
    eprintln!("demo: {what}");
}
