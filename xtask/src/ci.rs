//! What CI runs, in the order in which a failure is cheapest.

use anyhow::Result;

use crate::{
    demo::{self, Mode},
    lint, test,
};

/// Runs lint, demo and test.
pub(crate) fn run() -> Result<()> {
    lint::run()?;
    demo::run(&demo::Args::in_mode(Mode::Native))?;
    demo::run(&demo::Args::in_mode(Mode::Generic))?;
    // Last, so that what the test runner says of all tests is the end of the output.
    test::run(&test::Args::all())
}
