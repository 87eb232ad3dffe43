//! What reads the code without running it.

use anyhow::Result;

use crate::{
    fuzz,
    setup::{self, Need},
    sh, tidy,
};

/// Checks formatting, clippy, fuzz targets, dependencies and invariants.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Need::Lint])?;
    sh::run(sh::command("cargo").args(["fmt", "--all", "--check"]))?;
    clippy()?;
    fuzz::check()?;
    dependencies()?;
    tidy::run()
}

/// The kernel program is linted as host code; skipping its build saves the eBPF toolchain.
fn clippy() -> Result<()> {
    let words = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    sh::run(sh::command("cargo").args(words).env("AYA_BUILD_SKIP", "1"))
}

fn dependencies() -> Result<()> {
    let deny = |words: &[&str]| {
        let mut command = sh::command("cargo");
        command.args(["deny", "--locked", "--workspace"]).args(words);
        command
    };
    sh::run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    if sh::output(&mut deny(&["fetch", "db"])).is_none() {
        eprintln!("lint: advisories skipped, their database cannot be reached");
        return Ok(());
    }
    sh::run(&mut deny(&["check", "advisories"]))
}
