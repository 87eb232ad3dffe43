//! What only a machine that nobody else uses can be asked for.

use std::{env, io::Write as _};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime, clock_settime},
};

/// Says that the machine ends with the test: it is a guest of `cargo xtask test kernels`.
pub const VARIABLE: &str = "WEIR_MACHINE_OF_ITS_OWN";

/// Returns whether the machine is the test's own.
#[must_use]
pub fn is_own() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Says that a test is not run, since the machine is not its own.
pub fn missing(test: &str) {
    let mut error = std::io::stderr().lock();
    _ = writeln!(
        error,
        "NOT RUN: {test}: it sets the clock of the machine; `cargo xtask test kernels` has one for it"
    );
}

/// Sets the wall clock so many seconds forward, or back.
///
/// # Errors
/// If the machine is not the test's own.
pub fn set_clock_forward(seconds: i64) -> Result<()> {
    ensure!(is_own(), "the clock of this machine is not ours to set");
    let now = clock_gettime(ClockId::CLOCK_REALTIME).context("ask what time it is")?;
    let then = TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec());
    clock_settime(ClockId::CLOCK_REALTIME, then).context("set the clock")
}
