//! Makes what hosts are installed from: a Debian package, a bill of materials, and their sums, in
//! `target/package`.
//!
//! The same commit, sources in the same place and the same compilers make the same bytes.

/// What the package installs, laid out.
mod layout;
/// What a program asks of the system that it runs on.
mod needs;
/// What it is made of.
mod materials;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    setup::{self, Need},
    sh,
};

/// What to package.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pack this program instead of a release build, quickly and without a bill of materials: for tests.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Version of the package, instead of that of the workspace.
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    to: PathBuf,
}

/// Where files lie that go into the package; agent/Cargo.toml names it.
const LAYOUT: &str = "target/package/layout";

/// Makes the package.
pub(crate) fn run(args: &Args) -> Result<()> {
    let to = sh::root().join(&args.to);
    fs::create_dir_all(&to).with_context(|| format!("make {}", to.display()))?;
    let date = date()?;
    let mut results = Vec::new();
    if let Some(binary) = &args.binary {
        results.push(package(args, binary, &to, &date)?);
    } else {
        setup::ensure(&[Need::Build, Need::Package, Need::Materials])?;
        results.push(package(args, &build(&date)?, &to, &date)?);
        results.push(materials::write(&to, &date)?);
    }
    sums(&to, &results)?;
    for name in results {
        let path = to.join(name);
        println!("{}  {} bytes", path.display(), fs::metadata(&path)?.len());
    }
    println!("{}", to.join(SUMS).display());
    Ok(())
}

/// A variable of <https://reproducible-builds.org/specs/source-date-epoch/>: that of the caller, or when the
/// commit was made.
const DATE: &str = "SOURCE_DATE_EPOCH";

fn date() -> Result<String> {
    if let Ok(date) = std::env::var(DATE) {
        return Ok(date);
    }
    let of_commit = sh::output(sh::command("git").args(["log", "-1", "--format=%ct"]));
    of_commit.with_context(|| format!("these sources are no clone of a repository: set {DATE}"))
}

/// Builds the program in a directory of its own: with another compiler, a common one would be built anew
/// each time.
fn build(date: &str) -> Result<PathBuf> {
    let target = sh::root().join("target/package/build");
    let mut cargo = sh::command("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "weir", "--target-dir"]).arg(&target);
    sh::run(cargo.env("RUSTC_WRAPPER", compiler()?).env(DATE, date))?;
    Ok(target.join("release/weir"))
}

/// Writes a compiler that tells nobody where this machine has its sources: their names are in what a panic
/// says and in what the kernel program knows of its lines. Flags of Cargo do not reach the latter, since
/// `aya-build` sets its own.
fn compiler() -> Result<PathBuf> {
    let path = sh::root().join("target/package/rustc");
    let cargo_home = sh::cargo_home().context("find the directory of cargo")?;
    let moved = |from: &Path, to| format!("'--remap-path-prefix={}={to}'", from.display());
    let flags = [moved(sh::root(), "/weir"), moved(&cargo_home, "/cargo")].join(" ");
    fs::write(&path, format!("#!/bin/sh\nexec \"$@\" {flags}\n"))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Makes the Debian package, and returns its name.
fn package(args: &Args, binary: &Path, to: &Path, date: &str) -> Result<String> {
    let program = layout::lay_out(binary, &sh::root().join(LAYOUT))?;
    needs::check(&program)?;
    let before = packages(to)?;
    let mut cargo = sh::command("cargo");
    cargo.args(["deb", "--no-build", "--no-strip", "--package", "weir", "--locked", "--quiet", "--output"]);
    cargo.arg(format!("{}/", to.display())).env(DATE, date);
    if let Some(version) = &args.deb_version {
        cargo.args(["--deb-version", version]);
    }
    if args.binary.is_some() {
        cargo.arg("--fast");
    }
    let said = sh::text(&mut cargo)?;
    let path = Path::new(said.trim());
    ensure!(is_package(path), "`cargo deb` has not said what it made: {said}");
    let name = path.file_name().context("`cargo deb` has made no file")?.to_string_lossy().into_owned();
    // One of another version is not to be taken for this one.
    for other in before.iter().filter(|other| **other != name && args.binary.is_none()) {
        fs::remove_file(to.join(other)).with_context(|| format!("remove {other}"))?;
    }
    Ok(name)
}

fn packages(folder: &Path) -> Result<Vec<String>> {
    let packages = fs::read_dir(folder)?.flatten().filter(|entry| is_package(&entry.path()));
    Ok(packages.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb")
}

const SUMS: &str = "SHA256SUMS";

fn sums(folder: &Path, names: &[String]) -> Result<()> {
    let sums = sh::bytes(Command::new("sha256sum").args(names).current_dir(folder))?;
    ensure!(!sums.is_empty(), "`sha256sum` has said nothing");
    fs::write(folder.join(SUMS), sums).with_context(|| format!("write {SUMS}"))
}
