//! The same pages over TCP, for who has a certificate of the right authority.

/// Certificates: ours, and whose names count.
mod certificates;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
};

use axum::{Extension, Router};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Duration, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    peer::Peer,
    socket::{BOUNDS, PAUSE, converse},
};
use crate::config::ControlTls;
use certificates::{Certificates, peer_of};

/// Connections that are served at a time, handshakes included; others wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A port that is bound, and a certificate that can be used.
#[derive(Debug)]
pub struct Tls {
    listener: StdListener,
    settings: Arc<ControlTls>,
    certificates: Certificates,
}

impl Tls {
    /// Binds the port and reads the certificates.
    ///
    /// # Errors
    /// If the port cannot be had, or a certificate cannot be used; with its file.
    pub fn bind(settings: &ControlTls) -> io::Result<Self> {
        let certificates = Certificates::load(settings)?;
        let listener = StdListener::bind(settings.address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, settings: Arc::new(settings.clone()), certificates })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.settings.address
    }

    /// Serves pages until `stopped`.
    ///
    /// # Errors
    /// If the port cannot be listened on.
    pub async fn serve(self, router: Router, mut stopped: watch::Receiver<()>) -> io::Result<()> {
        let Self { listener, settings, mut certificates } = self;
        let listener = TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = async {
                // Never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                accepted = accepted => accepted,
                _ = stopped.changed() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let acceptor = TlsAcceptor::from(certificates.current(&settings));
                    let (router, settings, stopped) =
                        (router.clone(), Arc::clone(&settings), stopped.clone());
                    connections.spawn(async move {
                        talk(stream, acceptor, &settings, router, stopped).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on listen.control_tls");
                    sleep(PAUSE).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

/// Serves one connection. Whoever has no certificate does not get as far as a page.
async fn talk(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    settings: &ControlTls,
    router: Router,
    stopped: watch::Receiver<()>,
) {
    // Answers are small and waited for.
    _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "handshake on listen.control_tls"),
        Err(_elapsed) => return tracing::debug!("handshake on listen.control_tls: too slow"),
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(peer) = chain.first().and_then(|certificate| peer_of(certificate, settings)) else {
        return tracing::debug!("a certificate on listen.control_tls has no name");
    };
    converse(stream, router.layer(Extension::<Peer>(peer)), stopped, BOUNDS).await;
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use certificates::fuzz;
