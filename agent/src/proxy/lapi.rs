//! The local API of `CrowdSec`, so that its bouncers obey weir: they ask here for decisions, which are
//! the bans and throttles in force.
//!
//! The contract is `pkg/models/localapi_swagger.yaml` of `CrowdSec`, 1.4 to 1.7, and what its server does
//! besides; docs/l7/crowdsec.md says where this one differs. Connections, headers, bodies and time are
//! bounded.

/// Who asks.
mod keys;
/// How far each bouncer has been told.
mod cursor;
/// Rules as decisions.
pub(crate) mod decision;
/// What bouncers report.
mod usage;
/// Bodies.
mod pack;
/// Prefixes, line by line.
mod list;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Router,
    body::{self, Body},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use prometheus::{CounterVec, IntCounterVec, Opts};
use tokio::{sync::watch, time::timeout};

use super::{judge::Judge, listener::Listener};
use crate::{
    api::socket::{Bounds, converse},
    config::l7::Bouncer,
    record::seconds,
    rules::Bulletin,
};
use cursor::{Cursors, Sight};
use decision::Filter;
use keys::Keys;
pub(super) use list::lines;
use usage::Report;

/// What a connection of a bouncer may take; the last is how long it may take to fetch an answer.
const BOUNDS: Bounds = Bounds {
    headers: 64,
    buffer_bytes: 16 << 10,
    header_patience: Duration::from_secs(5),
    lifetime: Duration::from_mins(5),
};
/// How long a request may take, body included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest body of a report.
const BODY_BYTES_MAX: usize = 1 << 20;
const JSON: &str = "application/json; charset=utf-8";

/// The local API.
#[derive(Clone, Debug)]
pub struct Lapi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: Arc<Keys>,
    cursors: Cursors,
    bulletin: Bulletin,
    judge: Judge,
    requests: IntCounterVec,
    reported: CounterVec,
}

/// The number of the bouncer that asks.
#[derive(Clone, Copy, Debug)]
struct Caller(usize);

impl Lapi {
    /// Returns the API for these bouncers.
    ///
    /// # Errors
    /// If two metrics have one name.
    pub fn new(bouncers: &[Bouncer], bulletin: &Bulletin, judge: &Judge) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("weir_l7_lapi_requests_total", "Requests of bouncers; those refused have no name."),
            &["bouncer", "page"],
        )?;
        let reported = CounterVec::new(
            Opts::new("weir_l7_lapi_reported_total", "What bouncers report of their work."),
            &["bouncer", "name", "unit"],
        )?;
        let registry = &judge.counts().registry;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(reported.clone()))?;
        Ok(Self(Arc::new(Inner {
            keys: Arc::new(Keys::new(bouncers)),
            cursors: Cursors::default(),
            bulletin: bulletin.clone(),
            judge: judge.clone(),
            requests,
            reported,
        })))
    }

    /// Serves it on a socket until `stopped` changes.
    pub async fn serve(&self, listener: Listener, stopped: watch::Receiver<()>) {
        let (router, connection) = (self.router(), stopped.clone());
        listener.serve(stopped, |stream| converse(stream, router.clone(), connection.clone(), BOUNDS)).await;
    }

    fn router(&self) -> Router {
        let pages = Router::new()
            .route("/v1/decisions/stream", get(stream))
            .route("/v1/decisions", get(decisions))
            .route("/v1/usage-metrics", post(usage))
            .route("/v1/list", get(list::page))
            // Where cs-blocklist-mirror has it.
            .route("/security/blocklist", get(list::page))
            .route_layer(middleware::from_fn_with_state(self.clone(), admit));
        let no_page = async || message(StatusCode::NOT_FOUND, "Page or Method not found");
        pages
            .route("/health", get(async || ([(CONTENT_TYPE, JSON)], r#"{"status":"up"}"#)))
            .fallback(no_page)
            .method_not_allowed_fallback(no_page)
            .layer(middleware::from_fn(in_time))
            .with_state(self.clone())
    }

    fn look(&self) -> Sight {
        let Inner { cursors, bulletin, judge, .. } = &*self.0;
        cursors.look(bulletin, judge.is_shadow(), seconds(SystemTime::now()))
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    let late = |_elapsed| message(StatusCode::SERVICE_UNAVAILABLE, "not served in time");
    timeout(PATIENCE, next.run(request)).await.unwrap_or_else(late)
}

/// Lets those in who have a key.
async fn admit(State(lapi): State<Lapi>, mut request: Request, next: Next) -> Response {
    let page = match request.uri().path() {
        "/v1/decisions/stream" => "stream",
        "/v1/decisions" => "decisions",
        "/v1/usage-metrics" => "usage-metrics",
        _ => "list",
    };
    let caller = lapi.0.keys.whose(request.headers()).await;
    let name = caller.map_or("", |number| lapi.0.keys.name(number));
    lapi.0.requests.with_label_values(&[name, page]).inc();
    match caller {
        Some(number) => {
            request.extensions_mut().insert(Caller(number));
            next.run(request).await
        }
        // A firewall asks for a list without its password first.
        None if page == "list" => {
            let answer = message(StatusCode::UNAUTHORIZED, "access forbidden");
            ([("www-authenticate", "Basic realm=\"weir\"")], answer).into_response()
        }
        None => message(StatusCode::FORBIDDEN, "access forbidden"),
    }
}

async fn stream(
    State(lapi): State<Lapi>,
    Extension(Caller(caller)): Extension<Caller>,
    request: Request,
) -> Response {
    let filter = match Filter::parse(request.uri().query().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(why) => return message(StatusCode::BAD_REQUEST, &why),
    };
    if request.method() == Method::HEAD {
        // Whether it may ask; it has been told nothing.
        return StatusCode::OK.into_response();
    }
    let make = move || json(&lapi.0.cursors.tell(caller, &lapi.look(), &filter));
    pack::answer(request.headers(), JSON, make).await
}

async fn decisions(State(lapi): State<Lapi>, request: Request) -> Response {
    let filter = match Filter::parse(request.uri().query().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(why) => return message(StatusCode::BAD_REQUEST, &why),
    };
    pack::answer(request.headers(), JSON, move || json(&lapi.look().decisions(&filter))).await
}

async fn usage(
    State(lapi): State<Lapi>,
    Extension(Caller(caller)): Extension<Caller>,
    _headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(bytes) = body::to_bytes(body, BODY_BYTES_MAX).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or broke off");
    };
    match serde_json::from_slice::<Report>(&bytes) {
        Ok(report) => {
            report.count(lapi.0.keys.name(caller), &lapi.0.reported);
            StatusCode::CREATED.into_response()
        }
        Err(error) => message(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// Returns an answer that says why there is none.
fn message(status: StatusCode, text: &str) -> Response {
    let body = json(&serde_json::json!({ "message": text }));
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Texts and numbers: this cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}
