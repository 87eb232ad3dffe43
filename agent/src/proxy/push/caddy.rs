//! Caddy's admin API: `PATCH /id/ID` replaces the object that has `"@id": "ID"`, here the matcher, and
//! Caddy goes over to it without losing a request.

use ipnet::IpNet;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::http;
use crate::config::l7::push::{self, CaddyMatcher};

/// Caddy, and the matcher in it.
#[derive(Debug)]
pub(super) struct Caddy {
    config: push::Caddy,
    client: Result<Client, String>,
}

impl Caddy {
    pub(super) fn new(config: push::Caddy) -> Self {
        Self { config, client: http::client(None) }
    }

    /// Gives it all bans.
    pub(super) async fn put(&self, bans: &[IpNet]) -> Result<(), String> {
        let client = self.client.clone()?;
        let push::Caddy { admin, id, .. } = &self.config;
        let body = json!({ "@id": id, self.matcher(): { "ranges": bans } }).to_string();
        let url = http::below(admin, &format!("id/{id}"));
        let request = http::json(&client, Method::PATCH, url, body.into_bytes());
        match http::send(request).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, body) => {
                let said = http::excerpt(&body);
                Err(format!(
                    "Caddy answers {status} `{said}`; its configuration needs a matcher with \"@id\": \"{id}\""
                ))
            }
        }
    }

    /// Returns how many ranges the matcher has.
    pub(super) async fn entries(&self) -> Result<usize, String> {
        let client = self.client.clone()?;
        let push::Caddy { admin, id, .. } = &self.config;
        let url = http::below(admin, &format!("id/{id}/{}/ranges", self.matcher()));
        match http::send(client.get(url)).await? {
            (status, body) if status.is_success() => {
                let ranges: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                Ok(ranges.as_array().map_or(0, Vec::len))
            }
            (status, _) => Err(format!("Caddy answers {status}")),
        }
    }

    fn matcher(&self) -> &'static str {
        match self.config.matcher {
            CaddyMatcher::RemoteIp => "remote_ip",
            CaddyMatcher::ClientIp => "client_ip",
        }
    }
}
