//! Texts behind URLs, and what all sources on the web share: one client with caps on time, size,
//! redirects and addresses.

/// What went wrong, in words.
mod fault;
/// How long an answer is good for.
mod fresh;
/// What proves who asks.
pub(crate) mod secret;
/// Which addresses are asked.
mod target;
/// Keys, certificates and connections.
mod transport;
/// From what comes over the wire to a text.
mod unpack;

use std::{sync::Mutex, time::Duration};

use reqwest::{Method, Response, StatusCode, header};
use url::Url;

use self::{fault::Place, fresh::Freshness, secret::Secret, transport::Transport, unpack::Packing};
use super::{FetchError, Fetched};
use crate::{
    config::{self, Guards},
    feed::store::Validators,
};

/// Redirects that are followed, one after the other.
const REDIRECTS_MAX: usize = 5;
/// The longest header of an answer that is kept for later: an `ETag`, for example.
const VALIDATOR_MAX: usize = 1024;

/// A text behind a URL.
#[derive(Debug)]
pub struct Text {
    client: Box<Client>,
    fresh_for: Option<Duration>,
}

impl Text {
    /// Returns the text at the URL of `http`.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked for.
    pub fn new(http: &config::Http, guards: &Guards) -> Result<Self, FetchError> {
        Ok(Self { client: Box::new(Client::new(http, guards)?), fresh_for: None })
    }

    /// Asks for it, unless it is what `validators` say.
    ///
    /// # Errors
    /// [`FetchError`] where there is none to be had.
    pub async fn fetch(&mut self, validators: &Validators) -> Result<Fetched, FetchError> {
        self.fresh_for = None;
        let mut request = Request::get(&self.client.http.url);
        let conditions =
            [("if-none-match", &validators.etag), ("if-modified-since", &validators.last_modified)];
        for (name, value) in conditions {
            request.headers.extend(value.clone().map(|value| (name, value)));
        }
        let conditional = !request.headers.is_empty();
        let reply = self.client.send(&request).await?;
        self.fresh_for = Freshness::of(&reply).lasts();
        let place = Place::of(&self.client.http.url);
        if reply.status == StatusCode::NOT_MODIFIED.as_u16() {
            if conditional {
                return Ok(Fetched::Unchanged);
            }
            return Err(
                place.error("protocol", "answers that nothing changed (304), though it was asked for all")
            );
        }
        if is_page(&reply) {
            let message = "answers with an HTML page, not with a list; look at it in a browser: \
                the list may have moved, or want a login";
            return Err(place.error("html", message));
        }
        let header =
            |name| reply.header(name).filter(|value| value.len() <= VALIDATOR_MAX).map(str::to_owned);
        let validators = Validators { etag: header("etag"), last_modified: header("last-modified") };
        Ok(Fetched::Text(reply.body, validators))
    }

    /// Returns how long the last answer is good for, as it says itself. Nobody asks again before.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        self.fresh_for
    }
}

/// Returns true if the answer is HTML. Some servers call lists so, which do not begin with a tag.
fn is_page(reply: &Reply) -> bool {
    let kind = reply.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let text = reply.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reply.body);
    kind.starts_with("text/html") && text.trim_ascii_start().starts_with(b"<")
}

/// A client for one feed.
#[derive(Debug)]
pub struct Client {
    http: config::Http,
    bytes_max: u64,
    /// Whom the secret and the certificate are for.
    origin: url::Origin,
    secret: Secret,
    /// Made when it is first needed, and anew when a certificate on disk has changed.
    transport: Mutex<Option<Transport>>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Where.
    pub url: String,
    /// Headers besides those that prove who asks.
    pub headers: Vec<(&'static str, String)>,
    /// The body of a `POST`, JSON.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// Returns a `GET`.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: "GET", url: url.into(), headers: Vec::new(), body: None }
    }
}

/// What is answered. A status that is not 2xx or 304 is an error before this.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 200 to 299, or 304.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// Unpacked.
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns a header, by its name in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    /// Returns a client for what `http` says. Files are not read yet: they may come later.
    ///
    /// # Errors
    /// [`FetchError`] where the URL, the proxy or the header's name are none.
    pub fn new(http: &config::Http, guards: &Guards) -> Result<Self, FetchError> {
        let url = fault::parse(&http.url)?;
        transport::proxy(http)?;
        Ok(Self {
            http: http.clone(),
            bytes_max: guards.bytes,
            origin: url.origin(),
            secret: Secret::new(&http.auth)?,
            transport: Mutex::default(),
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// [`FetchError`] where there is no good answer.
    pub async fn send(&self, request: &Request) -> Result<Reply, FetchError> {
        let answer = tokio::time::timeout(self.http.timeout, self.follow(request)).await;
        answer.unwrap_or_else(|_| {
            let lasts = humantime::format_duration(self.http.timeout);
            let message = format!("took longer than {lasts}; see http.timeout");
            Err(Place::of(&request.url).error("timeout", message))
        })
    }

    /// Asks, and asks again where the answer says so.
    async fn follow(&self, request: &Request) -> Result<Reply, FetchError> {
        let mut url = fault::parse(&request.url)?;
        let transport = self.transport()?;
        for _ in 0..=REDIRECTS_MAX {
            self.check(&url)?;
            let response = self.ask(&transport, &url, request).await?;
            match redirect(&response, request.method, &url)? {
                Some(next) => url = next,
                None => return self.reply(response, &url).await,
            }
        }
        let message = format!("redirects more than {REDIRECTS_MAX} times; set url to where it ends");
        Err(Place::of(&request.url).error("redirect", message))
    }

    fn check(&self, url: &Url) -> Result<(), FetchError> {
        let place = Place::from(url);
        if url.scheme() == "http" && !self.http.insecure {
            return Err(place.error("redirect", "is not protected; use https, or set http.insecure"));
        }
        match target::kind_of_host(url) {
            Some(kind) if !self.http.private => Err(place.error("address", target::refusal(kind))),
            Some(_) | None => Ok(()),
        }
    }

    async fn ask(&self, transport: &Transport, url: &Url, request: &Request) -> Result<Response, FetchError> {
        let place = Place::from(url);
        let home = url.origin() == self.origin;
        let method = if request.method == "POST" { Method::POST } else { Method::GET };
        let mut builder = transport.client(home).request(method, url.clone());
        builder = builder.header(header::ACCEPT_ENCODING, "gzip, zstd");
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        if home {
            builder = self.secret.prove(builder)?;
        }
        builder.send().await.map_err(|error| place.failed(&error, &self.http))
    }

    async fn reply(&self, response: Response, url: &Url) -> Result<Reply, FetchError> {
        let place = Place::from(url);
        let status = response.status();
        let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let mut reply = Reply { status: status.as_u16(), headers, body: Vec::new() };
        if status == StatusCode::NOT_MODIFIED {
            return Ok(reply);
        }
        if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
            return Err(place.refused(status, &reply, &self.http));
        }
        let packing = Packing::of(&reply, url).map_err(|message| place.error("encoding", message))?;
        let body = self.body(response, &place).await?;
        reply.body = if packing.is_plain(&body) {
            body
        } else {
            let cap = self.bytes_max;
            let unpacked = tokio::task::spawn_blocking(move || packing.unpack(body, cap)).await;
            let stopped = |_| place.error("encoding", "could not be unpacked: the agent stops");
            unpacked.map_err(stopped)?.map_err(|(cause, message)| place.error(cause, message))?
        };
        Ok(reply)
    }

    /// Reads the body as it comes over the wire, up to the cap.
    async fn body(&self, mut response: Response, place: &Place) -> Result<Vec<u8>, FetchError> {
        let too_large = || {
            let message = format!("is larger than {} bytes; see guards.bytes", self.bytes_max);
            place.error("size", message)
        };
        let announced = response.content_length().unwrap_or(0);
        if announced > self.bytes_max {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|error| place.failed(&error, &self.http))? {
            if (body.len() + chunk.len()) as u64 > self.bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn transport(&self) -> Result<Transport, FetchError> {
        let mut kept = self.transport.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*kept {
            Some(transport) if transport.is_current(&self.http) => Ok(transport.clone()),
            Some(_) | None => {
                let transport = Transport::new(&self.http)?;
                *kept = Some(transport.clone());
                Ok(transport)
            }
        }
    }
}

/// Returns where the answer says to ask instead, if it does.
fn redirect(response: &Response, method: &str, url: &Url) -> Result<Option<Url>, FetchError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let error = |message: String| Place::from(url).error("redirect", message);
    if method != "GET" {
        return Err(error("redirects what is sent to it; set url to where it ends".to_owned()));
    }
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    let Some(mut next) = next.filter(Url::has_host) else {
        return Err(error("redirects to nowhere; set url to where the list is now".to_owned()));
    };
    let to = Place::from(&next);
    match next.scheme() {
        "https" => {}
        "http" if url.scheme() == "http" => {}
        "http" => {
            return Err(error(format!("redirects to {to}, which is not protected; that is never followed")));
        }
        other => return Err(error(format!("redirects to `{other}`, which is not spoken here"))),
    }
    // What a server writes there proves nothing about us.
    if next.set_username("").and_then(|()| next.set_password(None)).is_err() {
        return Err(error(format!("redirects to {to}, which has a user but no host")));
    }
    Ok(Some(next))
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use unpack::fuzz;
