//! What went wrong, in words: where, why, and the mend. Never a secret, never a query.

use std::{error::Error, fmt, io};

use reqwest::StatusCode;
use url::Url;

use super::{Reply, fresh, target::Forbidden};
use crate::{
    config::{Auth, Http},
    feed::source::FetchError,
};

/// A URL as messages have it: without user, query and fragment, where secrets may be.
#[derive(Clone, Debug)]
pub(super) struct Place(String);

impl From<&Url> for Place {
    fn from(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self(format!("{}://{host}{port}{}", url.scheme(), url.path()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a URL.
pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
    let error = |why: &dyn fmt::Display| {
        let start = text.split(['?', '#']).next().unwrap_or_default();
        // A user or password may stand in front of an `@`.
        let start = start.rsplit('@').next().unwrap_or_default();
        FetchError::new("protocol", format!("`{start}` is no URL: {why}"))
    };
    let url = Url::parse(text).map_err(|why| error(&why))?;
    match url.scheme() {
        "https" | "http" => Ok(url),
        other => Err(error(&format!("`{other}` is not spoken here; use https"))),
    }
}

impl Place {
    pub(super) fn of(url: &str) -> Self {
        parse(url).map_or_else(|error| Self(error.message), |url| Self::from(&url))
    }

    pub(super) fn error(&self, cause: &'static str, message: impl fmt::Display) -> FetchError {
        FetchError::new(cause, format!("{self}: {message}"))
    }

    /// Says why there is no answer, or only half of one.
    pub(super) fn failed(&self, error: &reqwest::Error, http: &Http) -> FetchError {
        let mut causes = Vec::new();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
                return self.error("address", forbidden);
            }
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return self.error("tls", tls(error, http));
            }
            causes.push(error);
            // What an io::Error wraps is not its source, but that source's parent.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
        }
        let last = causes.last().map(ToString::to_string).unwrap_or_default();
        let through = if http.proxy.is_some() { " through http.proxy" } else { "" };
        if error.is_timeout() && error.is_connect() {
            self.error(
                "timeout",
                format!("cannot be reached{through} in time; look at the network in between"),
            )
        } else if error.is_timeout() {
            self.error("timeout", "takes too long; see http.timeout")
        } else if causes.iter().any(|cause| cause.to_string().contains("dns error")) {
            self.error("connect", format!("its host is not found ({last}); look at the name, and at DNS"))
        } else if error.is_connect() {
            self.error(
                "connect",
                format!("cannot be reached{through} ({last}); look at host, port and firewall"),
            )
        } else {
            let message = format!("breaks off, or does not speak HTTP ({last}); it is asked again later");
            self.error("protocol", message)
        }
    }

    /// Says what a status means that is no success.
    pub(super) fn refused(&self, status: StatusCode, reply: &Reply, http: &Http) -> FetchError {
        let mut error = match status.as_u16() {
            401 | 403 => match &http.auth {
                Auth::None => self.error(
                    "auth",
                    format!("wants to know who asks ({status}); see http.header and http.basic"),
                ),
                Auth::Header { file, .. } | Auth::Basic { file, .. } => {
                    let message =
                        format!("refuses the secret of {} ({status}); renew it there", file.display());
                    self.error("auth", message)
                }
            },
            404 | 410 => {
                self.error("status", format!("is not there ({status}); look up where the list is now"))
            }
            429 => self.error("status", format!("is asked too often ({status}); raise interval")),
            206 => self.error("status", format!("answers a part only ({status}), which was not asked for")),
            _ => self.error("status", format!("answers {status}; it is asked again later")),
        };
        if matches!(status.as_u16(), 429 | 503) {
            error.retry_after = fresh::retry_after(reply);
        }
        error
    }
}

fn tls(error: &rustls::Error, http: &Http) -> String {
    let mend = match (error, &http.client_certificate) {
        (rustls::Error::InvalidCertificate(_), _) if http.ca.is_some() => {
            "look at http.ca: the server's certificate does not lead to it"
        }
        (rustls::Error::InvalidCertificate(_), _) => {
            "if the server has a root of its own, name it in http.ca"
        }
        (rustls::Error::AlertReceived(_), None) => {
            "if the server wants a certificate, set http.client_certificate"
        }
        (rustls::Error::AlertReceived(_), Some(_)) => "look at http.client_certificate: it may be refused",
        (_, _) => "look whether the server speaks TLS 1.2 or 1.3 at this port",
    };
    format!("no protected connection ({error}); {mend}")
}
