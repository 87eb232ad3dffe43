//! `/v1/events`: sampled packets, the last that the agent keeps, or as they come.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header::CONTENT_TYPE},
    response::Response,
    routing::get,
};
use hyper::body::{Body as HttpBody, Frame};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, sleep, timeout, timeout_at},
};

use super::{Problem, page};
use crate::{
    config::Prefix,
    events::{Events, Filter, KEPT, Line, Names, View, WATCHERS, Watcher},
    naming::Naming,
    telemetry::metrics::Metrics,
};

/// Events that are told where nobody says how many.
const LIMIT: usize = 100;
/// And before those that come, where they are followed.
const LIMIT_FOLLOWED: usize = 10;
/// How long a stream lasts: less than a connection does.
const STREAM: Duration = Duration::from_secs(50);
/// After so much silence an empty line says that there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Events that come within this time are told together.
const GATHER: Duration = Duration::from_millis(50);
/// Events in a piece of a stream.
const PIECE: usize = 256;
/// Pieces that wait for a slow reader. What comes meanwhile is kept by [`Events`], or lost.
const PIECES: usize = 2;
/// How long names are taken for those in force.
const NAMES_AGE_MAX: Duration = Duration::from_secs(2);

/// What the page without `follow` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Events, the oldest first.
    pub events: Vec<View>,
    /// The number of the last that came; `after` goes on from there.
    pub last: u64,
    /// Events after the number that was asked for that are not kept any more.
    pub lost: u64,
}

/// What the page is made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where events come in.
    pub events: Events,
    /// What is in force: for names.
    pub metrics: Arc<Metrics>,
    /// What sources are called.
    pub naming: Arc<Naming>,
    /// Changes when the agent stops.
    pub stopped: watch::Receiver<()>,
}

pub(super) fn routes() -> Router<Source> {
    Router::new().route("/v1/events", get(events))
}

async fn events(State(source): State<Source>, uri: Uri) -> Result<Response, Problem> {
    let asked = Asked::parse(uri.query().unwrap_or_default())?;
    if let Some(prefix) = asked.filter.source.filter(|prefix| !source.naming.may_ask(*prefix)) {
        let error = "is more than one address, and addresses are pseudonymous here";
        return Err(Problem::bad("source", prefix.to_string(), error).mend("name a single address"));
    }
    if !asked.follow {
        let batch = match asked.after {
            Some(after) => source.events.after(after, asked.limit.unwrap_or(LIMIT), &asked.filter),
            None => source.events.latest(asked.limit.unwrap_or(LIMIT), &asked.filter),
        };
        let names = source.metrics.names();
        let events = batch.events.iter().map(|seen| names.view(seen, &source.naming)).collect();
        return page(&Listing { events, last: batch.last, lost: batch.lost });
    }
    let Some(watcher) = source.events.watch() else {
        let error = format!("{WATCHERS} watch already");
        return Err(
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error).mend("end one of them, or try later")
        );
    };
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut stopped = source.stopped.clone();
        tokio::select! {
            // Whoever watches may be gone; that ends it too.
            _ = timeout(STREAM, Stream::new(source, asked, watcher, sender).run()) => {}
            _ = stopped.changed() => {}
        }
    });
    let mut response = Response::new(Body::new(Pieces(pieces)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// What is asked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    follow: bool,
    after: Option<u64>,
    limit: Option<usize>,
    filter: Filter,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (field, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let bad = |error: &str, mend: &str| Err(Problem::bad(&field, &*value, error).mend(mend));
            match field.as_ref() {
                "follow" => match &*value {
                    "true" => asked.follow = true,
                    "false" => asked.follow = false,
                    _ => return bad("is neither true nor false", "write true or false"),
                },
                "after" => match value.parse() {
                    Ok(number) => asked.after = Some(number),
                    Err(_) => return bad("is no number", "write the number of an event"),
                },
                "limit" => match value.parse() {
                    Ok(limit @ 0..=KEPT) => asked.limit = Some(limit),
                    Ok(_) | Err(_) => return bad("is no possible limit", "write 0 to 4096"),
                },
                "reason" => match Filter::reason(&value) {
                    Ok(reason) => asked.filter.reason = Some(reason),
                    Err(error) => return Err(Problem::bad(&field, &*value, error)),
                },
                "source" => match value.parse::<Prefix>() {
                    Ok(Prefix(prefix)) => asked.filter.source = Some(prefix),
                    Err(error) => return Err(Problem::bad(&field, &*value, error)),
                },
                _ => return bad("is nothing to ask for", "ask for follow, after, limit, reason or source"),
            }
        }
        Ok(asked)
    }
}

/// A stream to somebody who watches.
struct Stream {
    source: Source,
    asked: Asked,
    // Held for as long as it lasts.
    _watcher: Watcher,
    sender: mpsc::Sender<Bytes>,
    names: Names,
    named: Instant,
}

/// Whoever watched is gone.
struct Gone;

impl Stream {
    fn new(source: Source, asked: Asked, watcher: Watcher, sender: mpsc::Sender<Bytes>) -> Self {
        let names = source.metrics.names();
        Self { source, asked, _watcher: watcher, sender, names, named: Instant::now() }
    }

    /// Tells of events for a while, then where to go on.
    async fn run(mut self) -> Result<(), Gone> {
        let ends = Instant::now() + STREAM - HEARTBEAT;
        let first = self.asked.limit.unwrap_or(LIMIT_FOLLOWED);
        let batch = match self.asked.after {
            Some(after) => self.source.events.after(after, PIECE, &self.asked.filter),
            None => self.source.events.latest(first, &self.asked.filter),
        };
        let mut last = batch.last;
        self.tell(&batch.events, batch.lost).await?;
        while Instant::now() < ends {
            let beat = (Instant::now() + HEARTBEAT).min(ends);
            if timeout_at(beat, self.source.events.changed(last)).await.is_err() {
                self.send(vec![b'\n']).await?;
                continue;
            }
            sleep(GATHER).await;
            let batch = self.source.events.after(last, PIECE, &self.asked.filter);
            last = batch.last;
            self.tell(&batch.events, batch.lost).await?;
        }
        let mut piece = Vec::new();
        line(&mut piece, &Line::Next { next: last });
        self.send(piece).await
    }

    async fn tell(&mut self, events: &[crate::events::Seen], lost: u64) -> Result<(), Gone> {
        if events.is_empty() && lost == 0 {
            // Somebody who has gone is noticed when something is sent.
            return if self.sender.is_closed() { Err(Gone) } else { Ok(()) };
        }
        if self.named.elapsed() > NAMES_AGE_MAX {
            self.names = self.source.metrics.names();
            self.named = Instant::now();
        }
        let mut piece = Vec::new();
        if lost > 0 {
            line(&mut piece, &Line::Lost { lost });
        }
        for seen in events {
            let view = self.names.view(seen, &self.source.naming);
            line(&mut piece, &Line::Event(Box::new(view)));
        }
        self.send(piece).await
    }

    async fn send(&self, piece: Vec<u8>) -> Result<(), Gone> {
        self.sender.send(piece.into()).await.map_err(|_closed| Gone)
    }
}

fn line(piece: &mut Vec<u8>, line: &Line) {
    // Numbers and strings: this cannot fail, and memory does not run out of room without an abort.
    _ = serde_json::to_writer(&mut *piece, line);
    piece.push(b'\n');
}

/// The body of a stream: pieces as they come.
struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use weir_common::verdict::Reason;

    use super::*;

    #[test]
    fn what_is_asked_is_understood_or_refused_by_name() {
        let asked =
            Asked::parse("follow=true&after=7&limit=3&reason=ban&source=192.0.2.0%2F24").ok().unwrap();
        let filter = Filter { reason: Some(Reason::Ban), source: Some("192.0.2.0/24".parse().unwrap()) };
        assert_eq!(asked, Asked { follow: true, after: Some(7), limit: Some(3), filter });
        assert_eq!(Asked::parse("").ok(), Some(Asked::default()));
        for (query, field) in [
            ("follow=yes", "follow"),
            ("after=-1", "after"),
            ("limit=4097", "limit"),
            ("reason=rain", "reason"),
            ("source=192.0.2.7/24", "source"),
            ("colour=red", "colour"),
        ] {
            let problem = Asked::parse(query).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{problem}");
        }
    }
}
