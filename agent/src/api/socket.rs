use std::{
    future::poll_fn,
    io,
    os::unix::net::{UnixListener as StdListener, UnixStream as StdStream},
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use super::peer::Peer;
use crate::unix::{self, Place};

/// Connections that are served at a time, handshakes included; others wait in the kernel's queue.
const CONNECTIONS: usize = 32;
pub(super) const BOUNDS: Bounds = Bounds {
    headers: 32,
    // The least that hyper takes.
    buffer_bytes: 8 << 10,
    header_patience: Duration::from_secs(2),
    lifetime: Duration::from_mins(1),
};
/// How long that request may take then.
const DRAIN: Duration = Duration::from_secs(2);
/// How long it is waited before the next connection is accepted where none can be.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that is bound. Dropped, it is removed, unless another has taken its place.
#[derive(Debug)]
pub struct Socket {
    listener: Option<StdListener>,
    place: Place,
}

impl Socket {
    /// Makes the socket, in place of one that an agent has left that is no more. To be called
    /// before there are other threads: what they make meanwhile would get the mode of the socket.
    ///
    /// # Errors
    /// If there is another agent, something that is no socket, or no permission.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (listener, place) =
            unix::bind(path, |path| StdStream::connect(path).map(drop), |path| StdListener::bind(path))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Some(listener), place })
    }

    /// Returns the listener. The socket is still removed when this is dropped.
    ///
    /// # Errors
    /// If it has been taken before.
    pub fn take(&mut self) -> io::Result<StdListener> {
        self.listener.take().ok_or_else(|| io::Error::other("the socket is in use"))
    }

    /// Serves pages until `stopped`.
    ///
    /// # Errors
    /// If the socket cannot be listened on.
    pub async fn serve(mut self, router: Router, stopped: watch::Receiver<()>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.take()?)?;
        let accept = |context: &mut Context<'_>| {
            let accepted = listener.poll_accept(context);
            accepted.map(|accepted| {
                let (stream, _) = accepted?;
                Ok((Peer::of(&stream, self.place.path())?, stream))
            })
        };
        let talk = |(peer, stream)| {
            converse(stream, router.clone().layer(Extension::<Peer>(peer)), stopped.clone(), BOUNDS)
        };
        serve_each("the control socket", accept, talk, stopped.clone()).await;
        Ok(())
    }
}

/// Talks on every connection that `accept` brings until `stopped` changes, on so many at a time, and then
/// on those that there are to their end.
pub(super) async fn serve_each<T, F>(
    what: &str,
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    mut talk: impl FnMut(T) -> F,
    mut stopped: watch::Receiver<()>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, poll_fn(&mut accept).await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok(stream) => {
                let talk = talk(stream);
                connections.spawn(async move {
                    talk.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on {what}");
                sleep(PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Headers of a request.
    pub(crate) headers: usize,
    /// Bytes of a request's headers, and of what is read ahead.
    pub(crate) buffer_bytes: usize,
    /// How long a client may take for its headers, or stay silent between two requests.
    pub(crate) header_patience: Duration,
    /// How long it lasts; then it ends after the request that is being served.
    pub(crate) lifetime: Duration,
}

/// Serves one connection, for a limited time. What goes wrong there is the client's affair.
pub(crate) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    mut stopped: watch::Receiver<()>,
    bounds: Bounds,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_patience)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.buffer_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        result = &mut connection => {
            if let Err(error) = result {
                tracing::debug!(%error, "connection");
            }
            return;
        }
        () = sleep(bounds.lifetime) => {}
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    _ = timeout(DRAIN, connection).await;
}
