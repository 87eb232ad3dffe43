//! Programs that have a proxy read its file.
//!
//! The agent executes nothing once it has given that up ([`crate::confine`]). What runs the one program of
//! the configuration is a process that was started before; it can be asked for nothing else.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::task;

use crate::config::l7::Push;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// What it says of an error is told so far, in bytes.
const SAID_BYTES_MAX: u64 = 1 << 10;
/// All that it finds in its environment.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// This program, also where another has been put in its place.
const OURSELVES: &str = "/proc/self/exe";
/// What the process is called, and asked and answers.
pub(crate) const COMMAND: &str = "reload-for-agent";
const ASK: &[u8] = b"\n";
const DONE: &str = "done";

/// The process that runs a program when it is asked to. It ends when the last of these is dropped, and
/// with this process, however that ends.
#[derive(Clone, Debug)]
pub struct Reloader(Arc<Mutex<Process>>);

#[derive(Debug)]
struct Process {
    child: Child,
    asked: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Reloader {
    /// Starts it; nothing where no program is configured.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(config: &Push) -> io::Result<Option<Self>> {
        let Some(nginx) = config.nginx.as_ref().filter(|nginx| !nginx.reload_command.is_empty()) else {
            return Ok(None);
        };
        let mut command = Command::new(OURSELVES);
        command.args([COMMAND, "--"]).args(&nginx.reload_command).current_dir("/").env_clear();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(asked), Some(told)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let process = Process { child, asked, told: BufReader::new(told) };
        Ok(Some(Self(Arc::new(Mutex::new(process)))))
    }

    /// Has the program run, and waits for its end.
    ///
    /// # Errors
    /// Why it has not done its work.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let process = Arc::clone(&self.0);
        let ended = task::spawn_blocking(move || {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            process.ask().map_err(|error| {
                let id = process.child.id();
                format!("process {id}, which runs it, is gone ({error}); restart weir")
            })?
        });
        ended.await.unwrap_or_else(|_| Err("the agent stops".to_owned()))
    }
}

impl Process {
    fn ask(&mut self) -> io::Result<Result<(), String>> {
        self.asked.write_all(ASK)?;
        let mut answer = String::new();
        if self.told.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(if answer.trim_end() == DONE { Ok(()) } else { Err(answer.trim_end().to_owned()) })
    }
}

/// Runs a program with its arguments, without a shell, for each line of the input, until that ends.
///
/// # Errors
/// If the agent cannot be told.
pub(crate) fn serve(words: &[String]) -> io::Result<()> {
    let mut told = io::stdout();
    for line in io::stdin().lines() {
        line?;
        let answer = run(words).err().unwrap_or_else(|| DONE.to_owned());
        writeln!(told, "{}", answer.replace('\n', " "))?;
        told.flush()?;
    }
    Ok(())
}

fn run(words: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env_clear().env("PATH", SEARCH_PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A group of its own, so that what it starts ends with it.
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    wait(&mut child).map_err(|why| format!("{program}: {why}"))
}

fn wait(child: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(POLL),
            None => {
                _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
                _ = child.wait();
                return Err(format!("did not end within {PATIENCE:?}, and was killed"));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    // It has ended; a child of its own may still hold the pipe, from which no more is read than there is.
    let mut said = vec![0; usize::try_from(SAID_BYTES_MAX).unwrap_or_default()];
    let length = child.stderr.as_mut().and_then(|pipe| pipe.read(&mut said).ok()).unwrap_or_default();
    said.truncate(length);
    let said = String::from_utf8_lossy(&said);
    Err(format!("{status}: {}", said.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_without_a_shell() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(run(&[]), Ok(()));
        assert_eq!(run(&words(&["/bin/true", "$(reboot)", ";"])), Ok(()));
        let error = run(&words(&["/bin/ls", "/absent"])).unwrap_err();
        assert!(error.contains("/absent") && error.contains("exit status"), "{error}");
        assert!(run(&words(&["/absent"])).is_err());
    }
}
