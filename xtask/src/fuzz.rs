//! Fuzzing: frames that nobody thought of.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    setup::{self, Need},
    sh,
};

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `parse` compares the parser with an independent one; `judge` runs all stages by a policy.
    #[arg(default_value = "parse", value_parser = ["parse", "judge"])]
    target: String,
    /// Seconds to go on for; 0: until something is found.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Longer frames have nothing new in their headers.
const FRAME_BYTES_MAX: u32 = 1024;

/// Runs the fuzzer, from the committed seeds and what earlier runs have found.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Need::Fuzz])?;
    let corpus = format!("common/fuzz/corpus/{}", args.target);
    fs::create_dir_all(sh::root().join(&corpus)).with_context(|| format!("create {corpus}"))?;
    // None of the code that is fuzzed is unsafe, so its own assertions are what there is to find, and
    // the stable compiler can build it.
    let words = ["fuzz", "run", "--fuzz-dir", "common/fuzz", "--sanitizer", "none", &args.target];
    let limits = [format!("-max_total_time={}", args.seconds), format!("-max_len={FRAME_BYTES_MAX}")];
    sh::run(sh::command("cargo").args(words).args([corpus.as_str(), "common/fuzz/seeds", "--"]).args(limits))
}
