use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::{from_debian, from_python, libraries, spawn, tail, wait_for};
use crate::{namespace::Namespace, patience, process::Process};

/// A program that a test configures itself: a proxy, or a bouncer.
#[derive(Debug)]
pub struct Program {
    process: Process,
    log: PathBuf,
}

impl Program {
    /// Returns where a program is; nothing: there is none.
    #[must_use]
    pub fn find(name: &str) -> Option<PathBuf> {
        from_python(name).or_else(|| from_debian(name))
    }

    /// Returns a command of a program in a namespace, with the libraries that were unpacked with it.
    #[must_use]
    pub fn command(namespace: &Namespace, program: &Path, arguments: &[&str]) -> Command {
        let mut command = namespace.command(program);
        command.args(arguments).env("LD_LIBRARY_PATH", libraries().unwrap_or_default());
        command
    }

    /// Starts a program in a namespace and in a directory, and waits until it listens at an address.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(
        namespace: &Namespace,
        program: &Path,
        arguments: &[&str],
        directory: &Path,
        address: Option<SocketAddr>,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = directory.join(format!("{name}.log"));
        let variables = [("HOME", &*directory.to_string_lossy())];
        let mut process = spawn(namespace, program, arguments, &variables, &log)?;
        if let Some(address) = address {
            wait_for(namespace, address, &mut process, &log).with_context(|| format!("start {name}"))?;
        }
        Ok(Self { process, log })
    }

    /// Stops it.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(patience::seconds(10)).map(drop)
    }

    /// Returns the last lines of what it said.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.log)
    }
}
