use std::{fs, os::unix::net::UnixStream, path::PathBuf, process::Command, thread, time::Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{POLL, START_SECONDS, directory, from_debian, tail};
use crate::{patience, process::Process};

/// A Redis that listens at a Unix socket only, keeps nothing on disk, and wants a password.
#[derive(Debug)]
pub struct Redis {
    directory: TempDir,
    program: PathBuf,
    process: Option<Process>,
}

impl Redis {
    /// Its password.
    pub const PASSWORD: &str = "0123456789abcdef";

    /// Starts one; nothing: there is no such program.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = from_debian("redis-server") else { return Ok(None) };
        let directory = tempfile::Builder::new().prefix("redis-").tempdir().context("make a directory")?;
        let mut redis = Self { directory, program, process: None };
        fs::write(redis.password_file(), format!("{}\n", Self::PASSWORD)).context("write the password")?;
        redis.resume()?;
        Ok(Some(redis))
    }

    /// Returns its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Returns the file with its password.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.directory.path().join("password")
    }

    /// Kills it. What it knows is lost.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGKILL)?;
            process.wait(patience::seconds(10))?;
        }
        Ok(())
    }

    /// Stops it in its tracks: connections stay, and nobody answers. A second call lets it go on.
    ///
    /// # Errors
    /// If it has ended.
    pub fn freeze(&mut self, frozen: bool) -> Result<()> {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.process.as_mut().context("there is none")?.signal(signal)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&mut self) -> Result<()> {
        let log = self.directory.path().join("log");
        let mut command = Command::new(&self.program);
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--requirepass", Self::PASSWORD]);
        command.arg("--unixsocket").arg(self.socket()).arg("--logfile").arg(&log);
        command.arg("--dir").arg(self.directory.path());
        if let Some(peers) = directory() {
            command.env("LD_LIBRARY_PATH", peers.join("debian/usr/lib/x86_64-linux-gnu"));
        }
        _ = fs::remove_file(self.socket());
        let mut process = Process::spawn(command)?;
        let deadline = Instant::now() + patience::seconds(START_SECONDS);
        while UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = process.ended() {
                bail!("redis ended, {status}: {}", tail(&log));
            }
            if Instant::now() > deadline {
                bail!("redis does not listen: {}", tail(&log));
            }
            thread::sleep(POLL);
        }
        self.process = Some(process);
        Ok(())
    }
}
