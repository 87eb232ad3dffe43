//! `cargo xtask chaos` and `cargo xtask soak`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line for people and for CI")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use weir_chaos::{
    chaos::{self, Plan},
    fault::Fault,
    soak,
};

/// Have everything fail under traffic, and judge every frame.
#[derive(Debug, Parser)]
#[command(name = "weir-chaos")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

/// What is done.
#[derive(Debug, Subcommand)]
enum Task {
    /// Each fault once a round, in an order and at times of chance.
    Chaos {
        #[command(flatten)]
        common: Common,
        /// How often each fault happens.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rounds: u32,
        /// Only faults whose names have this in them; several times: any of them.
        #[arg(long, value_name = "WORD")]
        only: Vec<String>,
    },
    /// Floods, lists, reloads, kills, bans and requests together, for long.
    Soak {
        #[command(flatten)]
        common: Common,
        /// For how long.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        minutes: u64,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// What chance begins with; without it another each time, which is told.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A table for people, or JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The list: an address a line.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/demo/ipsum-level3.txt"))]
    list: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "namespaces and XDP need root");
    let (problems, output, text, json) = match task {
        Task::Chaos { common, rounds, only } => {
            let named =
                |fault: &Fault| only.is_empty() || only.iter().any(|word| fault.name().contains(word));
            let faults: Vec<_> = Fault::ALL.into_iter().filter(named).collect();
            ensure!(!faults.is_empty(), "no fault has such a name");
            let plan = Plan { seed: seed(&common), rounds, faults, list: common.list };
            let report = chaos::run(&plan, |line| eprintln!("chaos: {line}"))?;
            (report.problems(), common.output, report.text(), report.json())
        }
        Task::Soak { common, minutes } => {
            let seed = seed(&common);
            let tell = |line: &str| eprintln!("soak: {line}");
            let report = soak::run(seed, &common.list, Duration::from_mins(minutes), tell)?;
            (report.problems(), common.output, report.text(), report.json())
        }
    };
    match output {
        Output::Text => print!("{text}"),
        Output::Json => println!("{json:#}"),
    }
    ensure!(problems.is_empty(), "not as it must be:\n- {}", problems.join("\n- "));
    Ok(())
}

fn seed(common: &Common) -> u64 {
    let seed = common.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("seed {seed}");
    seed
}
