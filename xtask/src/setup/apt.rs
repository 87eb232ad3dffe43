use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::step;
use crate::sh;

/// Returns true where Debian's package manager is.
pub(super) fn is_here() -> bool {
    sh::find("apt-get").is_some()
}

/// Installs those of the packages that the archive of this machine has. The rest is left to the
/// caller, who knows another way or what to tell.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() || !is_here() {
        return Ok(());
    }
    if !sh::is_root() && sh::find("sudo").is_none() {
        bail!(
            "packages are missing, and this is neither root nor is there sudo: run `apt-get update && apt-get \
             install --yes {}` as root, then `cargo xtask setup` again",
            packages.join(" ")
        );
    }
    // A foreign archive that is out must not be in the way, so a failure counts only if it matters.
    let update = update();
    let known: Vec<_> = packages.iter().copied().filter(|package| has_candidate(package)).collect();
    if known.len() < packages.len() {
        update?;
    }
    if known.is_empty() {
        return Ok(());
    }
    let words = ["--option=DPkg::Lock::Timeout=120", "--no-install-recommends", "install", "--yes"];
    step::run(&format!("installing {}", known.join(", ")), apt_get().args(words).args(&known))
}

/// Reads the package lists anew.
pub(super) fn update() -> Result<()> {
    step::run("reading the package lists", apt_get().args(["--option=APT::Update::Error-Mode=any", "update"]))
}

/// Returns these packages, and of all that they need those that are not installed. Nothing is installed.
pub(super) fn lacking(packages: &[&str]) -> Result<Vec<String>> {
    let ask = || {
        let words = ["install", "--simulate", "--no-install-recommends"];
        sh::output(sh::command("apt-get").args(words).args(packages).env("LC_ALL", "C"))
    };
    let said = ask().or_else(|| update().ok().and_then(|()| ask()));
    let said =
        said.with_context(|| format!("apt-get does not know how to install {}", packages.join(", ")))?;
    let mut all = to_install(&said);
    let missing = packages.iter().filter(|package| !all.iter().any(|known| known == **package));
    all.extend(missing.map(|package| (*package).to_owned()).collect::<Vec<_>>());
    Ok(all)
}

/// What is there in an older version stays as it is.
fn to_install(said: &str) -> Vec<String> {
    let packages = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_once(' '));
    packages.filter(|(_, rest)| rest.starts_with('(')).map(|(package, _)| package.to_owned()).collect()
}

/// Returns `apt-get`, run by root and without questions.
fn apt_get() -> Command {
    let mut command = if sh::is_root() {
        sh::command("env")
    } else {
        let mut sudo = sh::command("sudo");
        sudo.arg("env");
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

fn has_candidate(package: &str) -> bool {
    sh::output(sh::command("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_some_and(|policy| names_candidate(&policy))
}

fn names_candidate(policy: &str) -> bool {
    let mut lines = policy.lines().map(str::trim);
    lines.any(|line| line.starts_with("Candidate:") && line != "Candidate: (none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_read_from_a_simulation() {
        let said = "Reading package lists...\nInst libnss3 (2:3.87 Debian:12 [amd64])\n\
                    Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])\nInst chromium (1 Debian:12 [amd64])\n\
                    Conf libnss3 (2:3.87 Debian:12 [amd64])\n";
        assert_eq!(to_install(said), ["libnss3", "chromium"]);
    }

    #[test]
    fn candidate_is_read_from_the_policy() {
        assert!(names_candidate("rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0\n"));
        assert!(!names_candidate("rustc-web:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!names_candidate(""), "nothing is printed of a name that is not known");
    }
}
