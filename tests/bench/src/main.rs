//! `cargo xtask bench`: weir beside what it is compared with, on this machine, in one run.
//!
//! Numbers of one run are compared with each other and with nothing else: what is measured takes
//! turns, round by round, so that whatever else the machine does meets all alike.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line for people and for CI")]

/// What is measured, case by case.
mod case;
/// What a case found, and what was aimed at.
mod finding;
/// On what it was measured.
mod environment;
/// The report in Markdown.
mod report;
/// The bar chart.
mod plot;
/// On which CPU a thread runs, and how long.
mod cpu;
/// Lists of addresses.
mod data;
/// Programs that run as the packet of a test.
mod driver;
/// A sender and somebody who filters, with a cable between them.
mod stand;
/// Filters that come with the distribution.
mod peers;
/// weir as it is: its own object, loaded and published by its own code.
mod ours;
/// The textbook program.
mod textbook;
/// Taking turns.
mod rounds;
/// Medians and quartiles.
mod stats;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use weir_tests::namespace::Namespace;

use case::{Case, Settings};

/// Measure weir beside what it is compared with.
#[derive(Debug, Parser)]
#[command(name = "weir-bench")]
struct Args {
    /// What to measure.
    #[arg(value_enum, default_values_t = [Case::All])]
    cases: Vec<Case>,
    /// Few rounds and short ones: whether it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Rounds of each case.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Write bench.md, bench.svg and bench.jsonl into this directory.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "namespaces and XDP need root");
    let settings = Settings::new(args.quick, args.rounds);
    cpu::stay_on(cpu::count()?.saturating_sub(1))?;
    environment::check()?;
    let (mut findings, mut failed) = (Vec::new(), Vec::new());
    let mut tell = |found: Vec<finding::Finding>| {
        if args.json {
            for finding in &found {
                println!("{}", finding.json());
            }
        }
        findings.extend(found);
    };
    tell(environment::budget().context("load the program")?);
    for case in Case::chosen(&args.cases) {
        eprintln!("bench: {}", case.says());
        // Each in a namespace of its own, so that nothing is left for the next.
        match Namespace::new()?.run(|| case.run(&settings)) {
            Ok(found) => tell(found),
            Err(error) => {
                // The other cases are worth their time all the same.
                eprintln!("bench: {case:?} failed: {error:#}");
                failed.push(format!("{case:?}"));
            }
        }
    }
    if let Some(directory) = &args.report {
        report::write(directory, &findings)?;
        eprintln!("bench: report in {}", directory.display());
    }
    if !args.json {
        print!("{}", finding::tables(&findings));
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
