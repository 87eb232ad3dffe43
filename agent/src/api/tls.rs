//! The same pages over TCP, for who has a certificate of the right authority.

/// Certificates: ours, and whose names count.
mod certificates;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    task::Context,
};

use axum::{Extension, Router};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Duration, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    peer::Peer,
    socket::{BOUNDS, converse, serve_each},
};
use crate::config::ControlTls;
use certificates::{Certificates, peer_of};

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
    pub async fn serve(self, router: Router, stopped: watch::Receiver<()>) -> io::Result<()> {
        let Self { listener, settings, mut certificates } = self;
        let listener = TcpListener::from_std(listener)?;
        let talk = |(stream, _)| {
            let acceptor = TlsAcceptor::from(certificates.current(&settings));
            talk(stream, acceptor, Arc::clone(&settings), router.clone(), stopped.clone())
        };
        let accept = |context: &mut Context<'_>| listener.poll_accept(context);
        serve_each("listen.control_tls", accept, talk, stopped.clone()).await;
        Ok(())
    }
}

/// Serves one connection. Whoever has no certificate does not get as far as a page.
async fn talk(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    settings: Arc<ControlTls>,
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
    let Some(peer) = chain.first().and_then(|certificate| peer_of(certificate, &settings)) else {
        return tracing::debug!("a certificate on listen.control_tls has no name");
    };
    converse(stream, router.layer(Extension::<Peer>(peer)), stopped, BOUNDS).await;
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use certificates::fuzz;
