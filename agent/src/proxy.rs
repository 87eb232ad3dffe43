//! Decisions for the companion proxies: each surface speaks a proxy's own protocol, and all of them ask
//! the one judge.
//!
//! Nothing here is on the way of a packet: whatever a proxy sends or fails to send, the kernel goes on
//! as before. Connections, messages and waiting are bounded.

/// What is decided, for every surface.
pub mod judge;
/// What is counted of it.
pub mod counts;
/// Sockets of both kinds.
pub mod listener;
/// What others are given of the rules in force.
pub mod share;
/// The local API of `CrowdSec`.
pub mod lapi;
/// Proxies that decide by themselves, and others who are told of bans.
pub mod push;

use std::io;

use tokio::{sync::watch, task::JoinSet};

use crate::config::l7;
use judge::Judge;
use lapi::Lapi;
use listener::Bound;

/// The sockets of all surfaces, bound before anything runs.
#[derive(Debug, Default)]
pub struct Sockets {
    bound: Vec<(Surface, Bound)>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// Envoy, over gRPC.
    Grpc,
    /// nginx, Traefik and Caddy, over HTTP.
    Http,
    /// HAProxy, over SPOP.
    Haproxy,
    /// Bouncers of CrowdSec.
    Lapi,
}

impl Surface {
    /// Returns its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Haproxy => "haproxy",
            Self::Lapi => "lapi",
        }
    }
}

impl Sockets {
    /// Binds them. To be called before there are other threads; see [`crate::api::socket::Socket`].
    ///
    /// # Errors
    /// What the system says of the first that cannot be bound, with its name.
    pub fn bind(listen: &l7::Listen) -> io::Result<Self> {
        let surfaces = [
            (Surface::Grpc, &listen.grpc),
            (Surface::Http, &listen.http),
            (Surface::Haproxy, &listen.haproxy),
            (Surface::Lapi, &listen.lapi),
        ];
        let mut bound = Vec::new();
        for (surface, endpoints) in surfaces {
            for endpoint in endpoints {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{endpoint}: {error}"));
                bound.push((surface, Bound::new(endpoint).map_err(named)?));
            }
        }
        Ok(Self { bound })
    }

    /// Serves every surface until `stopped` changes.
    ///
    /// # Errors
    /// If a socket cannot be listened on.
    pub fn serve(
        self,
        judge: &Judge,
        lapi: &Lapi,
        tasks: &mut JoinSet<()>,
        stopped: &watch::Receiver<()>,
    ) -> io::Result<()> {
        for (surface, bound) in self.bound {
            let (listener, judge, stopped) = (bound.listen()?, judge.clone(), stopped.clone());
            let lapi = lapi.clone();
            tasks.spawn(async move {
                let served = match surface {
                    // Surfaces to come: until then nobody is answered.
                    Surface::Grpc | Surface::Http | Surface::Haproxy => {
                        let _kept = (listener, judge);
                        let mut stopped = stopped;
                        _ = stopped.changed().await;
                        Ok::<(), io::Error>(())
                    }
                    Surface::Lapi => {
                        lapi.serve(listener, stopped).await;
                        Ok(())
                    }
                };
                if let Err(error) = served {
                    tracing::error!(surface = surface.as_str(), %error, "a surface for proxies ended");
                }
            });
        }
        Ok(())
    }
}
