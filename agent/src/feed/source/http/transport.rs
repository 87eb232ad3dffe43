//! Keys, certificates and connections.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, Identity, Proxy, redirect};

use super::{fault, target::Resolver};
use crate::{config::Http, feed::source::FetchError};

/// A connection takes no longer, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections are kept so long for the next request: pages and streams ask often, lists do not.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Certificates are not larger.
const PEM_MAX: u64 = 4 << 20;

/// Connections to the servers of one feed.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    home: reqwest::Client,
    /// To servers that are none of the feed's, so they see no certificate.
    abroad: reqwest::Client,
    stamps: [Stamp; 2],
}

/// What tells a file from itself before a change: inode, time of change in seconds and nanoseconds.
type Stamp = Option<(u64, i64, i64)>;

impl Transport {
    pub(super) fn new(http: &Http) -> Result<Self, FetchError> {
        let stamps = stamps(http);
        let abroad = build(http, false)?;
        let home = if http.client_certificate.is_some() { build(http, true)? } else { abroad.clone() };
        Ok(Self { home, abroad, stamps })
    }

    /// Returns the connections to the feed's own server, or to others.
    pub(super) fn client(&self, home: bool) -> &reqwest::Client {
        if home { &self.home } else { &self.abroad }
    }

    /// Returns false if its certificates are not those on disk any more.
    pub(super) fn is_current(&self, http: &Http) -> bool {
        self.stamps == stamps(http)
    }
}

fn stamps(http: &Http) -> [Stamp; 2] {
    [&http.ca, &http.client_certificate].map(|path: &Option<PathBuf>| {
        let about = fs::metadata(path.as_ref()?).ok()?;
        Some((about.ino(), about.mtime(), about.mtime_nsec()))
    })
}

fn build(http: &Http, certified: bool) -> Result<reqwest::Client, FetchError> {
    let resolver = Resolver { private: http.private, trusted: proxy_host(http) };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        // Followed by hand: each hop is checked, and gets the secret or does not.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT.min(http.timeout))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(1)
        .dns_resolver(resolver)
        // What the environment says of proxies does not count.
        .no_proxy();
    if let Some(proxy) = proxy(http)? {
        builder = builder.proxy(proxy);
    }
    let mut roots = Vec::new();
    if let Some(path) = &http.ca {
        let found = Certificate::from_pem_bundle(&pem(path)?).map_err(|error| unusable(path, &error))?;
        if found.is_empty() {
            return Err(unusable(path, &"has no certificate; write it in PEM"));
        }
        roots = found;
    }
    if let (true, Some(path)) = (certified, &http.client_certificate) {
        let identity = Identity::from_pem(&pem(path)?);
        let identity =
            identity.map_err(|_| unusable(path, &"has no certificate with its key; write both in PEM"))?;
        builder = builder.identity(identity);
    }
    // Hosts without roots of the system are no rarity: containers with one binary. They have http.ca,
    // or get as far as a server whose certificate leads nowhere.
    builder = if system_has_roots() { builder.tls_certs_merge(roots) } else { builder.tls_certs_only(roots) };
    builder.build().map_err(|error| {
        let mut last: &dyn std::error::Error = &error;
        while let Some(source) = last.source() {
            last = source;
        }
        FetchError::new("tls", format!("no client can be made of http: {last}; look at its certificates"))
    })
}

fn system_has_roots() -> bool {
    !rustls_native_certs::load_native_certs().certs.is_empty()
}

/// Returns the proxy, if there is one.
pub(super) fn proxy(http: &Http) -> Result<Option<Proxy>, FetchError> {
    let Some(text) = &http.proxy else { return Ok(None) };
    fault::parse(text)?;
    let proxy = Proxy::all(text.as_str());
    let proxy =
        proxy.map_err(|_| FetchError::new("protocol", "http.proxy is no proxy; write http://host:port"))?;
    Ok(Some(proxy))
}

fn proxy_host(http: &Http) -> Option<std::sync::Arc<str>> {
    let url = fault::parse(http.proxy.as_ref()?).ok()?;
    url.host_str().map(Into::into)
}

fn pem(path: &Path) -> Result<Vec<u8>, FetchError> {
    let about = fs::metadata(path).map_err(|error| unusable(path, &error))?;
    if !about.is_file() || about.len() > PEM_MAX {
        return Err(unusable(path, &"is no file of certificates"));
    }
    fs::read(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> FetchError {
    FetchError::new("tls", format!("{}: cannot be used: {why}", path.display()))
}
