//! Envoy: three services of its API v3 on one socket, over gRPC.
//!
//! Each connection, stream and message is bounded, and each end that is silent for too long loses its
//! place; what Envoy does then is up to its configuration, see `docs/l7/envoy.md`.

/// Whether a request may pass: `envoy.service.auth.v3`.
mod authz;
/// Whether a counter is used up: `envoy.service.ratelimit.v3`.
mod limits;
/// What became of requests: `envoy.service.accesslog.v3`.
mod logs;
/// Connections that end when they are silent.
mod connection;

use std::{io, net::IpAddr, time::Duration};

use envoy_types::pb::envoy::{
    config::core::v3::{Address, address},
    service::{
        accesslog::v3::access_log_service_server::AccessLogServiceServer,
        auth::v3::authorization_server::AuthorizationServer,
        ratelimit::v3::rate_limit_service_server::RateLimitServiceServer,
    },
};
use tokio::{sync::watch, time::sleep};
use tonic::transport::Server;

use super::{judge::Judge, listener::Listener};
use crate::decision::client;
use authz::Authz;
use connection::Incoming;
use limits::Limits;
use logs::Logs;

/// Questions of one connection that wait at a time. Envoy opens another connection for more.
const STREAMS: u32 = 256;
/// Largest list of headers of a gRPC call, in bytes. Those of the request itself are in the message.
const HEADER_LIST_BYTES: u32 = 16 << 10;
/// Largest message, in bytes: Envoy takes requests with 60 KiB of headers unless told otherwise, and
/// flushes a buffer of access logs of 16 KiB.
const MESSAGE_BYTES: usize = 256 << 10;
/// How long an answer may take. Envoy waits for 200 ms unless told otherwise, and for 20 ms for limits.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often it is asked whether the other end is still there, and how long that answer may take.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// How old a connection becomes: then Envoy is told to open another, and what is open goes on. So an end
/// that answers our pings and asks nothing does not keep its place for ever.
const AGE: Duration = Duration::from_mins(10);
/// How long connections may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Serves a socket until `stopped` changes.
///
/// # Errors
/// What the server says.
pub(super) async fn serve(listener: Listener, judge: Judge, stopped: watch::Receiver<()>) -> io::Result<()> {
    let authz = AuthorizationServer::new(Authz::new(judge.clone()));
    let limits = RateLimitServiceServer::new(Limits::new(judge.clone()));
    let logs = AccessLogServiceServer::new(Logs::new(judge, stopped.clone()));
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PONG))
        .max_connection_age(AGE)
        .add_service(authz.max_decoding_message_size(MESSAGE_BYTES))
        .add_service(limits.max_decoding_message_size(MESSAGE_BYTES))
        .add_service(logs.max_decoding_message_size(MESSAGE_BYTES))
        .serve_with_incoming_shutdown(Incoming::new(listener), end(stopped.clone(), Duration::ZERO));
    tokio::select! {
        served = served => served.map_err(io::Error::other),
        // Some end does not let go.
        () = end(stopped, GRACE) => Ok(()),
    }
}

async fn end(mut stopped: watch::Receiver<()>, after: Duration) {
    _ = stopped.changed().await;
    sleep(after).await;
}

/// Reads an address; a path is none.
fn ip(address: Option<&Address>) -> Option<IpAddr> {
    match address?.address.as_ref()? {
        address::Address::SocketAddress(socket) => client::parse(&socket.address),
        address::Address::Pipe(_) | address::Address::EnvoyInternalAddress(_) => None,
    }
}
