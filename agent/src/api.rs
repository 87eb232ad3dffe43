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

use axum::{Router, body, extract::Request, http::StatusCode, middleware, response::Response};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Duration, timeout};

pub use desk::{Answer, Ask, Desk, Job};
pub use problem::Problem;

use crate::{escalate::Ladder, feed::engine::Handle};

/// How long a request may take, body and answer of the owner included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest body of a request.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Returns all routes.
pub(crate) fn router(desk: Desk, feeds: Handle, ladder: Ladder) -> Router {
    Router::new()
        .merge(rules::routes())
        .with_state(desk)
        .merge(feeds::routes().with_state(feeds))
        .merge(risk::routes().with_state(ladder))
        .fallback(async || Problem::not_found("no such page").mend("see docs/control.md for all of them"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this page has no such method")
        })
        .layer(middleware::from_fn(in_time))
}

async fn in_time(request: Request, next: middleware::Next) -> Result<Response, Problem> {
    timeout(PATIENCE, next.run(request)).await.map_err(|_elapsed| Problem::late())
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
