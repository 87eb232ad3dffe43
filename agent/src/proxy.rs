//! Decisions for the companion proxies: each surface speaks a proxy's own protocol, and all of them ask
//! the one judge.
//!
//! Nothing here is on the way of a packet: whatever a proxy sends or fails to send, the kernel goes on
//! as before. Connections, messages and waiting are bounded.

/// What is decided, for every surface.
pub mod judge;
/// What is counted of it.
pub mod counts;
/// Quotas, here and shared with other gateways.
pub mod quotas;
/// Sockets of both kinds.
pub mod listener;
/// nginx, Traefik, Caddy: `/v1/auth`.
mod http;
/// HAProxy: SPOP.
mod haproxy;
/// Envoy: gRPC.
mod envoy;
/// Access logs of proxies.
mod logs;
/// What others are given of the rules in force.
pub mod share;
/// The local API of `CrowdSec`.
pub mod lapi;
/// Proxies that decide by themselves, and others who are told of bans.
pub mod push;
/// Connections to a Redis.
mod redis;
/// Bans that gateways share.
pub(crate) mod fleet;

use std::io;

use tokio::{sync::watch, task::JoinSet};

use crate::{config::l7, rules::Bulletin};
use judge::Judge;
use lapi::Lapi;
use listener::Bound;

/// The sockets of all surfaces, bound before anything runs.
#[derive(Debug, Default)]
pub struct Sockets(Vec<Socket>);

#[derive(Debug)]
enum Socket {
    Grpc(Bound),
    Http(Bound),
    Haproxy(Bound),
    Lapi(Bound),
    Logs(logs::Bound),
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
    /// Access logs.
    Logs,
}

impl Surface {
    /// Returns its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Haproxy => "haproxy",
            Self::Logs => "logs",
        }
    }
}

impl Sockets {
    /// Binds them. To be called before there are other threads; see [`crate::api::socket::Socket`].
    ///
    /// # Errors
    /// What the system says of the first that cannot be bound, with its name.
    pub fn bind(listen: &l7::Listen) -> io::Result<Self> {
        let l7::Listen { grpc, http, haproxy, lapi, logs } = listen;
        let sockets = bind_all(grpc, |endpoint| Bound::new(endpoint).map(Socket::Grpc))
            .chain(bind_all(http, |endpoint| Bound::new(endpoint).map(Socket::Http)))
            .chain(bind_all(haproxy, |endpoint| Bound::new(endpoint).map(Socket::Haproxy)))
            .chain(bind_all(lapi, |endpoint| Bound::new(endpoint).map(Socket::Lapi)))
            .chain(bind_all(logs, |endpoint| logs::Bound::new(endpoint).map(Socket::Logs)));
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// Serves every surface until `stopped` changes.
    pub fn serve(self, judge: &Judge, lapi: &Lapi, tasks: &mut JoinSet<()>, stopped: &watch::Receiver<()>) {
        for socket in self.0 {
            let (judge, lapi, stopped) = (judge.clone(), lapi.clone(), stopped.clone());
            tasks.spawn(async move {
                if let Err(error) = serve(socket, judge, lapi, stopped).await {
                    tracing::error!(%error, "a socket for proxies is no longer served");
                }
            });
        }
    }
}

/// Adds what is counted of surfaces and targets, configured or not, for the catalogue of metrics.
///
/// # Errors
/// If two metrics have one name.
pub(crate) fn describe(judge: &Judge) -> prometheus::Result<()> {
    Lapi::new(&[], &Bulletin::default(), judge)?;
    push::describe(judge)?;
    fleet::describe(&judge.counts().registry)?;
    logs::counter(judge).map(drop)
}

fn bind_all(
    endpoints: &[l7::Endpoint],
    bind: impl Fn(&l7::Endpoint) -> io::Result<Socket>,
) -> impl Iterator<Item = io::Result<Socket>> {
    endpoints.iter().map(move |endpoint| {
        bind(endpoint).map_err(|error| io::Error::new(error.kind(), format!("{endpoint}: {error}")))
    })
}

async fn serve(socket: Socket, judge: Judge, lapi: Lapi, stopped: watch::Receiver<()>) -> io::Result<()> {
    match socket {
        Socket::Grpc(bound) => envoy::serve(bound.listen()?, judge, stopped).await,
        Socket::Http(bound) => {
            http::serve(bound.listen()?, judge, stopped).await;
            Ok(())
        }
        Socket::Haproxy(bound) => {
            haproxy::serve(bound.listen()?, judge, stopped).await;
            Ok(())
        }
        Socket::Lapi(bound) => {
            lapi.serve(bound.listen()?, stopped).await;
            Ok(())
        }
        Socket::Logs(bound) => logs::serve(bound, judge, stopped).await,
    }
}

/// What is fuzzed of it.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    pub(crate) use super::{
        fleet::fuzz as fleet, haproxy::fuzz as haproxy, http::fuzz as headers,
        lapi::decision::fuzz as bouncer, logs::fuzz as log,
    };
}
