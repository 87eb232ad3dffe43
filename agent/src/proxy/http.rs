//! `/v1/auth`: nginx (`auth_request`), Traefik (`ForwardAuth`) and Caddy (`forward_auth`) ask with a
//! request that stands for the client's; `/v1/feedback` takes lines of access logs.
//!
//! What a header says is believed only where the proxy itself has written it. `X-Forwarded-*` are
//! written by Traefik and Caddy whatever a client sends, and by nginx as documented. Who has connected
//! to the proxy is the last address of `X-Forwarded-For`, or in the header that the proxy's own
//! configuration names in the URL (`?peer=x-real-ip`).

/// Headers as text.
mod headers;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::{self, Body},
    extract::{Request as HttpRequest, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{any, post},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Duration, timeout},
};

use super::{
    Surface,
    judge::{Judge, Seen},
    listener::{Listener, Stream},
    logs,
};
use crate::{
    api::socket::{Bounds, converse},
    decision::{Decision, client},
};
use headers::Headers;

/// What a connection of a proxy may take. It stays open between requests.
const BOUNDS: Bounds = Bounds {
    headers: 128,
    buffer_bytes: 64 << 10,
    header_patience: Duration::from_secs(30),
    lifetime: Duration::from_hours(1),
};
/// How long the first byte is waited for: proxies connect because they have something to ask. Whoever has
/// not would keep the place of others.
const SILENCE_AT_FIRST: Duration = Duration::from_secs(2);
/// Largest body of a request for feedback.
const FEEDBACK_BYTES_MAX: usize = 1 << 20;
const FEEDBACK_PATIENCE: Duration = Duration::from_secs(5);
/// Such bodies that a socket takes at a time; others wait. Connections are many more.
const FEEDBACK_BODIES: usize = 8;

/// What the URL in the proxy's configuration asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes<'q> {
    /// The header that says who has connected to the proxy.
    peer: Option<&'q str>,
    /// The status of all refusals.
    deny: Option<u16>,
}

impl<'q> Wishes<'q> {
    fn of(query: &'q str) -> Self {
        let mut wishes = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "peer" => wishes.peer = Some(value),
                "deny" => wishes.deny = value.parse().ok().filter(|status| (400..=599).contains(status)),
                _ => {}
            }
        }
        wishes
    }
}

/// What answers.
#[derive(Clone)]
struct Desk {
    judge: Judge,
    /// Places for bodies.
    bodies: Arc<Semaphore>,
}

/// Serves proxies until `stopped` changes.
pub(super) async fn serve(listener: Listener, judge: Judge, stopped: watch::Receiver<()>) {
    let desk = Desk { judge, bodies: Arc::new(Semaphore::new(FEEDBACK_BODIES)) };
    let router =
        Router::new().route("/v1/auth", any(auth)).route("/v1/feedback", post(feedback)).with_state(desk);
    let connection = stopped.clone();
    listener.serve(stopped, |stream| converse_soon(stream, router.clone(), connection.clone())).await;
}

/// Serves a connection on which something is asked at once.
async fn converse_soon(stream: Stream, router: Router, mut stopped: watch::Receiver<()>) {
    tokio::select! {
        asked = timeout(SILENCE_AT_FIRST, stream.readable()) => if asked.is_err() { return },
        _ = stopped.changed() => return,
    }
    converse(stream, router, stopped, BOUNDS).await;
}

async fn auth(State(Desk { judge, .. }): State<Desk>, request: HttpRequest) -> Response {
    let wishes = Wishes::of(request.uri().query().unwrap_or_default());
    let headers = Headers::of(request.headers());
    let Some(peer) = peer(&headers, &wishes) else {
        // An error of whoever has configured the proxy: it must be seen, not guessed around.
        let error = "nobody says who has connected to the proxy; see docs/l7.md, \"Who the client is\"\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, error).into_response();
    };
    let forwarded: Vec<&str> = headers.get("x-forwarded-for").into_iter().collect();
    let seen = Seen {
        peer: Some(peer),
        forwarded: &forwarded,
        method: headers.get("x-forwarded-method").unwrap_or_else(|| request.method().as_str()),
        host: headers.get("x-forwarded-host").or_else(|| headers.get("host")).unwrap_or_default(),
        path: headers.get("x-forwarded-uri").unwrap_or("/"),
        ..Seen::default()
    };
    let question = judge.request(&seen, |name| headers.get(name));
    answer(&judge.decide(Surface::Http, &question).await, wishes.deny)
}

fn peer(headers: &Headers<'_>, wishes: &Wishes<'_>) -> Option<IpAddr> {
    match wishes.peer {
        Some(name) => client::parse(headers.get(name)?),
        None => client::parse(headers.get("x-forwarded-for")?.rsplit(',').next()?),
    }
}

fn answer(decision: &Decision, deny: Option<u16>) -> Response {
    let status = match (decision.verdict.status(), deny) {
        (400.., Some(deny)) => deny,
        (status, _) => status,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    for (name, value) in decision.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Takes lines of access logs, as docs/l7.md has them; answers how many were understood.
async fn feedback(State(Desk { judge, bodies }): State<Desk>, request: HttpRequest) -> Response {
    let read = async {
        let place = bodies.acquire().await.ok();
        (body::to_bytes(request.into_body(), FEEDBACK_BYTES_MAX).await, place)
    };
    let Ok((Ok(body), _place)) = timeout(FEEDBACK_PATIENCE, read).await else {
        let error = format!("send at most {FEEDBACK_BYTES_MAX} bytes, within {FEEDBACK_PATIENCE:?}\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, error).into_response();
    };
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let understood = lines.filter(|line| logs::take(&judge, line)).count();
    (StatusCode::OK, format!("{{\"understood\": {understood}}}\n")).into_response()
}

/// Any headers, a line each, behind a line with a query. What a hop says that is not trusted is not
/// believed.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut map = axum::http::HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = axum::http::HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.get(1..).unwrap_or_default())) {
            map.append(name, value);
        }
    }
    let headers = Headers::of(&map);
    let Some(peer) = peer(&headers, &Wishes::of(&query)) else { return };
    let trusted = [ipnet::IpNet::from(IpAddr::from([10, 0, 0, 1]))];
    let client = client::find(&trusted, peer, headers.get("x-forwarded-for").into_iter());
    assert!(client::is_trusted(&trusted, peer.to_canonical()) || client.address == peer.to_canonical());
    assert_eq!(client.direct, client.address == peer.to_canonical());
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;
    use crate::decision::{Verdict, Why};

    #[test]
    fn the_url_says_what_the_proxy_wants() {
        assert_eq!(
            Wishes::of("deny=403&peer=x-real-ip&else=1"),
            Wishes { peer: Some("x-real-ip"), deny: Some(403) }
        );
        assert_eq!(Wishes::of("deny=99&x"), Wishes::default());
    }

    #[test]
    fn only_the_proxy_says_who_has_connected_to_it() {
        let of = |query, forwarded: Option<&'static str>| {
            let mut map = HeaderMap::new();
            map.insert("x-real-ip", HeaderValue::from_static("192.0.2.66"));
            if let Some(forwarded) = forwarded {
                map.insert("x-forwarded-for", HeaderValue::from_static(forwarded));
            }
            peer(&Headers::of(&map), &Wishes::of(query)).map(|peer| peer.to_string())
        };
        // A client may have written that, where the proxy does not.
        assert_eq!(of("", Some("203.0.113.1, 10.0.0.1")).as_deref(), Some("10.0.0.1"));
        assert_eq!(of("peer=x-real-ip", Some("203.0.113.1")).as_deref(), Some("192.0.2.66"));
        assert_eq!(of("peer=x-other", Some("203.0.113.1")), None);
        assert_eq!(of("", None), None);
    }

    #[test]
    fn refusals_have_the_status_that_the_proxy_understands() {
        let decision = Decision::of(Verdict::Throttle, Why::Risk);
        assert_eq!(answer(&decision, None).status(), 429);
        let nginx = answer(&decision, Some(403));
        assert_eq!(nginx.status(), 403);
        assert_eq!(nginx.headers()["x-weir-verdict"], "throttle");
        assert_eq!(answer(&Decision::allow(Why::Clean), Some(403)).status(), 200);
    }
}
