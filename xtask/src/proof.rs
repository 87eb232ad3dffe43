//! The reliability proof: builds `weir-chaos` (`tests/chaos`) and the agent, and runs them as root.

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};

use crate::{
    release,
    setup::{self, Need},
};

/// What the proof is told; `cargo xtask chaos --help` and `cargo xtask soak --help` list it.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// --seed N, --rounds N (chaos), --minutes N (soak), -o json, --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs `chaos` or `soak`.
pub(crate) fn run(task: &str, args: &Args) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Run])?;
    // What requests go through.
    setup::peer("nginx");
    let program = release::build("weir-chaos")?;
    let mut command = release::as_root();
    let status = command.arg(program).arg(task).args(&args.arguments).status();
    let status = status.with_context(|| format!("run the {task}"))?;
    ensure!(status.success(), "the {task} failed ({status})");
    Ok(())
}
