//! `/v1/status`: what `weir status` shows; `/v1/audit`: where the audit has come to; and what there is
//! to ask.

use std::path::PathBuf;

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use tokio::task;

use super::{Api, Problem, page, problem};
use crate::{audit::Audit, datapath::Pins, status};

/// The description of all pages, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// From where the state of the host is read.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pins: Pins,
    state: PathBuf,
    audit: Audit,
}

pub(super) fn routes(api: &Api) -> Router {
    let (pins, state, audit) = (api.pins.clone(), api.state.clone(), api.audit.clone());
    Router::new()
        .route("/v1/status", get(read))
        .route("/v1/audit", get(head))
        .route("/v1/openapi.json", get(async || problem::json(StatusCode::OK, OPENAPI.into())))
        .with_state(Places { pins, state, audit })
}

async fn read(State(places): State<Places>) -> Result<Response, Problem> {
    let failed = |why: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    let status = task::spawn_blocking(move || {
        status::read(&places.pins, &places.state).map(|status| status.heard(true))
    });
    let status = status.await.map_err(|error| failed(error.to_string()))?;
    page(&status.map_err(|error| failed(error.to_string()))?)
}

async fn head(State(places): State<Places>) -> Result<Response, Problem> {
    page(&places.audit.head())
}
