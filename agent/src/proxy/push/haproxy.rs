//! HAProxy's runtime API: a map is filled beside the one in force and takes its place in one step
//! (`prepare map`, `add map @version`, `commit map`; since HAProxy 2.4).
//!
//! The commands are those of the management guide of HAProxy, section 9.3 ("Unix Socket commands"). A
//! connection takes one line, on which commands are separated by semicolons.

use std::{fmt::Write as _, io, time::Duration};

use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout_at,
};

use super::deadline;
use crate::config::l7::{Endpoint, push::Haproxy};

/// Bytes of a line. HAProxy takes no more than one of its buffers (`tune.bufsize`, 16 KiB).
const LINE_BYTES_MAX: usize = 12 << 10;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives it all bans.
pub(super) async fn put(haproxy: &Haproxy, bans: &[IpNet]) -> Result<(), String> {
    let Haproxy { socket, map, .. } = haproxy;
    let answer = ask(socket, &format!("prepare map {map}")).await?;
    let version: u32 = answer
        .strip_prefix("New version created: ")
        .and_then(|version| version.trim().parse().ok())
        .ok_or_else(|| refused(&answer))?;
    let mut line = String::with_capacity(LINE_BYTES_MAX);
    let mut bans = bans.iter().peekable();
    while let Some(ban) = bans.next() {
        // Between commands only: after a semicolon a command is expected. Into a text this cannot fail.
        let separator = if line.is_empty() { "" } else { ";" };
        _ = write!(line, "{separator}add map @{version} {map} {ban} 1");
        let longest = "add map @ ;".len() + 10 + map.len() + 50;
        if bans.peek().is_none() || line.len() + longest > LINE_BYTES_MAX {
            silent(&ask(socket, &line).await?)?;
            line.clear();
        }
    }
    silent(&ask(socket, &format!("commit map @{version} {map}")).await?)
}

/// Returns how many entries the map has.
pub(super) async fn entries(haproxy: &Haproxy) -> Result<usize, String> {
    let answer = ask(&haproxy.socket, "show map").await?;
    // `# id (file) description`, in which the file is the map's name.
    let name = format!("({})", haproxy.map);
    let line = answer.lines().find(|line| line.split(' ').any(|word| word == name));
    let count = line.and_then(|line| line.split("entry_cnt=").nth(1));
    count.and_then(|count| count.trim().parse().ok()).ok_or_else(|| refused(&answer))
}

async fn ask(socket: &Endpoint, line: &str) -> Result<String, String> {
    let asked = async {
        match socket {
            Endpoint::Unix(path) => converse(UnixStream::connect(path).await?, line).await,
            Endpoint::Tcp(address) => converse(TcpStream::connect(address).await?, line).await,
        }
    };
    let answer = timeout_at(deadline(PATIENCE), asked).await;
    let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    answer.map_err(|error| format!("{socket}: {error}"))
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str) -> io::Result<String> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A command that has done what it should says nothing.
fn silent(answer: &str) -> Result<(), String> {
    if answer.trim().is_empty() { Ok(()) } else { Err(refused(answer)) }
}

fn refused(answer: &str) -> String {
    let line = answer.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    let line: String = line.chars().take(200).collect();
    format!("HAProxy answers `{line}`; its socket needs `level admin`, and its configuration the map")
}
