//! `/v1/feeds`: what can be done with a feed. How feeds are, `weir feeds` reads from the record.

use axum::{
    Extension, Router,
    extract::{Path, State},
    response::Response,
    routing::post,
};
use serde::{Deserialize, Serialize};

use super::{Problem, page, peer::Peer};
use crate::{
    feed::{Feed, engine::Handle},
    record::FeedRecord,
};

/// What every page answers: the feed as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// The feed.
    pub feed: FeedRecord,
}

pub(super) fn routes() -> Router<Handle> {
    Router::new()
        .route("/v1/feeds/{name}/accept", post(accept))
        .route("/v1/feeds/{name}/refresh", post(refresh))
}

type Reply = Result<Response, Problem>;

async fn accept(
    State(feeds): State<Handle>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> Reply {
    peer.may_change()?;
    tracing::info!(feed = %name, by = ?peer, "list accepted");
    view(feeds.accept(&name).await)
}

async fn refresh(
    State(feeds): State<Handle>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> Reply {
    peer.may_change()?;
    view(feeds.refresh(&name).await)
}

fn view(feed: Result<Feed, String>) -> Reply {
    let feed = feed.map_err(|why| Problem::not_found(why).mend("`weir feeds` shows all"))?;
    page(&View { feed: FeedRecord::from(&feed) })
}
