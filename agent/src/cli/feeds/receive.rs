//! `weir feeds receive`: from exabgp to the agent. Outlives the agent: what is said meanwhile waits.

use std::{
    io::{self, BufRead as _},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use hyper::{Method, StatusCode};

use super::super::CliError;
use crate::{
    api::feeds::{Lines, Taken},
    client::{Client, ClientError},
    feed::source::bgp::START,
    output,
};

/// Lines that wait for the agent. Then standard input is read no further, and exabgp waits.
const LINES: usize = 100_000;
/// Lines and bytes of one request; the agent takes 256 KB.
const TOGETHER: usize = 200;
const TOGETHER_BYTES: usize = 128 << 10;
/// How long it is waited for the agent before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the agent is told that there is still somebody who listens to the speaker.
const ALIVE: Duration = Duration::from_secs(10);

/// Reads until standard input ends.
pub(super) fn receive(socket: &Path, name: &str) -> Result<(), CliError> {
    let (sender, lines) = sync_channel(LINES);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let path = format!("/v1/feeds/{name}/lines");
    let start = Lines { lines: vec![START.to_owned()] };
    deliver(socket, &path, &start)?;
    while let Some(batch) = next(&lines) {
        deliver(socket, &path, &batch)?;
    }
    // exabgp has ended, perhaps without a word. Tried once: whoever comes next begins with the same.
    _ = Client::connect(socket).and_then(|mut agent| agent.call::<Taken>(Method::POST, &path, Some(&start)));
    Ok(())
}

/// Returns the lines that wait, at least one; nothing where no more will come.
fn next(lines: &Receiver<String>) -> Option<Lines> {
    let mut batch = Lines::default();
    let mut bytes = 0;
    let mut take = |line: String| {
        bytes += line.len();
        batch.lines.push(line);
        bytes < TOGETHER_BYTES
    };
    match lines.recv_timeout(ALIVE) {
        Ok(line) => {
            let more = take(line);
            let waiting = std::iter::from_fn(|| lines.try_recv().ok()).take(TOGETHER - 1);
            if more {
                for line in waiting {
                    if !take(line) {
                        break;
                    }
                }
            }
        }
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return None,
    }
    Some(batch)
}

/// Tries until the agent has taken them; gives up where it refuses.
fn deliver(socket: &Path, path: &str, batch: &Lines) -> Result<(), CliError> {
    let mut told = false;
    loop {
        let sent = Client::connect(socket).and_then(|mut agent| agent.call(Method::POST, path, Some(batch)));
        match sent {
            Ok(Taken { .. }) => return Ok(()),
            // A feed that is busy takes them later.
            Err(ClientError::Refused(problem)) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
                thread::sleep(PAUSE);
            }
            Err(error @ (ClientError::Refused(_) | ClientError::Forbidden { .. })) => {
                return Err(error.into());
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    output::warning(&format!("{error}; what exabgp says waits"));
                }
                thread::sleep(PAUSE);
            }
        }
    }
}
