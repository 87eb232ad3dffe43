//! The control API: HTTP and JSON on a Unix socket. docs/control.md is its reference.
//!
//! A route checks what it is asked and hands it to the one task that owns the datapath, through a
//! queue of few places. What cannot be served in time is answered 503, and then not done any more.
//! Everything a client can take up is bounded: connections, time, headers, bodies.

/// Errors as clients see them.
mod problem;
/// The way to the task that owns the datapath.
mod desk;
/// Who is at the other end.
mod peer;
/// The socket: made, guarded and served.
pub mod socket;
/// Bans and manual rules.
pub mod rules;
/// Feeds: read again, accept what was held back.
pub mod feeds;
/// What sources have done lately.
pub mod risk;
/// Sampled packets.
pub mod events;
/// Versions of the configuration, and what puts one in force.
pub mod policies;
/// How the host is, and what there is to ask.
pub mod status;
/// Who may ask, and how often.
mod guard;
/// The same over TCP.
pub mod tls;

use std::path::PathBuf;

use axum::{
    Router, body,
    extract::{FromRequestParts, Path, Request},
    http::{StatusCode, request::Parts},
    middleware,
    response::Response,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Duration, timeout};

pub use desk::{Answer, Ask, Desk, Job};
pub use policies::{PolicyDesk, PolicyJob};
pub use problem::Problem;

use crate::{audit::Audit, datapath::Pins, escalate::Ladder, feed::engine::Handle};

/// How long a request may take, body and answer of the owner included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest body of a request.
const BODY_BYTES_MAX: usize = 256 << 10;

/// What the pages are made of.
#[derive(Clone, Debug)]
pub struct Api {
    /// The way to the task that owns the datapath.
    pub desk: Desk,
    /// The same for configurations.
    pub policies: PolicyDesk,
    /// The way to feeds.
    pub feeds: Handle,
    /// What sources have done.
    pub ladder: Ladder,
    /// Sampled packets.
    pub events: events::Source,
    /// Where it is noted who has asked for what.
    pub audit: Audit,
    /// From where the state of the host is read.
    pub pins: Pins,
    /// Likewise: the state directory.
    pub state: PathBuf,
}

impl Api {
    /// Returns all routes. What a peer may ask in a second holds for all sockets that serve them.
    pub(crate) fn router(&self) -> Router {
        let long = policies::routes().with_state(self.policies.clone());
        Router::new()
            .merge(rules::routes().with_state(self.desk.clone()))
            .merge(feeds::routes().with_state((self.feeds.clone(), self.audit.clone())))
            .merge(risk::routes().with_state(self.ladder.clone()))
            .merge(events::routes().with_state(self.events.clone()))
            .merge(status::routes(self))
            .layer(middleware::from_fn(in_time))
            .merge(long.layer(middleware::from_fn(in_long_time)))
            .fallback(async || {
                Problem::not_found("no such page")
                    .mend("see docs/control.md or GET /v1/openapi.json for all of them")
            })
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this page has no such method")
            })
            .layer(middleware::from_fn_with_state(guard::Guard::new(self.audit.clone()), guard::guard))
    }
}

async fn in_time(request: Request, next: middleware::Next) -> Result<Response, Problem> {
    timeout(PATIENCE, next.run(request)).await.map_err(|_elapsed| Problem::late())
}

async fn in_long_time(request: Request, next: middleware::Next) -> Result<Response, Problem> {
    timeout(policies::PATIENCE, next.run(request)).await.map_err(|_elapsed| Problem::late())
}

/// The part of a path that a page is about.
struct Part(String);

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(part) = Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the path cannot be read: {rejection}"))
                .mend("escape UTF-8 with %")
        })?;
        Ok(Self(part))
    }
}

/// Reads a body of JSON.
async fn read<T: DeserializeOwned>(body: body::Body) -> Result<T, Problem> {
    let bytes = body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body cannot be read: {error}"))
            .mend(format!("send at most {BODY_BYTES_MAX} bytes, whole"))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::from_json(&error))
}

/// Returns a page of JSON.
fn page(value: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(problem::json(StatusCode::OK, text))
}

/// What is fuzzed of it.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    pub(crate) use super::{rules::fuzz as rules, tls::fuzz as certificate};
}

#[cfg(test)]
mod tests;
