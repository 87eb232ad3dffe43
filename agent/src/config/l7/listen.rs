use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{
    raw::Text,
    validate::{SOCKET_PATH_BYTES_MAX, check::Check},
};

/// Where proxies ask. Nothing is listened on that is not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Envoy: ext_authz, rate limits and access logs, over gRPC.
    pub grpc: Vec<Endpoint>,
    /// nginx, Traefik, Caddy: `/v1/auth`, over HTTP/1.1.
    pub http: Vec<Endpoint>,
    /// HAProxy: SPOP.
    pub haproxy: Vec<Endpoint>,
    /// Bouncers of `CrowdSec`: its local API, over HTTP/1.1.
    pub lapi: Vec<Endpoint>,
    /// Access logs: lines of JSON in datagrams, over UDP or Unix sockets.
    pub logs: Vec<Endpoint>,
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address and a port, of TCP; for logs of UDP.
    Tcp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if !Path::new(path).is_absolute() {
                Err("the path is not absolute; write it whole, like unix:/run/weir/l7.sock".to_owned())
            } else if path.len() > SOCKET_PATH_BYTES_MAX {
                Err(format!("the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let form = "write an address and a port, like 127.0.0.1:9650, or unix: and a path";
        text.parse().map(Self::Tcp).map_err(|_| form.to_owned())
    }
}

/// Where proxies ask: addresses and ports, or `unix:` and a path.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Envoy: ext_authz, rate limits and access logs.
    #[schemars(extend("x-type" = "endpoint"))]
    grpc: Vec<Text>,
    /// nginx, Traefik, Caddy: `/v1/auth`.
    #[schemars(extend("x-type" = "endpoint"))]
    http: Vec<Text>,
    /// HAProxy: SPOE.
    #[schemars(extend("x-type" = "endpoint"))]
    haproxy: Vec<Text>,
    /// Bouncers of CrowdSec.
    #[schemars(extend("x-type" = "endpoint"))]
    lapi: Vec<Text>,
    /// Access logs of nginx, Caddy and Traefik, UDP.
    #[schemars(extend("x-type" = "endpoint"))]
    logs: Vec<Text>,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> Listen {
    let mut endpoints = |field: &str, texts: Vec<Text>| {
        let endpoint = |(i, text): (usize, &Text)| check.parse(&format!("l7.listen.{field}[{i}]"), text);
        texts.iter().enumerate().filter_map(endpoint).collect()
    };
    Listen {
        grpc: endpoints("grpc", raw.grpc),
        http: endpoints("http", raw.http),
        haproxy: endpoints("haproxy", raw.haproxy),
        lapi: endpoints("lapi", raw.lapi),
        logs: endpoints("logs", raw.logs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_port_or_a_path() {
        for text in ["127.0.0.1:9650", "[::1]:9650", "unix:/run/weir/http.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for (text, want) in [
            ("9650", "like 127.0.0.1:9650"),
            ("unix:weir.sock", "not absolute"),
            (&format!("unix:/{}", "a".repeat(107)), "at most 107"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }
}
