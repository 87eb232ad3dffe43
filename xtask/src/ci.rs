//! What CI runs, in the order in which a failure is cheapest.

use std::{env, process::Command};

use anyhow::{Context as _, Result};

use crate::{lint, sh, test};

/// Runs lint, demo and test.
pub(crate) fn run() -> Result<()> {
    lint::run()?;
    // As a process of its own, like a user: a demonstration takes signals for itself.
    let program = env::current_exe().context("find this program")?;
    for mode in ["native", "generic"] {
        sh::run(Command::new(&program).args(["demo", "--mode", mode]))?;
    }
    // Last, so that what the test runner says of all tests is the end of the output.
    test::run(&test::Args::all())
}
