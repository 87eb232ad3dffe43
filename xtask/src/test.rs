//! Everything that can fail.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    kernels,
    setup::{self, Need},
    sh, tidy,
};

/// Which tests to run.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Option<Suite>,
    /// Passed to `cargo nextest run`: parts of names, or options. Then only tests of nextest run.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// Tests that are not those of this machine.
#[derive(Debug, clap::Subcommand)]
enum Suite {
    /// Boot other kernels and run kernel, network and process tests there.
    Kernels(kernels::Args),
}

impl Args {
    /// Returns those for all tests.
    pub(crate) fn all() -> Self {
        Self { suite: None, filter: Vec::new() }
    }
}

/// Runs the tests.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(Suite::Kernels(args)) = &args.suite {
        return kernels::run(args);
    }
    build()?;
    setup::peers();
    setup::package();
    if args.filter.is_empty() {
        tidy::run()?;
        sh::run(sh::command("cargo").args(["test", "--doc", "--workspace", "--locked"]))?;
    }
    sh::run(nextest()?.args(&args.filter))
}

/// Builds the tests and the agent that they run: together, or cargo would choose other features for it
/// and build everything twice.
pub(crate) fn build() -> Result<()> {
    setup::ensure(&[Need::Build, Need::Run, Need::Test])?;
    sh::run(sh::command("cargo").args(["build", "--locked", "--workspace", "--bins", "--tests"]))
}

/// Kernel and network tests need root. For a user the build stays that of the user, and the tests
/// run through sudo.
fn nextest() -> Result<Command> {
    let mut command = sh::command("cargo");
    command.args(["nextest", "run", "--workspace", "--locked"]);
    if !sh::is_root() {
        command.env(runner_variable()?, "sudo -E");
    }
    Ok(command)
}

/// Returns the name of the variable by which cargo is told how to run programs of this machine.
fn runner_variable() -> Result<String> {
    let host = sh::output(sh::command("rustc").args(["--print", "host-tuple"])).context("run rustc")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}
