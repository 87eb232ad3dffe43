//! Access logs as proxies send them: a line of JSON a datagram, over UDP or a Unix socket, with the
//! frame of syslog in front or without. What is not understood is counted and passed over.

/// Lines of several proxies.
mod line;

use std::{io, net::UdpSocket as StdUdpSocket, os::unix::net::UnixDatagram as StdUnixDatagram};

use nix::sys::stat::{Mode, umask};
use prometheus::{IntCounterVec, Opts};
use tokio::{
    net::{UdpSocket, UnixDatagram},
    sync::watch,
};

use super::{
    Surface,
    judge::{Feedback, Judge},
};
use crate::{api::socket::make_way, config::l7::Endpoint};

/// Largest line; what is longer is cut by the kernel and then not understood.
const BYTES_MAX: usize = 64 << 10;
/// For the owner and the group, read and write.
const UMASK: Mode = Mode::from_bits_truncate(0o117);

/// A socket that is bound and not yet read.
#[derive(Debug)]
pub enum Bound {
    /// A Unix socket.
    Unix(StdUnixDatagram),
    /// A UDP port.
    Udp(StdUdpSocket),
}

impl Bound {
    /// Binds it. To be called before there are other threads, which would get its umask.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => {
                make_way(path)?;
                let before = umask(UMASK);
                let socket = StdUnixDatagram::bind(path);
                umask(before);
                let socket = socket?;
                socket.set_nonblocking(true)?;
                Ok(Self::Unix(socket))
            }
            Endpoint::Tcp(address) => {
                let socket = StdUdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
        }
    }
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Socket {
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.recv(buffer).await,
            Self::Udp(socket) => socket.recv(buffer).await,
        }
    }
}

/// Reads lines until `stopped` changes.
///
/// # Errors
/// If the socket cannot be read.
pub async fn serve(bound: Bound, judge: Judge, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let socket = match bound {
        Bound::Unix(socket) => Socket::Unix(UnixDatagram::from_std(socket)?),
        Bound::Udp(socket) => Socket::Udp(UdpSocket::from_std(socket)?),
    };
    let lines = counter(&judge).map_err(io::Error::other)?;
    let mut buffer = vec![0; BYTES_MAX];
    loop {
        let length = tokio::select! {
            length = socket.receive(&mut buffer) => length?,
            _ = stopped.changed() => return Ok(()),
        };
        let understood = buffer.get(..length).is_some_and(|text| take(&judge, text));
        lines.with_label_values(&[if understood { "understood" } else { "passed_over" }]).inc();
    }
}

fn counter(judge: &Judge) -> prometheus::Result<IntCounterVec> {
    let opts = Opts::new("weir_l7_log_lines_total", "Lines of access logs that proxies have sent.");
    let lines = IntCounterVec::new(opts, &["result"])?;
    match judge.counts().registry.register(Box::new(lines.clone())) {
        // Of a second socket.
        Err(prometheus::Error::AlreadyReg) | Ok(()) => Ok(lines),
        Err(error) => Err(error),
    }
}

/// Takes note of what a line says. Returns false if it says nothing.
pub(super) fn take(judge: &Judge, text: &[u8]) -> bool {
    let Some(line) = line::parse(text) else { return false };
    let client = judge.client(&line.seen(&line.forwarded()));
    judge.feedback(Surface::Logs, Feedback { client, status: line.status(), ours: line.ours() });
    true
}
