use anyhow::{Context as _, Result};

use super::{Found, step, version::Version};
use crate::{
    pins::{CYCLONEDX, DEB, DENY, FUZZ, NEXTEST},
    sh,
};

/// A program of the distribution: its name, its package, and how to ask for its version.
struct Program {
    name: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Programs of the distribution.
pub(super) struct Programs(&'static [Program]);

/// What the demonstration and the network tests call.
pub(super) const RUN: Programs = Programs(&[
    Program { name: "ip", package: "iproute2", version: "-V" },
    Program { name: "bpftool", package: "bpftool", version: "version" },
]);

/// What boots other kernels, and reads their modules.
pub(super) const KERNELS: Programs = Programs(&[
    Program { name: "qemu-system-x86_64", package: "qemu-system-x86", version: "--version" },
    Program { name: "xz", package: "xz-utils", version: "--version" },
]);

/// What checks the Debian package, and what a test installs it with.
pub(super) const PACKAGE: Programs = Programs(&[
    Program { name: "strip", package: "binutils", version: "--version" },
    Program { name: "lintian", package: "lintian", version: "--version" },
    Program { name: "systemd-analyze", package: "systemd", version: "--version" },
]);

/// What the benchmark compares weir with, and what it takes to set that up.
pub(super) const PEERS: Programs = Programs(&[
    Program { name: "nft", package: "nftables", version: "--version" },
    Program { name: "ipset", package: "ipset", version: "--version" },
    Program { name: "iprange", package: "iprange", version: "--version" },
    Program { name: "iptables", package: "iptables", version: "--version" },
    Program { name: "xdp-filter", package: "xdp-tools", version: "--version" },
    Program { name: "ethtool", package: "ethtool", version: "--version" },
]);

impl Programs {
    /// Returns the packages of those that are missing.
    pub(super) fn packages(&self) -> Vec<&'static str> {
        let missing = self.0.iter().filter(|program| sh::find(program.name).is_none());
        missing.map(|program| program.package).collect()
    }

    /// Finds them.
    pub(super) fn find(&self) -> Result<Vec<Found>> {
        self.0.iter().map(Program::found).collect()
    }
}

impl Program {
    fn found(&self) -> Result<Found> {
        let Self { name, package, version } = self;
        let missing =
            || format!("`{name}` is missing: install {package} with the package manager of this machine");
        let path = sh::find(name).with_context(missing)?;
        let version = version_of(name, &[version]).unwrap_or_else(|| "?".to_owned());
        Ok(Found { name, version, detail: path.display().to_string() })
    }
}

/// Makes the test runner be there.
pub(super) fn nextest() -> Result<Found> {
    // It is not for this program to replace itself, and without that part it builds faster.
    let features = ["--no-default-features", "--features", "default-no-update"];
    built_by_cargo("cargo-nextest", NEXTEST, &features, &["nextest", "--version"])
}

/// Makes formatter, linter and the check of dependencies be there.
pub(super) fn lint() -> Result<Vec<Found>> {
    Ok(vec![
        component("rustfmt", &["fmt", "--version"])?,
        component("clippy", &["clippy", "--version"])?,
        built_by_cargo("cargo-deny", DENY, &[], &["--version"])?,
    ])
}

/// Makes what packages be there, and what checks packages.
pub(super) fn package() -> Result<Vec<Found>> {
    let mut found = PACKAGE.find()?;
    // Less to build: without identifiers of debug symbols, of which there are none.
    let features = ["--no-default-features", "--features", "lzma"];
    found.push(built_by_cargo("cargo-deb", DEB, &features, &["--version"])?);
    Ok(found)
}

/// Makes what writes bills of materials be there.
pub(super) fn materials() -> Result<Found> {
    built_by_cargo("cargo-cyclonedx", CYCLONEDX, &[], &["cyclonedx", "--version"])
}

/// Makes the fuzzer be there.
pub(super) fn fuzz() -> Result<Found> {
    built_by_cargo("cargo-fuzz", FUZZ, &[], &["fuzz", "--version"])
}

fn built_by_cargo(name: &'static str, version: &str, features: &[&str], ask: &[&str]) -> Result<Found> {
    if sh::find(name).is_none() {
        step::run(
            &format!("building {name} {version} (some minutes)"),
            sh::command("cargo").args(["install", name, "--version", version, "--locked"]).args(features),
        )?;
    }
    let path = sh::find(name).with_context(|| format!("{name} was installed but is not in PATH"))?;
    let version = version_of(name, ask).with_context(|| format!("{} does not run", path.display()))?;
    Ok(Found { name, version, detail: path.display().to_string() })
}

fn component(name: &'static str, ask: &[&str]) -> Result<Found> {
    if version_of("cargo", ask).is_none() && sh::find("rustup").is_some() {
        step::run(&format!("installing {name}"), sh::command("rustup").args(["component", "add", name]))?;
    }
    let version = version_of("cargo", ask).with_context(|| {
        format!("`cargo {}` does not run: install {name} for this compiler", ask.join(" "))
    })?;
    Ok(Found { name, version, detail: String::new() })
}

fn version_of(program: &str, ask: &[&str]) -> Option<String> {
    let text = sh::output(sh::command(program).args(ask))?;
    Version::find(&text).map(|version| version.to_string())
}
