//! Programs that have a proxy read its file.

use std::{
    io::Read as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::task;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// What it says of an error is told so far, in bytes.
const SAID_BYTES_MAX: u64 = 1 << 10;
/// All that it finds in its environment.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program with its arguments, without a shell; nothing where there is none.
///
/// # Errors
/// Why it has not done its work.
pub(super) async fn run(words: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env_clear().env("PATH", SEARCH_PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A group of its own, so that what it starts ends with it.
    command.process_group(0);
    let name = program.clone();
    let ended = task::spawn_blocking(move || {
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        wait(&mut child).map_err(|why| format!("{name}: {why}"))
    });
    ended.await.unwrap_or_else(|_| Err("the agent stops".to_owned()))
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

    #[tokio::test]
    async fn a_program_is_run_without_a_shell() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(run(&[]).await, Ok(()));
        assert_eq!(run(&words(&["/bin/true", "$(reboot)", ";"])).await, Ok(()));
        let error = run(&words(&["/bin/ls", "/absent"])).await.unwrap_err();
        assert!(error.contains("/absent") && error.contains("exit status"), "{error}");
        assert!(run(&words(&["/absent"])).await.is_err());
    }
}
