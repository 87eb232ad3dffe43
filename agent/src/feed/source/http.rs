//! Texts behind URLs, and what all sources on the web share: one client with caps on time, size,
//! redirects and addresses.

use super::{FetchError, Fetched};
use crate::{
    config::{self, Guards},
    feed::store::Validators,
};

/// A text behind a URL.
#[derive(Debug)]
pub struct Text {
    client: Client,
}

impl Text {
    /// Returns the text at the URL of `http`.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked for.
    pub fn new(http: &config::Http, guards: &Guards) -> Result<Self, FetchError> {
        Ok(Self { client: Client::new(http, guards)? })
    }

    /// Asks for it, unless it is what `validators` say.
    ///
    /// # Errors
    /// [`FetchError`] where there is none to be had.
    pub async fn fetch(&mut self, validators: &Validators) -> Result<Fetched, FetchError> {
        _ = validators;
        let reply = self.client.send(&Request::get(&self.client.http.url)).await?;
        Ok(Fetched::Text(reply.body, Validators::default()))
    }
}

/// A client for one feed.
#[derive(Debug)]
pub struct Client {
    http: config::Http,
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
    /// Returns a client for what `http` says.
    ///
    /// # Errors
    /// [`FetchError`] where a certificate or a proxy cannot be used.
    pub fn new(http: &config::Http, guards: &Guards) -> Result<Self, FetchError> {
        _ = guards;
        Ok(Self { http: http.clone() })
    }

    /// Asks.
    ///
    /// # Errors
    /// [`FetchError`] where there is no good answer.
    #[expect(clippy::unused_async, reason = "it will wait for the network")]
    pub async fn send(&self, request: &Request) -> Result<Reply, FetchError> {
        Err(FetchError::new("protocol", format!("{}: is not there yet", request.url)))
    }
}
