//! `/v1/feeds`: what can be done with a feed. How feeds are, `weir feeds` reads from the record.

use axum::{Extension, Router, body::Body, extract::State, response::Response, routing::post};
use serde::{Deserialize, Serialize};

use super::{Part, Problem, page, peer::Peer, read};
use crate::{
    audit::{
        Audit, What,
        entry::{self, FeedChange},
    },
    feed::{Feed, engine::Handle},
    record::FeedRecord,
};

/// What every page answers: the feed as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// The feed.
    pub feed: FeedRecord,
}

/// What a source says of itself, a line a message.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// In the order in which they were said.
    pub lines: Vec<String>,
}

/// How many lines were taken.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// All that were sent.
    pub taken: usize,
}

pub(super) fn routes() -> Router<(Handle, Audit)> {
    Router::new()
        .route("/v1/feeds/{name}/accept", post(accept))
        .route("/v1/feeds/{name}/refresh", post(refresh))
        .route("/v1/feeds/{name}/lines", post(lines))
}

type Reply = Result<Response, Problem>;

async fn accept(
    State((feeds, audit)): State<(Handle, Audit)>,
    Extension(peer): Extension<Peer>,
    Part(name): Part,
) -> Reply {
    peer.may_change()?;
    let accepted = feeds.accept(&name).await;
    if let Ok(feed) = &accepted {
        tracing::info!(feed = %name, by = %peer.actor(), "list accepted");
        let (change, listing) = (FeedChange::Accepted, feed.listing.clone());
        audit.note(peer.actor(), What::Feed(entry::Feed { name, change, listing }));
    }
    view(accepted)
}

async fn refresh(
    State((feeds, _)): State<(Handle, Audit)>,
    Extension(peer): Extension<Peer>,
    Part(name): Part,
) -> Reply {
    peer.may_change()?;
    view(feeds.refresh(&name).await)
}

async fn lines(
    State((feeds, _)): State<(Handle, Audit)>,
    Extension(peer): Extension<Peer>,
    Part(name): Part,
    body: Body,
) -> Reply {
    peer.may_change()?;
    let Lines { lines } = read(body).await?;
    let taken = lines.len();
    feeds
        .push(&name, lines)
        .await
        .map_err(|why| Problem::not_found(why).mend("`weir feeds list` shows all"))?;
    page(&Taken { taken })
}

fn view(feed: Result<Feed, String>) -> Reply {
    let feed = feed.map_err(|why| Problem::not_found(why).mend("`weir feeds list` shows all"))?;
    page(&View { feed: FeedRecord::from(&feed) })
}
