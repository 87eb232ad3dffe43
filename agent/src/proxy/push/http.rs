//! What servers are asked over HTTP: whole answers of bounded size, in bounded time.

use std::{path::Path, time::Duration};

use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode, redirect};
use url::Url;

/// How long a connection may take, and a request with its answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Returns a client, which goes nowhere but to the server that it is told.
///
/// # Errors
/// Why the roots cannot be used.
pub(super) fn client(ca: Option<&Path>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
        .timeout(PATIENCE)
        .pool_max_idle_per_host(1)
        .no_proxy();
    let mut roots = Vec::new();
    if let Some(path) = ca {
        let unusable = |why: String| format!("{}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        roots = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    }
    // A host may have no roots of the system: then there are these, or no TLS.
    let system = !rustls_native_certs::load_native_certs().certs.is_empty();
    builder = if system { builder.tls_certs_merge(roots) } else { builder.tls_certs_only(roots) };
    builder.build().map_err(|error| error.to_string())
}

/// Returns the URL of a path below a server's.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let below = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&below);
    url
}

/// Returns a request with a body of JSON.
pub(super) fn json(client: &Client, method: Method, url: Url, body: Vec<u8>) -> RequestBuilder {
    client.request(method, url).header("content-type", "application/json").body(body)
}

/// Asks, and returns status and body.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn send(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
    let failed = |error: reqwest::Error| {
        // The innermost says most. None of them has a secret: those are in headers and bodies.
        let mut why: &dyn std::error::Error = &error;
        while let Some(source) = why.source() {
            why = source;
        }
        let place = error.url().map(|url| format!("{}{}", url.host_str().unwrap_or_default(), url.path()));
        format!("{}: {why}", place.unwrap_or_default())
    };
    let mut response = request.send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("answers more than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

/// Returns the beginning of an answer, to say why it is none.
pub(super) fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(200).collect()
}
