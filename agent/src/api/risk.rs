//! `/v1/risk`: what a source has done lately.

use std::net::IpAddr;

use axum::{Router, extract::State, response::Response, routing::get};
use serde::{Deserialize, Serialize};

use super::{Part, Problem, page};
use crate::{config::l7::escalation::Mode, escalate::Ladder};

/// What a source has done, beside the bounds of what follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Whose; an IPv6 source is the /64 around it.
    pub address: IpAddr,
    /// How much, less what is forgotten.
    pub risk: f64,
    /// Whether anything follows.
    pub mode: Mode,
    /// From this risk on requests are challenged.
    pub challenge_at: f64,
    /// From this risk on they are throttled.
    pub throttle_at: f64,
    /// From this risk on the source is banned.
    pub ban_at: f64,
}

pub(super) fn routes() -> Router<Ladder> {
    Router::new().route("/v1/risk/{address}", get(find))
}

impl View {
    /// Returns what the ladder knows of a source.
    pub(crate) fn of(ladder: &Ladder, address: IpAddr) -> Self {
        let (risk, settings) = (ladder.risk(address), ladder.settings());
        let (challenge_at, throttle_at, ban_at) =
            (settings.challenge_at, settings.throttle_at, settings.ban_at);
        Self { address, risk, mode: settings.mode, challenge_at, throttle_at, ban_at }
    }
}

async fn find(State(ladder): State<Ladder>, Part(address): Part) -> Result<Response, Problem> {
    let Ok(address) = address.parse() else {
        return Err(Problem::bad("address", address, "is no address").mend("write one like 192.0.2.7"));
    };
    page(&View::of(&ladder, address))
}
