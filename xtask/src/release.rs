//! Programs that run the agent as it is released: built beside it, run as root.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::sh;

/// Builds a program of the package of that name and the agent that it runs, and returns where the
/// former is.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    eprintln!("{package}: building (release)");
    let mut cargo = sh::command("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "weir", "--package", package]);
    cargo.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = cargo.output().with_context(|| format!("run `{}`", sh::line(&cargo)))?;
    ensure!(output.status.success(), "`{}` failed ({})", sh::line(&cargo), output.status);
    let messages = String::from_utf8(output.stdout).context("read what cargo says")?;
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == package).then(|| PathBuf::from(path))
    });
    executable.with_context(|| format!("cargo has built no {package}"))
}

/// Returns a command to which assignments, a program and its arguments are added. It runs as root, and
/// where the user is: folders are meant from there.
pub(crate) fn as_root() -> Command {
    let mut command = if sh::is_root() {
        sh::command("env")
    } else {
        let mut sudo = sh::command("sudo");
        sudo.arg("env").arg(assignment("PATH", &sh::path()));
        sudo
    };
    command.current_dir(".");
    command
}

/// Returns what `env` takes to set a variable.
pub(crate) fn assignment(variable: &str, value: &OsStr) -> OsString {
    let mut text = OsString::from(format!("{variable}="));
    text.push(value);
    text
}
