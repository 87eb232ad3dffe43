//! Own bans for a LAPI of `CrowdSec`, which passes them on to all of its bouncers.
//!
//! The agent is a machine there (`cscli machines add`): it logs in, posts an alert with a decision for
//! each ban, and deletes the decision when the ban is lifted. What it has told is asked for at the start,
//! so that nothing is told twice. Bans of other gateways are theirs to tell, and feeds are no bans: what
//! this agent reads from the same LAPI never comes back to it.
//!
//! The contract is `pkg/models/localapi_swagger.yaml` of `CrowdSec`, 1.4 to 1.7.

/// What is said.
mod message;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use reqwest::{Client, Method, StatusCode};
use tokio::task;
use url::Url;

use super::http;
use crate::{
    config::l7::push,
    feed::source::http::secret,
    proxy::{
        lapi::decision::place,
        share::{Board, Piece},
    },
    rules::Author,
};
use message::{Alert, Login, Told};

/// Alerts of one request.
const TOGETHER_MAX: usize = 50;
/// How long one round lasts; what is left then comes in the next.
const ROUND: Duration = Duration::from_secs(20);
/// A token is not used for so long as it could be.
const TOKEN_AGE_MAX: Duration = Duration::from_mins(30);
/// Ends that are told and read back differ by some seconds.
const SLACK_SECONDS: u64 = 10;

/// A LAPI, and what it has been told.
#[derive(Debug)]
pub(super) struct Crowdsec {
    config: push::Crowdsec,
    session: Option<Session>,
    /// Prefixes and their ends in seconds since 1970; nothing: it is to be asked.
    told: Option<BTreeMap<IpNet, u64>>,
}

#[derive(Clone, Debug)]
struct Session {
    client: Client,
    token: String,
    since: Instant,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// There was nothing to tell.
    Idle,
    /// It knows all of so many bans.
    Done(usize),
    /// There is more to tell.
    More,
}

impl Crowdsec {
    pub(super) fn new(config: &push::Crowdsec) -> Self {
        Self { config: config.clone(), session: None, told: None }
    }

    /// Tells it what is different from what it knows.
    ///
    /// # Errors
    /// Why it could not be told all; the rest is told in the next round.
    pub(super) async fn tell(&mut self, board: &Board, shadow: bool, now: u64) -> Result<Round, String> {
        let result = self.round(board, shadow, now).await;
        if result.is_err() {
            // What has arrived is not known, and the token may be what was wrong.
            (self.session, self.told) = (None, None);
        }
        result
    }

    async fn round(&mut self, board: &Board, shadow: bool, now: u64) -> Result<Round, String> {
        let started = Instant::now();
        let session = self.session().await?;
        let mut told = match self.told.take() {
            Some(told) => told,
            None => self
                .ask(&session, None)
                .await?
                .into_iter()
                .map(|told| (told.prefix, told.until(now)))
                .collect(),
        };
        told.retain(|_, until| *until > now);
        let wanted: BTreeMap<IpNet, &Piece> = wanted(board, shadow, now);
        let lifted: Vec<IpNet> =
            told.keys().filter(|prefix| !wanted.contains_key(*prefix)).copied().collect();
        let unknown = |(prefix, piece): &(&IpNet, &&Piece)| {
            told.get(*prefix).is_none_or(|until| until.abs_diff(piece.until(now)) > SLACK_SECONDS)
        };
        let news: Vec<&Piece> = wanted.iter().filter(unknown).map(|(_, piece)| *piece).collect();
        if lifted.is_empty() && news.is_empty() {
            self.told = Some(told);
            return Ok(Round::Idle);
        }
        for some in news.chunks(TOGETHER_MAX) {
            if started.elapsed() > ROUND {
                self.told = Some(told);
                return Ok(Round::More);
            }
            self.set(&session, some, &mut told, now).await?;
        }
        for prefix in lifted {
            if started.elapsed() > ROUND {
                self.told = Some(told);
                return Ok(Round::More);
            }
            let decisions = self.ask(&session, Some(prefix)).await?;
            self.delete(&session, &decisions).await?;
            told.remove(&prefix);
        }
        self.told = Some(told);
        Ok(Round::Done(wanted.len()))
    }

    /// Tells of some bans. What it knows otherwise is deleted after: no bouncer need let go in between.
    async fn set(
        &self,
        session: &Session,
        pieces: &[&Piece],
        told: &mut BTreeMap<IpNet, u64>,
        now: u64,
    ) -> Result<(), String> {
        let mut old = Vec::new();
        for piece in pieces.iter().filter(|piece| told.contains_key(&piece.prefix)) {
            old.extend(self.ask(session, Some(piece.prefix)).await?);
        }
        let alerts: Vec<Alert> = pieces.iter().map(|piece| Alert::new(piece, now)).collect();
        let body = serde_json::to_vec(&alerts).map_err(|error| error.to_string())?;
        let request = http::json(&session.client, Method::POST, self.page("alerts"), body);
        match http::send(request.bearer_auth(&session.token)).await? {
            (StatusCode::CREATED | StatusCode::OK, _) => {}
            (status, body) => return Err(self.refused(status, &body)),
        }
        told.extend(pieces.iter().map(|piece| (piece.prefix, piece.until(now))));
        self.delete(session, &old).await
    }

    /// Asks for own decisions in force: about one prefix, or all.
    async fn ask(&self, session: &Session, about: Option<IpNet>) -> Result<Vec<Told>, String> {
        let mut url = self.page("alerts");
        url.query_pairs_mut().extend_pairs([("has_active_decision", "true"), ("limit", "0")]);
        if let Some(prefix) = about {
            let (scope, value) = place(prefix);
            url.query_pairs_mut().extend_pairs([("scope", scope), ("value", &value)]);
        }
        match http::send(session.client.get(url).bearer_auth(&session.token)).await? {
            (StatusCode::OK, body) => {
                let mut found = message::told(&body, &self.config.machine)?;
                found.retain(|told| about.is_none_or(|prefix| told.prefix == prefix));
                Ok(found)
            }
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    async fn delete(&self, session: &Session, decisions: &[Told]) -> Result<(), String> {
        for told in decisions {
            let request = session.client.delete(self.page(&format!("decisions/{}", told.id)));
            match http::send(request.bearer_auth(&session.token)).await? {
                // It has ended, or somebody else has deleted it.
                (StatusCode::NOT_FOUND, _) => {}
                (status, _) if status.is_success() => {}
                (status, body) => return Err(self.refused(status, &body)),
            }
        }
        Ok(())
    }

    /// Logs in, where that is needed.
    async fn session(&mut self) -> Result<Session, String> {
        if let Some(session) = self.session.as_ref().filter(|it| it.since.elapsed() < TOKEN_AGE_MAX) {
            return Ok(session.clone());
        }
        let config = self.config.clone();
        let prepared = task::spawn_blocking(move || {
            let (password, exposed) = secret::line(&config.password_file)
                .map_err(|why| format!("{}: {why}", config.password_file.display()))?;
            Ok::<_, String>((password, exposed, http::client(config.ca.as_deref())?))
        });
        let (password, exposed, client) = prepared.await.map_err(|_| "the agent stops".to_owned())??;
        if exposed && self.session.is_none() {
            tracing::warn!(file = %self.config.password_file.display(),
                "others may read this password; chmod 640 it");
        }
        let body = serde_json::to_vec(&Login::new(&self.config.machine, &password));
        let body = body.map_err(|error| error.to_string())?;
        let request = http::json(&client, Method::POST, self.page("watchers/login"), body);
        let token = match http::send(request).await? {
            (StatusCode::OK, body) => message::token(&body)?,
            (status, body) => return Err(self.refused(status, &body)),
        };
        let session = Session { client, token, since: Instant::now() };
        self.session = Some(session.clone());
        Ok(session)
    }

    fn page(&self, name: &str) -> Url {
        http::below(&self.config.url, &format!("v1/{name}"))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> String {
        let said = http::excerpt(body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("refuses machine `{}` ({status} `{said}`); look at its password", self.config.machine)
            }
            _ => format!("the LAPI answers {status} `{said}`"),
        }
    }
}

/// Returns the bans that are this gateway's own.
fn wanted(board: &Board, shadow: bool, now: u64) -> BTreeMap<IpNet, &Piece> {
    let own = |piece: &&Piece| {
        let own = matches!(piece.rule.by, Author::Operator | Author::Escalation);
        !shadow && own && piece.is_ban() && piece.is_live(now)
    };
    board.pieces.iter().filter(own).map(|piece| (piece.prefix, piece)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proxy::share::tests::rule,
        rules::{Action, Bulletin, Rule},
    };

    #[test]
    fn only_own_bans_are_told() {
        let bulletin = Bulletin::default();
        let by = |prefix: &str, by| Rule { by, ..rule(prefix, Action::Ban) };
        let rules = [
            by("192.0.2.1/32", Author::Operator),
            by("192.0.2.2/32", Author::Escalation),
            by("192.0.2.3/32", Author::Fleet("b".to_owned())),
            Rule { shadow: true, ..rule("192.0.2.4/32", Action::Ban) },
            rule("192.0.2.5/32", Action::Throttle),
            Rule { until: Some(5), ..rule("192.0.2.6/32", Action::Ban) },
        ];
        bulletin.post(rules.iter());
        let board = Board::read(&bulletin);
        let own: Vec<String> = wanted(&board, false, 5).keys().map(ToString::to_string).collect();
        assert_eq!(own, ["192.0.2.1/32", "192.0.2.2/32"]);
        assert!(wanted(&board, true, 5).is_empty());
    }
}
