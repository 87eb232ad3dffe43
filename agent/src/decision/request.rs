use std::{collections::BTreeMap, net::IpAddr};

use super::Client;

/// What a proxy tells of a request. All that is compared is in one spelling: names of headers and the
/// host in lower case, the path without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who has sent it.
    pub client: Client,
    /// Who has connected to the proxy, where it says so.
    pub peer: Option<IpAddr>,
    /// Method, in upper case.
    pub method: String,
    /// Host, without a port.
    pub host: String,
    /// Path.
    pub path: String,
    /// Those headers that the configuration names.
    pub headers: BTreeMap<String, String>,
    /// Who the request is charged to, where the configuration says how to tell.
    pub consumer: Option<String>,
    /// Name that the proxy gives the route, where it does.
    pub route: Option<String>,
    /// Fingerprint of the client's TLS (JA3 or JA4), where the proxy gives one.
    pub tls: Option<String>,
}

impl Request {
    /// Returns a request of which only the client is known.
    #[must_use]
    pub fn of(client: Client) -> Self {
        Self {
            client,
            peer: None,
            method: "GET".to_owned(),
            host: String::new(),
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            consumer: None,
            route: None,
            tls: None,
        }
    }
}
