//! `cargo xtask`: what a developer and CI type.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line for people and for CI")]

/// Every name and version of the toolchain.
mod pins;
/// Other programs: where they are, how they are run.
mod sh;
/// `setup`: what this machine needs.
mod setup;
/// `demo`: real packets, dropped.
mod demo;
/// `tidy`: the invariants of the source tree.
mod tidy;
/// `lint`: formatting, clippy, fuzz targets, dependencies, invariants.
mod lint;
/// `test`: everything that can fail.
mod test;
/// `exhaustive`: the IPv4 table, address by address.
mod exhaustive;
/// `test kernels`: the same on other kernels.
mod kernels;
/// `bench`: how fast, beside what.
mod bench;
/// `chaos`, `soak`: what fails, and for how long it does not.
mod proof;
/// Programs that run the agent as it is released.
mod release;
/// `fuzz`: inputs that nobody thought of.
mod fuzz;
/// `image`: a container image of the agent.
mod image;
/// `package`: what hosts are installed from.
mod package;
/// `ci`: all of it, in order.
mod ci;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Task {
    /// Install what this machine lacks to build, run, test and lint weir, and print the versions.
    Setup(setup::Args),
    /// Show weir at work: real packets of a real list, dropped on a real interface.
    Demo(demo::Args),
    /// Check the invariants of the source tree.
    Tidy,
    /// Check formatting, clippy, fuzz targets, dependencies and invariants.
    Lint,
    /// Run every test: native, kernel, network and process.
    Test(test::Args),
    /// Compare the IPv4 table with an oracle for all 2^32 addresses; before a release, some minutes.
    Exhaustive(exhaustive::Args),
    /// Measure weir beside what it is compared with.
    Bench(bench::Args),
    /// Have everything fail that can, under traffic, and judge every frame.
    Chaos(proof::Args),
    /// Floods, lists, reloads, kills, bans and requests together: nothing grows, every frame is counted.
    Soak(proof::Args),
    /// Look for inputs that break a parser or a verdict.
    Fuzz(fuzz::Args),
    /// Build the container image of the agent.
    Image(image::Args),
    /// Make the Debian package, with a bill of materials and sums.
    Package(package::Args),
    /// Do what CI does: lint, demo, test.
    Ci,
    /// Run the tests of a guest, as its first process: what `test kernels` boots.
    #[command(hide = true)]
    Guest,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Tidy => tidy::run(),
        Task::Lint => lint::run(),
        Task::Test(args) => test::run(&args),
        Task::Exhaustive(args) => exhaustive::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Chaos(args) => proof::run("chaos", &args),
        Task::Soak(args) => proof::run("soak", &args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Package(args) => package::run(&args),
        Task::Ci => ci::run(),
        Task::Guest => kernels::guest(),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
