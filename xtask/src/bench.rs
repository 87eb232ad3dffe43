//! Measures weir beside what it is compared with: sets up what that takes, builds `weir-bench`
//! (`tests/bench`) and runs it as root.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{
    release,
    setup::{self, Need},
    sh,
};

/// What the benchmark is told; `cargo xtask bench -- --help` lists it.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Cases and options of the benchmark: table, verdict, live, limiter, load, feeds, flood, upgrade, replay, start,
    /// l7 or all;
    /// --quick, --json, --report DIR, --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Names the program that answers to Envoy are compared with.
const PEER: &str = "WEIR_BENCH_PEER";
/// Cases that do without it.
const OTHERS: [&str; 10] =
    ["table", "verdict", "live", "limiter", "load", "feeds", "flood", "upgrade", "replay", "start"];

impl Args {
    fn name_l7(&self) -> bool {
        let named = |case: &str| self.arguments.iter().any(|argument| argument == case);
        named("l7") || named("all") || !OTHERS.into_iter().any(named)
    }
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Run, Need::Bench])?;
    let program = release::build("weir-bench")?;
    let peer = if args.name_l7() { build_peer() } else { None };
    let mut command = release::as_root();
    command.args(peer.map(|path| release::assignment(PEER, path.as_os_str())));
    command.arg(program).args(&args.arguments);
    let status = command.status().context("run the benchmark")?;
    ensure!(status.success(), "the benchmark failed ({status})");
    Ok(())
}

/// Builds the program that is no part of the workspace. Without it that comparison is not made.
fn build_peer() -> Option<PathBuf> {
    eprintln!("bench: building what answers to Envoy are compared with (release)");
    let directory = sh::root().join("target/bench-peer");
    let mut cargo = sh::command("cargo");
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--manifest-path",
        "tests/bench/peer/Cargo.toml",
    ]);
    cargo.arg("--target-dir").arg(&directory);
    match cargo.status() {
        Ok(status) if status.success() => Some(directory.join("release/weir-bench-peer")),
        _ => {
            eprintln!("bench: it does not build, so it is not compared");
            None
        }
    }
}
