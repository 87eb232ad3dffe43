//! Envoy: `ext_authz` v3 asks, the access-log service v3 tells, both over gRPC.

/// `envoy.service.auth.v3.Authorization`.
mod authz;
/// `envoy.service.accesslog.v3.AccessLogService`.
mod logs;

use std::{io, net::IpAddr};

use envoy_types::pb::envoy::{
    config::core::v3::{Address, address},
    service::{
        accesslog::v3::access_log_service_server::AccessLogServiceServer,
        auth::v3::authorization_server::AuthorizationServer,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::Duration,
};
use tonic::{
    codegen::tokio_stream::wrappers::ReceiverStream,
    transport::{Server, server::Connected},
};

use super::{
    judge::Judge,
    listener::{Listener, Stream},
};
use crate::decision::client;

/// Requests that one connection may have open.
const STREAMS_MAX: u32 = 1024;
/// Headers of a call, and a message: what Envoy sends of a request is bounded by its own limits, which
/// are 60 KB of headers by default.
const HEADER_BYTES_MAX: u32 = 16 << 10;
const CHECK_BYTES_MAX: usize = 256 << 10;
const LOG_BYTES_MAX: usize = 1 << 20;
/// A connection that does not answer a ping within the second time after the first is closed.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take until it speaks HTTP/2.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// Serves Envoy until `stopped` changes.
pub(super) async fn serve(
    listener: Listener,
    judge: Judge,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let (sender, incoming) = mpsc::channel(1);
    let mut stop_accepting = stopped.clone();
    let accepting = tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                stream = listener.accept() => stream,
                _ = stop_accepting.changed() => return,
            };
            let sender = sender.clone();
            // Whoever connects and says nothing waits here, not in front of the others.
            tokio::spawn(async move {
                if tokio::time::timeout(FIRST_PATIENCE, stream.readable()).await.is_ok() {
                    _ = sender.send(Ok::<_, io::Error>(stream)).await;
                }
            });
        }
    });
    let authz =
        AuthorizationServer::new(authz::Authz::new(judge.clone())).max_decoding_message_size(CHECK_BYTES_MAX);
    let logs = AccessLogServiceServer::new(logs::Logs::new(judge)).max_decoding_message_size(LOG_BYTES_MAX);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_PATIENCE))
        .add_service(authz)
        .add_service(logs)
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
            _ = stopped.changed().await;
        })
        .await;
    accepting.abort();
    served.map_err(io::Error::other)
}

/// Returns the IP address of an address; a pipe has none.
fn ip(address: Option<&Address>) -> Option<IpAddr> {
    match address?.address.as_ref()? {
        address::Address::SocketAddress(socket) => client::parse(&socket.address),
        address::Address::Pipe(_) | address::Address::EnvoyInternalAddress(_) => None,
    }
}
