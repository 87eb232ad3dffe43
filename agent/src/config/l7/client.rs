use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{raw::Text, validate::check::Check};

/// Headers that may be named.
const HEADERS_MAX: usize = 32;

/// Who the client is, and what is told of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Proxies and balancers whose word about the client is believed. They are never banned for what
    /// their clients do.
    pub trusted: Vec<IpNet>,
    /// Packets of clients reach this host, so that the kernel can drop them. Not so behind a balancer
    /// that ends connections.
    pub direct: bool,
    /// Headers that rules look at, in lower case.
    pub headers: Vec<String>,
    /// The header that says who a request is charged to, in lower case.
    pub consumer: Option<String>,
}

impl Default for Clients {
    fn default() -> Self {
        Self { trusted: Vec::new(), direct: true, headers: Vec::new(), consumer: None }
    }
}

/// Who the client of a request is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Addresses and prefixes whose X-Forwarded-For is believed.
    #[schemars(extend("x-type" = "prefix"))]
    trusted_proxies: Vec<Text>,
    /// Packets of clients reach this host; `false` behind a balancer that ends connections: then all bans are
    /// for proxies.
    #[schemars(extend("default" = true))]
    direct: Option<bool>,
    /// Headers to keep besides those that rules and routes name.
    #[schemars(extend("x-type" = "header"))]
    headers: Vec<Text>,
    /// The header that says who a request is charged to.
    #[schemars(extend("x-type" = "header"))]
    consumer_header: Option<Text>,
}

pub(super) fn validate(check: &mut Check, raw: &Raw) -> Clients {
    if let Some(text) = raw.headers.get(HEADERS_MAX) {
        check.problem(text.referenced, "l7.clients.headers", format!("more than {HEADERS_MAX}"));
    }
    let trusted = check.prefixes("l7.clients.trusted_proxies", &raw.trusted_proxies);
    let names = raw.headers.iter().enumerate();
    let headers = names.map(|(i, text)| header(check, &format!("l7.clients.headers[{i}]"), text)).collect();
    let consumer = raw.consumer_header.as_ref().map(|text| header(check, "l7.clients.consumer_header", text));
    Clients { trusted, direct: raw.direct.unwrap_or(true), headers, consumer }
}

/// The name of a header (RFC 9110, section 5.1), in the spelling in which names are compared.
pub(super) fn header(check: &mut Check, field: &str, text: &Text) -> String {
    let name = text.value.to_ascii_lowercase();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        let message = format!("`{}` is no name of a header: letters, digits and -", text.value);
        check.problem(text.referenced, field, message);
    }
    name
}
