//! A machine of QEMU, without KVM: where this runs, there may be none.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::{guest, report::Report};
use crate::{setup::Kernel, sh};

/// Memory of the guest: it unpacks its files into it, and tests fill tables of 128 MB.
const MEMORY: &str = "2G";
/// How long a guest may say nothing: a test that hangs is ended by the guest itself.
const SILENCE: Duration = guest::TEST_PATIENCE.saturating_add(Duration::from_mins(1));
/// How long it may take altogether.
const PATIENCE: Duration = Duration::from_mins(30);
/// How much of the console a failure shows.
const TAIL_LINES: usize = 40;

/// What the kernel is told. A panic ends the machine. The clock of the processor is declared good,
/// since every other one is a device, and slow to read in an emulated machine.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=5 rdinit=/init panic=-1 oops=panic tsc=reliable \
                            mitigations=off random.trust_cpu=on -- guest";

/// A machine that runs until it ends or this is dropped.
pub(super) struct Machine {
    process: Child,
    reports: Receiver<String>,
    console: PathBuf,
    booted: Instant,
    last_word: Instant,
}

impl Machine {
    /// Boots a kernel. What it says goes to the file `console`.
    pub(super) fn boot(kernel: &Kernel, initramfs: &Path, console: &Path) -> Result<Self> {
        // A log of the time before would be taken for one of this.
        _ = fs::remove_file(console);
        let mut command = command(kernel, initramfs, console);
        let line = sh::line(&command);
        let mut process = command.spawn().with_context(|| format!("run `{line}`"))?;
        let output = process.stdout.take().context("the machine has no serial port")?;
        let reports = lines(output)?;
        let now = Instant::now();
        Ok(Self { process, reports, console: console.to_owned(), booted: now, last_word: now })
    }

    /// Waits for the next report.
    pub(super) fn report(&mut self) -> Result<Report> {
        let left = SILENCE.saturating_sub(self.last_word.elapsed());
        let left = left.min(PATIENCE.saturating_sub(self.booted.elapsed()));
        let line = match self.reports.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(self.dead("takes too long")),
            Err(RecvTimeoutError::Disconnected) => return Err(self.dead("ended before its tests did")),
        };
        self.last_word = Instant::now();
        line.parse().map_err(|error: anyhow::Error| self.dead(&format!("is not understood: {error:#}")))
    }

    /// Returns an error with the end of the console.
    fn dead(&self, how: &str) -> anyhow::Error {
        let log = fs::read(&self.console).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().map(|line| format!("    {line}")).collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        anyhow!("the machine {how}; its console, {}, ends:\n{tail}", self.console.display())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn command(kernel: &Kernel, initramfs: &Path, console: &Path) -> Command {
    let mut command = sh::command("qemu-system-x86_64");
    command
        // One thread: with one for each CPU, QEMU lets a CPU run into code that another is patching, as the
        // kernel does where TCX is first used ("Oops: int3").
        .args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", MEMORY])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        // The first port is the console, the second that of the reports.
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Reads lines on a thread, so that one can wait for them for a time.
fn lines(output: ChildStdout) -> Result<Receiver<String>> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("reports".to_owned()).spawn(read).context("start a thread")?;
    Ok(receiver)
}
