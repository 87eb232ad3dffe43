//! Programs that do not outlive the test.

use std::{
    fs,
    process::{Child, Command, ExitStatus, Output},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};

/// How often it is looked whether the program has ended.
const POLL: Duration = Duration::from_millis(2);

/// Returns all that a program has said, on both of its outputs.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program that runs until it ends, or this is dropped, or this process dies. Standard input,
/// output and error are where the command has put them.
///
/// A thread of its own spawns it and waits for it, so that a command of a
/// [`Namespace`](crate::namespace::Namespace) outlives the thread that asked for it.
#[derive(Debug)]
pub struct Process {
    id: u32,
    orders: Sender<Signal>,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    /// If there is no such program, or it cannot be run.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let (tell_spawned, spawned) = mpsc::channel();
        let (orders, incoming) = mpsc::channel();
        let (tell_ended, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("process".to_owned()).spawn(move || match command.spawn() {
            Ok(child) => {
                _ = tell_spawned.send(Ok(child.id()));
                watch(child, &incoming, &tell_ended);
            }
            Err(error) => _ = tell_spawned.send(Err(error)),
        });
        let thread = thread.context("start a thread")?;
        let id = spawned.recv().context("start a thread")?;
        let id = id.with_context(|| format!("run {}", program.display()))?;
        Ok(Self { id, orders, ended, status: None, thread: Some(thread) })
    }

    /// Returns its process number.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.ended() {
            bail!("cannot send {signal}: it has ended, {status}");
        }
        self.orders.send(signal).map_err(|_gone| anyhow!("cannot send {signal}: it has ended"))
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.status = self.status.or_else(|| self.ended.try_recv().ok());
        self.status
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it has not in time.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("process {} still runs after {patience:?}", self.id);
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Hanging up on the watching thread makes it kill the program.
        self.orders = mpsc::channel().0;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Has `clean_up` run when somebody asks this process to end (SIGINT, SIGTERM or SIGHUP), and then
/// ends it. To be called once, before other threads are started: those that run already would die
/// of the signal at once, and all with them.
///
/// # Errors
/// If the signals cannot be held back.
pub fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Threads inherit this, and so do programs, unless a `Namespace` runs them.
    signals.thread_block().context("hold back signals")?;
    let wait = move || {
        let Ok(signal) = signals.wait() else { return };
        clean_up();
        std::process::exit(128 + signal as i32);
    };
    thread::Builder::new().name("interrupt".to_owned()).spawn(wait).context("start a thread")?;
    Ok(())
}

/// Waits for the child and passes signals on to it. Only here is it reaped, so that a signal never
/// meets another process with its number.
fn watch(mut child: Child, orders: &Receiver<Signal>, ended: &Sender<ExitStatus>) {
    loop {
        match orders.recv_timeout(POLL) {
            Ok(signal) => _ = kill(Pid::from_raw(child.id().cast_signed()), signal),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // Workers of nginx, for example, would outlive it, and their namespaces with them.
                let started = started_by(child.id());
                _ = child.kill();
                for id in started {
                    _ = kill(Pid::from_raw(id), Signal::SIGKILL);
                }
                _ = child.wait();
                return;
            }
        }
        if let Ok(Some(status)) = child.try_wait() {
            _ = ended.send(status);
            return;
        }
    }
}

/// Returns the processes that a process has started, and those have: proc(5), `children`.
fn started_by(id: u32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let ids: Vec<u32> = children
        .flat_map(|ids| ids.split_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect();
    ids.into_iter().flat_map(|id| [vec![id.cast_signed()], started_by(id)].concat()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::namespace::Namespace;

    fn sleep() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    }

    fn is_alive(id: u32) -> bool {
        kill(Pid::from_raw(id.cast_signed()), None).is_ok()
    }

    #[test]
    fn what_it_has_started_ends_with_it() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & wait"]);
        let process = Process::spawn(shell).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while started_by(process.id()).is_empty() {
            assert!(Instant::now() < deadline, "the shell starts nothing");
            thread::sleep(POLL);
        }
        let started = started_by(process.id());
        drop(process);
        // Whoever gets the orphan takes it away.
        let lives = |id: &i32| fs::read_link(format!("/proc/{id}/exe")).is_ok();
        while started.iter().any(lives) {
            assert!(Instant::now() < deadline, "{started:?}");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_process_is_signalled_and_reaped() {
        let mut process = Process::spawn(sleep()).unwrap();
        assert_eq!(process.ended(), None);
        assert!(process.wait(Duration::from_millis(20)).is_err());
        process.signal(Signal::SIGTERM).unwrap();
        let status = process.wait(Duration::from_secs(5)).unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
        assert!(process.signal(Signal::SIGTERM).is_err());
        assert!(Process::spawn(Command::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = Process::spawn(sleep()).unwrap();
        let id = process.id();
        assert!(is_alive(id));
        drop(process);
        assert!(!is_alive(id));
    }

    #[test]
    fn it_outlives_the_thread_that_asked_for_it() {
        let namespace = Namespace::new().unwrap();
        let mut command = namespace.command("sleep");
        command.arg("60");
        let mut process = thread::spawn(move || Process::spawn(command).unwrap()).join().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(process.ended(), None);
    }
}
