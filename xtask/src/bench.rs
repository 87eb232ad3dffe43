//! Measures weir beside what it is compared with: sets up what that takes, builds `weir-bench`
//! (`tests/bench`) and runs it as root.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    setup::{self, Need},
    sh,
};

/// What the benchmark is told; `cargo xtask bench -- --help` lists it.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Cases and options of the benchmark: table, verdict, live, limiter, load, feeds, flood, upgrade, l7 or all;
    /// --quick, --json, --report DIR, --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Names the program that answers to Envoy are compared with.
const PEER: &str = "WEIR_BENCH_PEER";
/// Cases that do without it.
const OTHERS: [&str; 8] = ["table", "verdict", "live", "limiter", "load", "feeds", "flood", "upgrade"];

impl Args {
    fn name_l7(&self) -> bool {
        let named = |case: &str| self.arguments.iter().any(|argument| argument == case);
        named("l7") || named("all") || !OTHERS.into_iter().any(named)
    }
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Run, Need::Bench])?;
    let program = build()?;
    let peer = if args.name_l7() { build_peer() } else { None };
    let mut command = if sh::is_root() {
        sh::command("env")
    } else {
        let mut sudo = sh::command("sudo");
        sudo.arg("env").arg(assignment("PATH", &sh::path()));
        sudo
    };
    // Where the user is: the folder of a report is meant from there.
    command.current_dir(".").args(peer.map(|path| assignment(PEER, path.as_os_str())));
    command.arg(program).args(&args.arguments);
    let status = command.status().context("run the benchmark")?;
    ensure!(status.success(), "the benchmark failed ({status})");
    Ok(())
}

fn assignment(variable: &str, value: &OsStr) -> OsString {
    let mut text = OsString::from(format!("{variable}="));
    text.push(value);
    text
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

/// Builds the benchmark and the agent that it runs, and returns where the former is.
fn build() -> Result<PathBuf> {
    eprintln!("bench: building (release)");
    let mut cargo = sh::command("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "weir", "--package", "weir-bench"]);
    cargo.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = cargo.output().with_context(|| format!("run `{}`", sh::line(&cargo)))?;
    ensure!(output.status.success(), "`{}` failed ({})", sh::line(&cargo), output.status);
    let messages = String::from_utf8(output.stdout).context("read what cargo says")?;
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == "weir-bench").then(|| PathBuf::from(path))
    });
    executable.context("cargo has built no benchmark")
}
