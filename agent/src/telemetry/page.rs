//! The status page: one file of HTML for a browser, and what it asks for, as JSON.
//!
//! It shows who is banned and why, and asks nobody who they are. So it is off unless `listen.status`
//! names a port of the loopback, changes nothing, and answers only where it is called by a name of the
//! loopback: a page from elsewhere whose name leads here (DNS rebinding) gets nothing.

/// Rates of the last minutes.
mod history;
/// All that the page shows.
mod summary;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::{
    Router,
    body::Bytes,
    extract::{RawQuery, Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
        uri::Authority,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task,
    time::timeout,
};
use url::form_urlencoded;

use super::metrics::Metrics;
use crate::{
    api::{
        Problem, risk,
        socket::{Bounds, converse},
    },
    config::Port,
    datapath::Pins,
    escalate::Ladder,
    events::{Events, Filter, KEPT, View},
    explain::{self, AgentSays},
    naming::Naming,
    notify::Notifier,
    proxy::listener::Listener,
    rules::Bulletin,
};
use history::History;

const PAGE: &str = include_str!("page/page.html");
/// Connections that are served at a time: a browser takes six.
const CONNECTIONS: usize = 32;
const BOUNDS: Bounds = Bounds {
    // A browser sends about 15.
    headers: 64,
    buffer_bytes: 16 << 10,
    header_patience: Duration::from_secs(10),
    lifetime: Duration::from_mins(5),
};
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whoever asks again within this time gets the same: more would be work for nothing.
const FRESH: Duration = Duration::from_secs(1);

/// What the page is made of.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The pins, for `status` and `explain`.
    pub pins: Pins,
    /// The state directory, likewise.
    pub state: PathBuf,
    /// Bans and manual rules.
    pub bulletin: Bulletin,
    /// What is wrong.
    pub notifier: Notifier,
    /// What sources have done.
    pub ladder: Ladder,
    /// Sampled packets.
    pub events: Events,
    /// What sources are called.
    pub naming: Arc<Naming>,
}

impl Facts {
    /// Returns what `weir explain` asks of a running agent.
    fn known_of(&self, address: IpAddr) -> AgentSays {
        let filter = Filter { source: Some(address.into()), ..Filter::default() };
        let (names, batch) = (self.metrics.names(), self.events.latest(KEPT, &filter));
        let events: Vec<View> = batch.events.iter().map(|seen| names.view(seen, &self.naming)).collect();
        AgentSays::of(risk::View::of(&self.ladder, address), &events)
    }
}

#[derive(Clone, Debug)]
struct Desk {
    facts: Facts,
    history: History,
    started: u64,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
    /// One at a time: an answer takes some milliseconds of a core.
    place: Arc<Semaphore>,
}

/// Serves the page until `stopped` changes.
pub async fn serve(listener: TcpListener, facts: Facts, stopped: watch::Receiver<()>) {
    let history = History::default();
    let desk = Desk {
        started: crate::record::seconds(std::time::SystemTime::now()),
        history: history.clone(),
        last: Arc::default(),
        place: Arc::new(Semaphore::new(1)),
        facts,
    };
    let metrics = Arc::clone(&desk.facts.metrics);
    let router = router(desk);
    let connection = stopped.clone();
    let served = Listener::tcp(listener, CONNECTIONS)
        .serve(stopped, |stream| converse(stream, router.clone(), connection.clone(), BOUNDS));
    tokio::select! {
        () = served => {}
        () = history.keep(metrics) => {}
    }
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(async || page()))
        .route("/status.json", get(status))
        .route("/explain.json", get(explanation))
        .fallback(async || Problem::not_found("no such page").mend("/ is the page"))
        .layer(middleware::from_fn(guarded))
        .with_state(desk)
}

/// Answers only those who call the loopback by its name, and says what a browser may do with the answer.
async fn guarded(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let mut response = if host.is_some_and(is_here) {
        match timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::late().into_response(),
        }
    } else {
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "this page is for the loopback only");
        problem
            .field("host")
            .mend("open it as http://127.0.0.1 and the port of listen.status")
            .into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

/// Returns true for a `Host` that is a name of the loopback.
fn is_here(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn page() -> Result<Response, Problem> {
    let broken = |what: &str| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what);
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| broken("no random numbers"))?;
    let nonce = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).map_err(|_| broken("no policy"))?;
    let marked = |name: &str| (format!("<{name}>"), format!("<{name} nonce=\"{nonce}\">"));
    let ((script, marked_script), (style, marked_style)) = (marked("script"), marked("style"));
    let text = PAGE.replacen(&script, &marked_script, 1).replacen(&style, &marked_style, 1);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)], text).into_response())
}

async fn status(State(desk): State<Desk>) -> Result<Response, Problem> {
    let _place = desk.place.acquire().await;
    let last = desk.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, text)) = last.filter(|(made, _)| made.elapsed() < FRESH) {
        return Ok(json(text));
    }
    let made = Instant::now();
    let asked = desk.clone();
    let summary = run(move || asked.facts.summary(&asked.history, asked.started)).await?;
    let text = serialized(&summary.map_err(|error| failed(&error))?)?;
    *desk.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((made, text.clone()));
    Ok(json(text))
}

/// `?address=192.0.2.7&port=443/tcp`, of which the port may be left out.
async fn explanation(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(query.as_bytes());
        fields.find(|(name, _)| name == wanted).map(|(_, value)| value.trim().to_owned())
    };
    let text = field("address").unwrap_or_default();
    let address = text
        .parse::<IpAddr>()
        .map(|address| address.to_canonical())
        .map_err(|_| Problem::bad("address", text, "is no address").mend("write it like 192.0.2.7"))?;
    let port: Option<Port> = match field("port") {
        Some(text) => Some(text.parse().map_err(|error: String| Problem::bad("port", text, error))?),
        None => None,
    };
    let _place = desk.place.acquire().await;
    let explained = run(move || {
        let agent = desk.facts.known_of(address);
        explain::explain(&desk.facts.pins, &desk.facts.state, address, port, agent)
    });
    let explained = explained.await?;
    Ok(json(serialized(&explained.map_err(|error| failed(&error))?)?))
}

/// Runs what reads the kernel's maps and files, and so may block.
async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    task::spawn_blocking(work).await.map_err(|error| failed(&error))
}

fn failed(error: &impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn serialized(value: &impl Serialize) -> Result<Bytes, Problem> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| failed(&error))
}

fn json(text: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_here() {
        for host in ["127.0.0.1:9647", "127.0.0.1", "localhost:9647", "LocalHost", "[::1]:9647", "127.8.0.1"]
        {
            assert!(is_here(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:9647", "192.0.2.1:9647", "localhost.evil.example", "[::]"]
        {
            assert!(!is_here(host), "{host}");
        }
    }

    #[tokio::test]
    async fn the_page_brings_all_it_needs_and_its_policy_fits() {
        let response = page().unwrap();
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "{policy}");
        // A namespace is no address that is asked.
        let addresses = text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http:", "https:", "src=", "innerHTML", "style=", "onclick", "eval("] {
            assert!(!addresses.contains(foreign), "{foreign}");
        }
    }
}
