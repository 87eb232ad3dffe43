//! `weir policy`: what a configuration does before it is in force, and its versions.

/// Cases: packets, and what is to become of them.
mod test;
/// `apply` and `rollback`.
mod change;
/// `diff`.
mod diff;
/// `history` and `show`.
mod history;

use std::{path::Path, process::ExitCode};

use clap::Subcommand;

use super::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Test a policy on packets: does what becomes of them agree with what is expected?
    Test(test::Test),
    /// Show what another configuration would change: its text, and the addresses whose fate it decides.
    Diff(diff::Diff),
    /// Put a configuration in force, and in the place of the configuration file.
    ///
    /// With `-o json` a refusal is printed as JSON too: `error`, and in `problems` line, field and mend of each
    /// thing that is wrong.
    Apply(change::Apply),
    /// Show the versions that were in force, the newest first.
    History(history::History),
    /// Print the text of a version.
    Show(history::Show),
    /// Put the text of a version of before in force again, at once.
    Rollback(change::Rollback),
}

impl Policy {
    pub(super) fn run(self, state: &Path, socket: &Path) -> Result<ExitCode, CliError> {
        match self {
            Self::Test(test) => return test.run(state),
            Self::Diff(diff) => return diff.run(state),
            Self::Apply(apply) => return apply.run(socket),
            Self::History(history) => history.run(state)?,
            Self::Show(show) => show.run(state)?,
            Self::Rollback(rollback) => return rollback.run(socket),
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use test::fuzz;
