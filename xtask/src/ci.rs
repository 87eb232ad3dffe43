//! What CI runs, in the order in which a failure is cheapest.

use anyhow::Result;

use crate::{lint, test};

/// Runs lint, test and demo.
pub(crate) fn run() -> Result<()> {
    lint::run()?;
    test::run(&test::Args::all())?;
    Ok(())
}
