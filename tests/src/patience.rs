//! How long tests wait for what has to come.

use std::{env, time::Duration};

/// Says how many times longer everything takes here, such as in an emulated machine.
pub const VARIABLE: &str = "WEIR_PATIENCE";

/// Returns that many seconds, on a machine of ordinary speed.
#[must_use]
pub fn seconds(seconds: u64) -> Duration {
    let factor = env::var(VARIABLE).ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    Duration::from_secs(seconds.saturating_mul(factor))
}
