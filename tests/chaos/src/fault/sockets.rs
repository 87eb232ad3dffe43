//! Those who abuse sockets, and those who wait for an agent that is away.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};
use weir_tests::control::Control;

use super::process;
use crate::{
    requests::{self, BANNED, HOP},
    stand::{EXTRA_BANS, GRPC, HTTP, LOGS, SPOP, Stand},
};

/// Connections that say nothing, to each socket.
const CROWD: usize = 300;
/// Clients of the control socket that say nothing: more than are served.
const SILENT: usize = 60;
/// Requests that must be judged while the agent is away.
const REQUESTS: u64 = 5;

fn garbage(stand: &mut Stand) -> Vec<Vec<u8>> {
    let mut random = stand.random.fork();
    let mut noise = |bytes: usize| std::iter::repeat_with(|| random.u8(..)).take(bytes).collect::<Vec<_>>();
    vec![
        b"\0\0\0\0".to_vec(),
        b"\xff\xff\xff\xff\x01".to_vec(),
        b"\0\0\0\x05\x03\0\0\0\x01".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff\xff\x04\0\0\0\0\0".to_vec(),
        b"GET /v1/auth HTTP/1.1\r\nX: ".to_vec(),
        vec![b'a'; 200_000],
        noise(64),
        noise(5000),
    ]
}

pub(super) fn proxies_hang(stand: &mut Stand) -> Result<String> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let garbage = garbage(stand);
    let server = &stand.pair.server;
    let connect = |to: SocketAddr| {
        server.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)).context("connect"))
    };
    for to in [HTTP, SPOP, GRPC] {
        for bytes in &garbage {
            // It may be closed before all is written.
            _ = connect(to)?.write_all(bytes);
        }
    }
    let logs = server.run(|| Ok(UdpSocket::bind("127.0.0.1:0")?))?;
    for bytes in &garbage {
        _ = logs.send_to(bytes, LOGS);
    }
    // Silent ones are on other sockets than the one that is asked.
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.extend([connect(SPOP)?, connect(GRPC)?]);
    }
    let head = format!("X-Forwarded-For: {BANNED}, {HOP}\r\n");
    let answers = || requests::ask(server, HTTP, "/v1/auth", &head, requests::WAIT) == Some(403);
    stand.wait_until("others are served", answers)?;
    stand.unchanged()?;
    Ok(format!("{} silent", crowd.len()))
}

pub(super) fn agent_away(stand: &mut Stand) -> Result<String> {
    let hangs = stand.random.bool();
    if hangs {
        stand.agent.signal(Signal::SIGSTOP)?;
    } else {
        stand.agent.kill()?;
    }
    let asked = |stand: &Stand| stand.ledger.row(stand.ledger.epoch()).requests;
    let before = asked(stand);
    // Whether they got what the proxy is told to answer, the ledger knows.
    let answered = if stand.has_proxy {
        stand.wait_until("requests meanwhile", || asked(stand) >= before + REQUESTS)
    } else {
        Ok(())
    };
    if hangs {
        stand.agent.signal(Signal::SIGCONT)?;
    } else {
        process::start_and_adopt(stand)?;
    }
    answered?;
    Ok(if hangs { "SIGSTOP" } else { "SIGKILL" }.to_owned())
}

pub(super) fn abused(stand: &mut Stand) -> Result<String> {
    let connect = |stand: &Stand| Control::connect(&stand.agent.socket());
    for bytes in garbage(stand) {
        let mut client = connect(stand)?;
        _ = client.send(&bytes);
    }
    let head = "PUT /v1/rules/203.0.113.7 HTTP/1.1\r\nHost: weir\r\n";
    let mut client = connect(stand)?;
    client.send(format!("{head}Content-Length: 9999999\r\n\r\n").as_bytes())?;
    _ = client.send(&vec![b' '; 1 << 20]);
    let (status, _) = client.answer()?;
    ensure!(status == 413, "a body of 10 MB is answered with {status}");
    let mut clients = Vec::new();
    for n in 0..SILENT {
        let mut client = connect(stand)?;
        // It may have been closed already.
        _ = match n % 3 {
            0 => client.send(b"GET /v1/ru"),
            1 => client.send(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()),
            _ => Ok(()),
        };
        clients.push(client);
    }
    stand.say(&["ban", EXTRA_BANS[1]])?;
    stand.say(&["unban", EXTRA_BANS[1]])?;
    ensure!(stand.agent.get("/readyz")?.0 == 200, "not ready");
    stand.unchanged()?;
    Ok(format!("{SILENT} silent"))
}
