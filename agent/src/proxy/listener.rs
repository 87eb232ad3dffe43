//! Sockets for proxies: TCP, or Unix with mode 0660.

use std::{
    io,
    net::{IpAddr, TcpListener as StdTcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{api::socket::Socket, config::l7::Endpoint};

/// Connections of one socket that are served at a time; others wait in the kernel's queue. A proxy
/// needs one a thread.
const CONNECTIONS: usize = 1024;
/// How long it is waited before the next connection is accepted where none can be.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that is bound and not yet served.
#[derive(Debug)]
pub enum Bound {
    /// A Unix socket, which is removed when it is dropped.
    Unix(Socket),
    /// A port.
    Tcp(StdTcpListener),
}

impl Bound {
    /// Binds it. To be called before there are other threads; see [`Socket::bind`].
    ///
    /// # Errors
    /// What the system says.
    pub fn new(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => Socket::bind(path).map(Self::Unix),
            Endpoint::Tcp(address) => {
                let listener = StdTcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    /// Returns the listener, within a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(self) -> io::Result<Listener> {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let kind = match self {
            Self::Unix(mut socket) => Kind::Unix(UnixListener::from_std(socket.take()?)?, socket),
            Self::Tcp(listener) => Kind::Tcp(TcpListener::from_std(listener)?),
        };
        Ok(Listener { kind, places })
    }
}

/// A socket on which proxies connect.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
enum Kind {
    // The socket is kept: dropped, it takes its path with it.
    Unix(UnixListener, #[expect(dead_code, reason = "removes its path when it is dropped")] Socket),
    Tcp(TcpListener),
}

impl Listener {
    /// Returns one for a port that is bound, which serves so many connections at a time.
    #[must_use]
    pub fn tcp(listener: TcpListener, connections: usize) -> Self {
        Self { kind: Kind::Tcp(listener), places: Arc::new(Semaphore::new(connections)) }
    }

    /// Waits for the next connection, and for a place for it. What goes wrong with one is told and the
    /// next is waited for.
    pub async fn accept(&self) -> Stream {
        loop {
            // Never closed.
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            let accepted = match &self.kind {
                Kind::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Wire::Unix(stream)),
                Kind::Tcp(listener) => listener.accept().await.and_then(|(stream, _)| {
                    // Answers are small and waited for.
                    stream.set_nodelay(true)?;
                    Ok(Wire::Tcp(stream))
                }),
            };
            match accepted {
                Ok(wire) => return Stream { wire, _place: place },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a proxy");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Listener {
    /// Serves every connection with `converse` until `stopped` changes, and then those that there are to
    /// their end.
    pub async fn serve<F>(self, mut stopped: watch::Receiver<()>, converse: impl Fn(Stream) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            tokio::select! {
                stream = self.accept() => {
                    connections.spawn(converse(stream));
                }
                _ = stopped.changed() => break,
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

/// A connection of a proxy. It holds its place until it is dropped.
#[derive(Debug)]
pub struct Stream {
    wire: Wire,
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Waits until the other end has said something, or is gone.
    ///
    /// # Errors
    /// What the system says.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.wire {
            Wire::Unix(stream) => stream.readable().await,
            Wire::Tcp(stream) => stream.readable().await,
        }
    }

    /// Returns the address at the other end; nothing for a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        match &self.wire {
            Wire::Unix(_) => None,
            Wire::Tcp(stream) => stream.peer_addr().ok().map(|address| address.ip().to_canonical()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
