//! Access logs as proxies send them: a line of JSON a datagram, over UDP or a Unix socket, with the
//! frame of syslog in front or without. What is not understood is counted and passed over.

/// Lines of several proxies.
mod line;

use std::{io, net::UdpSocket as StdUdpSocket, os::unix::net::UnixDatagram as StdUnixDatagram, path::Path};

use prometheus::{IntCounterVec, Opts};
use tokio::{
    net::{UdpSocket, UnixDatagram},
    sync::watch,
};

use super::{
    Surface,
    judge::{Feedback, Judge},
};
use crate::{
    config::l7::Endpoint,
    unix::{self, Place},
};

/// Largest line; what is longer is cut by the kernel and then not understood.
const BYTES_MAX: usize = 64 << 10;
/// A socket that is bound and not yet read.
#[derive(Debug)]
pub(super) enum Bound {
    /// A Unix socket, which is removed when it is dropped.
    Unix(StdUnixDatagram, Place),
    /// A UDP port.
    Udp(StdUdpSocket),
}

impl Bound {
    /// Binds it. To be called before there are other threads, which would get its umask.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => {
                let connect = |path: &Path| StdUnixDatagram::unbound()?.connect(path);
                let (socket, place) = unix::bind(path, connect, |path| StdUnixDatagram::bind(path))?;
                socket.set_nonblocking(true)?;
                Ok(Self::Unix(socket, place))
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
pub(super) async fn serve(bound: Bound, judge: Judge, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let (socket, _place) = match bound {
        Bound::Unix(socket, place) => (Socket::Unix(UnixDatagram::from_std(socket)?), Some(place)),
        Bound::Udp(socket) => (Socket::Udp(UdpSocket::from_std(socket)?), None),
    };
    let lines = counter(&judge).map_err(io::Error::other)?;
    let mut buffer = vec![0; BYTES_MAX];
    loop {
        let length = tokio::select! {
            length = socket.receive(&mut buffer) => length?,
            _ = stopped.changed() => return Ok(()),
        };
        // Whoever follows a file may send several lines at once.
        for text in buffer.get(..length).unwrap_or_default().trim_ascii_end().split(|byte| *byte == b'\n') {
            let result = if take(&judge, text) { "understood" } else { "passed_over" };
            lines.with_label_values(&[result]).inc();
        }
    }
}

pub(super) fn counter(judge: &Judge) -> prometheus::Result<IntCounterVec> {
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

/// Any line of an access log.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    for text in input.split(|byte| *byte == b'\n') {
        if let Some(line) = line::parse(text) {
            let forwarded = line.forwarded();
            let seen = line.seen(&forwarded);
            assert!(line.status() != 0 && (seen.peer.is_some() || seen.client.is_some()));
            _ = line.ours();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_left_is_taken_over_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs.sock");
        // Of an agent that was killed.
        drop(StdUnixDatagram::bind(&path).unwrap());
        assert!(path.exists());
        let endpoint = Endpoint::Unix(path.clone());
        let bound = Bound::new(&endpoint).unwrap();
        assert_eq!(Bound::new(&endpoint).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
    }
}
