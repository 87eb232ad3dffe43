use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use envoy_types::pb::envoy::{
    config::core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier},
    service::auth::v3::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Peer, Request},
        authorization_client::AuthorizationClient,
    },
};
use tokio::runtime::{self, Runtime};
use tonic::transport::{Channel, Endpoint};

use super::load::Asker;

const PATIENCE: Duration = Duration::from_secs(2);

/// A connection of Envoy, as one of its threads has it.
struct Connection {
    runtime: Runtime,
    client: AuthorizationClient<Channel>,
}

pub(super) fn connect(socket: &Path) -> Result<Box<dyn Asker>> {
    let (runtime, channel) = channel(socket).context("connect to ext_authz")?;
    Ok(Box::new(Connection { runtime, client: AuthorizationClient::new(channel) }))
}

/// Connects as one thread of Envoy does.
pub(super) fn channel(socket: &Path) -> Result<(Runtime, Channel)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?.timeout(PATIENCE);
    let channel = runtime.block_on(endpoint.connect())?;
    Ok((runtime, channel))
}

impl Asker for Connection {
    fn ask(&mut self, client: Ipv4Addr) -> Result<bool> {
        let answer = self.runtime.block_on(self.client.check(question(client)))?.into_inner();
        Ok(answer.status.is_some_and(|status| status.code == 0))
    }
}

/// What Envoy sends of a small request.
fn question(client: Ipv4Addr) -> CheckRequest {
    let source = SocketAddress {
        address: client.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(40_000)),
        ..SocketAddress::default()
    };
    let source = Address { address: Some(address::Address::SocketAddress(source)) };
    let headers = [
        (":method", "GET"),
        (":authority", "api.example.org"),
        (":path", "/v1/items?page=2"),
        (":scheme", "https"),
        ("user-agent", "bench"),
        ("accept", "*/*"),
        ("x-request-id", "9b0b8d6e-0000-4000-8000-000000000000"),
    ];
    let http = HttpRequest {
        method: "GET".to_owned(),
        path: "/v1/items?page=2".to_owned(),
        host: "api.example.org".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { address: Some(source), ..Peer::default() }),
            request: Some(Request { http: Some(http), ..Request::default() }),
            ..AttributeContext::default()
        }),
    }
}
