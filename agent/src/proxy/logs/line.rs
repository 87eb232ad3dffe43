use std::net::IpAddr;

use serde::Deserialize;

use crate::{decision::client, proxy::judge::Seen};

/// A line of an access log, of whichever proxy: docs/l7.md has the formats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    // nginx, as the documented configuration writes it.
    client: Option<String>,
    peer: Option<String>,
    status: Option<Status>,
    verdict: Option<String>,
    ours: bool,
    // Caddy.
    request: Option<Caddy>,
    resp_headers: Headers,
    // Traefik: the peer and its port, and X-Forwarded-For where the peer is trusted, else the peer again.
    #[serde(rename = "ClientAddr")]
    client_addr: Option<String>,
    #[serde(rename = "ClientHost")]
    client_host: Option<String>,
    #[serde(rename = "DownstreamStatus")]
    downstream_status: Option<u16>,
    #[serde(rename = "OriginStatus")]
    origin_status: Option<u16>,
}

/// A number, or one in quotes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Status {
    Number(u16),
    Text(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Caddy {
    remote_ip: Option<String>,
    client_ip: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Headers {
    #[serde(rename = "X-Weir-Verdict")]
    verdict: Vec<String>,
}

/// Reads a line: what is in front of the first brace is the frame of syslog (RFC 3164).
pub(super) fn parse(text: &[u8]) -> Option<Line> {
    let start = memchr::memchr(b'{', text)?;
    let line: Line = serde_json::from_slice(text.get(start..)?.trim_ascii_end()).ok()?;
    (line.status() != 0 && line.peer().or_else(|| line.client()).is_some()).then_some(line)
}

impl Line {
    /// Returns the status, 0 for none.
    pub(super) fn status(&self) -> u16 {
        match (&self.status, self.downstream_status) {
            (Some(Status::Number(status)), _) => *status,
            (Some(Status::Text(text)), _) => text.parse().unwrap_or(0),
            (None, status) => status.unwrap_or(0),
        }
    }

    /// Returns true if the client got what it got because of us.
    pub(super) fn ours(&self) -> bool {
        let verdict =
            self.verdict.as_deref().or_else(|| self.resp_headers.verdict.first().map(String::as_str));
        // Traefik asks no origin for what it refuses, and says 0 for its status.
        let refused = verdict.is_some_and(|verdict| !matches!(verdict, "" | "-" | "allow"));
        self.ours || refused || self.origin_status == Some(0)
    }

    pub(super) fn forwarded(&self) -> Vec<&str> {
        self.client_host.as_deref().into_iter().collect()
    }

    pub(super) fn seen<'l>(&self, forwarded: &'l [&'l str]) -> Seen<'l> {
        Seen { peer: self.peer(), client: self.client(), forwarded, ..Seen::default() }
    }

    fn peer(&self) -> Option<IpAddr> {
        let caddy = self.request.as_ref().and_then(|request| request.remote_ip.as_deref());
        client::parse(self.peer.as_deref().or(caddy).or(self.client_addr.as_deref())?)
    }

    fn client(&self) -> Option<IpAddr> {
        let caddy = self.request.as_ref().and_then(|request| request.client_ip.as_deref());
        client::parse(self.client.as_deref().or(caddy)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_proxies() {
        let nginx = r#"<190>Nov 24 18:00:00 gw nginx: {"client":"203.0.113.9","peer":"10.0.0.1","status":"401","verdict":""}"#;
        let caddy = r#"{"level":"info","request":{"remote_ip":"192.0.2.9","client_ip":"192.0.2.9","method":"GET"},"status":404,"resp_headers":{"Server":["Caddy"]}}"#;
        let traefik = r#"{"ClientAddr":"10.0.0.1:57482","ClientHost":"203.0.113.9, 10.0.0.2","DownstreamStatus":429,"OriginStatus":0}"#;
        let address = |text: &str| -> Option<IpAddr> { text.parse().ok() };
        for (text, peer, client, status, ours) in [
            (nginx, "10.0.0.1", "203.0.113.9", 401, false),
            (caddy, "192.0.2.9", "192.0.2.9", 404, false),
            (traefik, "10.0.0.1", "", 429, true),
            (r#"{"client":"203.0.113.9","status":403,"verdict":"deny"}"#, "", "203.0.113.9", 403, true),
            (r#"{"client":"203.0.113.9","status":403,"ours":true}"#, "", "203.0.113.9", 403, true),
            (
                r#"{"request":{"remote_ip":"192.0.2.9"},"status":403,"resp_headers":{"X-Weir-Verdict":["deny"]}}"#,
                "192.0.2.9",
                "",
                403,
                true,
            ),
        ] {
            let line = parse(text.as_bytes()).unwrap();
            assert_eq!((line.peer(), line.client()), (address(peer), address(client)), "{text}");
            assert_eq!((line.status(), line.ours()), (status, ours), "{text}");
        }
        assert_eq!(parse(traefik.as_bytes()).unwrap().forwarded(), ["203.0.113.9, 10.0.0.2"]);
        for text in [
            "",
            "no brace",
            "{",
            r#"{"status":401}"#,
            r#"{"client":"192.0.2.1"}"#,
            r#"{"client":1,"status":2}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_never_panics(text: Vec<u8>) {
            _ = parse(&text);
        }
    }
}
