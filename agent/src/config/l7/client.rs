use ipnet::IpNet;
use serde::Deserialize;

use crate::config::{raw::Text, validate::check::Check};

/// Who the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Proxies and balancers whose word about the client is believed. They are never banned for what
    /// their clients do.
    pub trusted: Vec<IpNet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    trusted_proxies: Vec<Text>,
}

pub(super) fn validate(check: &mut Check, raw: &Raw) -> Clients {
    Clients { trusted: check.prefixes("l7.clients.trusted_proxies", &raw.trusted_proxies) }
}
