//! The HTTP listener for metrics and health.

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE, VARY},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task, time::timeout};

use super::{exposition::Exposition, metrics::Metrics};
use crate::datapath::Pins;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the pages need.
#[derive(Clone, Debug)]
pub struct Pages {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The pins, for readiness.
    pub pins: Pins,
}

/// Serves `/metrics`, `/healthz` and `/readyz` until `stop`.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn metrics(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let format = Exposition::wanted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let page = task::spawn_blocking(move || pages.metrics.page(format));
    match timeout(PATIENCE, page).await {
        Ok(Ok(Ok(page))) => ([(CONTENT_TYPE, format.content_type()), (VARY, "accept")], page).into_response(),
        Ok(Ok(Err(error))) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the counters could not be read in time\n").into_response()
        }
    }
}

/// Ready means: a policy is in force on every interface of the configuration.
async fn ready(State(pages): State<Pages>) -> Response {
    let not_ready = |text| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    if !pages.pins.exist() {
        return not_ready("unloaded: nothing is enforced until weir is restarted\n".to_owned());
    }
    let (linked, view) = (pages.pins.linked(), pages.metrics.view());
    let attached = view.interfaces.into_iter().map(|interface| interface.interface);
    let missing: Vec<String> =
        attached.filter(|interface| !linked.contains(interface)).chain(view.missing).collect();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        let names = missing.join(", ");
        not_ready(format!(
            "not attached: {names}; it is tried again, `weir status` and the log say why not\n"
        ))
    }
}
