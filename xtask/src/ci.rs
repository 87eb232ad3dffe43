//! What CI runs, in the order in which a failure is cheapest.

use std::{env, process::Command};

use anyhow::{Context as _, Result};

use crate::{lint, sh, test};

/// Runs lint, demo and test.
pub(crate) fn run() -> Result<()> {
    // Before the build may put another in its place.
    let program = env::current_exe().context("find this program")?;
    lint::run()?;
    test::build()?;
    // As a process of its own, like a user: a demonstration takes signals for itself. With the agent that
    // the tests have, beside this program: another for users would take minutes to build.
    for mode in ["native", "generic"] {
        let mut demo = Command::new(&program);
        sh::run(demo.args(["demo", "--mode", mode, "--agent"]).arg(program.with_file_name("weir")))?;
    }
    // Last, so that what the test runner says of all tests is the end of the output.
    test::run(&test::Args::all())
}
