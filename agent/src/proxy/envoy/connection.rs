use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tonic::{codegen::tokio_stream, transport::server::Connected};

use crate::proxy::listener::{Listener, Stream};

/// The first that HTTP/2 sends, in bytes (RFC 9113, section 3.4), with the head of the first frame.
const PREFACE_BYTES: usize = 24 + 9;
/// How long that may take. Who connects in order to ask has it ready.
const PREFACE: Duration = Duration::from_secs(3);
/// How long the other end may be silent then. It answers our pings.
const SILENCE: Duration = Duration::from_mins(1);

/// Connections as they come.
pub(super) struct Incoming(Pin<Box<dyn Future<Output = (Listener, Stream)> + Send>>);

impl Incoming {
    pub(super) fn new(listener: Listener) -> Self {
        Self(Box::pin(async move {
            let stream = listener.accept().await;
            (listener, stream)
        }))
    }
}

impl tokio_stream::Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (listener, stream) = ready!(self.0.as_mut().poll(cx));
        *self = Self::new(listener);
        Poll::Ready(Some(Ok(Connection::new(stream))))
    }
}

/// A connection that fails when nothing comes for too long: HTTP/2 has no limit of its own before its
/// first frame.
pub(super) struct Connection {
    stream: Stream,
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// When it fails, if nothing comes.
    deadline: Instant,
    /// Goes off at the deadline, or before, and is set again then: not at each read.
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(stream: Stream) -> Self {
        let deadline = Instant::now() + PREFACE;
        Self { stream, preface: PREFACE_BYTES, deadline, alarm: Box::pin(sleep_until(deadline)) }
    }

    /// Takes note that so many bytes have come.
    fn heard(&mut self, bytes: usize) {
        self.preface = self.preface.saturating_sub(bytes);
        // Whoever sends its preface byte by byte has no more time for it.
        if self.preface == 0 {
            self.deadline = Instant::now() + SILENCE;
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            self.heard(buf.filled().len() - before);
            return Poll::Ready(read);
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let deadline = self.deadline;
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(deadline);
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
