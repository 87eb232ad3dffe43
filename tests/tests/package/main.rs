//! The Debian package: what is in it, and what becomes of a host on which it is installed, upgraded, removed
//! and purged, by dpkg and systemd, under traffic.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// What is in the package, and what lintian and systemd-analyze say of it.
mod contents;
/// From a new installation to enforcement.
mod install;
/// An agent that hangs, an upgrade, removal and purge, under traffic.
mod upkeep;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use weir_tests::{
    agent::binary,
    host::{self, Host},
    namespace::Pair,
    traffic::Traffic,
};

/// The version of a first installation, and one that follows it.
const FIRST: &str = "0.1.0-1";
const SECOND: &str = "0.1.0-2";

/// How many frames may be lost when XDP comes to a veth or goes: what the driver has queued then. It is not
/// the agent that drops them.
const QUEUED: usize = 64;

/// Says that a test is not run where something is missing that makes packages or installs them.
fn not_run(test: &str) -> bool {
    let works = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let programs: [(&str, &[&str], &str); 3] = [
        ("dpkg", &["--version"], "dpkg"),
        ("cargo", &["deb", "--version"], "cargo-deb; `cargo xtask test` installs it"),
        ("lintian", &["--version"], "lintian; `cargo xtask test` installs it"),
    ];
    let missing = || programs.into_iter().find(|(program, arguments, _)| !works(program, arguments));
    let lacks = host::lacks().or_else(|| missing().map(|(_, _, name)| name));
    if let Some(lacks) = lacks {
        _ = writeln!(std::io::stderr().lock(), "NOT RUN: {test}: this machine has no {lacks}");
    }
    lacks.is_some()
}

/// Makes a package of the agent under test, and returns where it is.
fn package(version: &str, to: &Path) -> PathBuf {
    let agent = binary().unwrap();
    let xtask = agent.with_file_name("xtask");
    let mut command = Command::new(&xtask);
    command.args(["package", "--deb-version", version, "--binary"]).arg(&agent).arg("--to").arg(to);
    let output = command.output().unwrap_or_else(|error| unreachable!("{}: {error}", xtask.display()));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let path = said.lines().find_map(|line| line.split_once(".deb  ").map(|(path, _)| format!("{path}.deb")));
    path.unwrap_or_else(|| unreachable!("no package in: {said}")).into()
}

/// A host on which nothing of weir is, behind a cable to a client; frames that pass eth0 arrive behind it.
fn set_up() -> (Pair, Host) {
    let pair = Pair::new().unwrap();
    pair.bridge(&[Pair::INTERFACE]).unwrap();
    let host = Host::boot(&pair.server).unwrap();
    (pair, host)
}

/// Installs a package, as `apt install ./weir.deb` has dpkg do it.
fn install(host: &Host, version: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(package(version, directory.path()), host.file("/tmp/weir.deb")).unwrap();
    host.run("dpkg --install /tmp/weir.deb").unwrap()
}

/// Writes the file of the package anew, as an administrator does: in force from now on, with a list and a
/// limit.
fn configure(host: &Host, enforce: &str) {
    fs::write(host.file("/etc/weir/bad.netset"), format!("{}\n", Traffic::LISTED)).unwrap();
    let text = format!(
        "enforce: {enforce}
interfaces: [{{name: eth0, mode: native}}]
services: [{{name: https, ports: [443/udp]}}]
feeds: [{{name: bad, path: /etc/weir/bad.netset, action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 1/s, burst: 600}}}}]
tables: {{limiter: 8MiB}}
"
    );
    fs::write(host.file("/etc/weir/weir.yaml"), text).unwrap();
}

/// Returns the process number of the agent, on the host.
fn agent_of(host: &Host) -> String {
    host.run("systemctl show --property MainPID --value weir").unwrap().trim().to_owned()
}
