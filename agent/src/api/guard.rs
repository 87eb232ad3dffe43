//! What stands in front of every page: who may ask, and how often.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use hyper::StatusCode;

use super::{
    Problem,
    peer::{Peer, Whose},
};
use crate::audit::Audit;

/// Requests of one peer: a second, and at once.
const PER_SECOND: u32 = 500;
const BURST: u32 = 2000;
/// Peers that are counted; those that have not asked for a while are forgotten.
const PEERS_MAX: usize = 1024;

/// How often peers have asked.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    audit: Audit,
    /// When the next request of a peer is due, if they came at an even pace (GCRA).
    due: Arc<Mutex<HashMap<Whose, Instant>>>,
}

impl Guard {
    pub(super) fn new(audit: Audit) -> Self {
        Self { audit, due: Arc::default() }
    }

    /// Takes note of a request at `now`. Returns false if there are too many of this peer.
    fn admits(&self, whose: Whose, now: Instant) -> bool {
        let step = Duration::from_secs(1) / PER_SECOND;
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= PEERS_MAX {
            // Who owes nothing has the same rights as who was never there.
            all.retain(|_, due| *due > now);
        }
        if all.len() >= PEERS_MAX && !all.contains_key(&whose) {
            return false;
        }
        let due = all.entry(whose).or_insert(now);
        let next = (*due).max(now) + step;
        let admitted = next.saturating_duration_since(now) <= step * BURST;
        if admitted {
            *due = next;
        }
        admitted
    }
}

/// Lets through who may read, at most so often; who may change, the pages ask.
pub(super) async fn guard(
    State(guard): State<Guard>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if !guard.admits(peer.whose(), Instant::now()) {
        return Problem::crowded().into_response();
    }
    let operation = operation(&request);
    let response = match peer.may_read() {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if response.status() == StatusCode::FORBIDDEN {
        guard.audit.forbidden(peer.actor(), operation);
    }
    response
}

/// Returns the method and the kind of page: what follows may be an address.
fn operation(request: &Request) -> String {
    let kind: Vec<&str> = request.uri().path().split('/').take(3).collect();
    let kind: String = kind.join("/").chars().filter(char::is_ascii_graphic).take(40).collect();
    format!("{} {kind}", request.method())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_peer_has_a_pace_of_its_own() {
        let guard = Guard::new(Audit::new().unwrap().0);
        let now = Instant::now();
        let burst = |whose: &Whose, now| (0..2 * BURST).filter(|_| guard.admits(whose.clone(), now)).count();
        let one = Whose::User(1);
        assert_eq!(burst(&one, now), BURST as usize);
        assert_eq!(burst(&one, now + Duration::from_secs(1)), PER_SECOND as usize);
        assert_eq!(burst(&Whose::Certificate("a".to_owned()), now), BURST as usize);
        for n in 0..2 * u32::try_from(PEERS_MAX).unwrap() {
            guard.admits(Whose::User(n), now + Duration::from_secs(1000 + u64::from(n)));
        }
        assert!(guard.due.lock().unwrap().len() <= PEERS_MAX);
    }

    #[test]
    fn an_operation_names_no_address() {
        let request =
            Request::builder().method("PUT").uri("/v1/rules/203.0.113.7?x=y").body(().into()).unwrap();
        assert_eq!(operation(&request), "PUT /v1/rules");
    }
}
