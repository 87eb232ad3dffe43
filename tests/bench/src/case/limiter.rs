//! Whether limits are what they say: `limiter.*`.

/// Admitted beside min(offered, limit): `limiter.accuracy.*`.
mod accuracy;
/// Offenders beneath a flood: `limiter.amnesty`.
mod amnesty;

use std::sync::Arc;

use anyhow::Result;
use weir::{datapath::Pins, feed::Entries};

use super::Settings;
use crate::{
    finding::Finding,
    ours::{Limit, Made, Ours},
};

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let mut findings = accuracy::run(settings)?;
    findings.extend(amnesty::run(settings)?);
    Ok(findings)
}

/// Loads ours with this limit, 2^`limiter_bits` lines of buckets and no lists; what was there before is gone.
fn ours(limit: Limit, limiter_bits: u32) -> Result<Ours> {
    Pins::new(std::path::Path::new(crate::ours::BPFFS)).remove()?;
    let made = Made::new(Arc::new(Entries::default()), Some(limit))?;
    Ours::new(&made, limiter_bits)
}
