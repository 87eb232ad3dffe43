//! `/v1/rules`: bans and manual rules.

use std::time::{Duration, SystemTime};

use axum::{
    Extension, Router, body::Body, extract::State, http::StatusCode, response::Response, routing::get,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Answer, Ask, Desk, Part, Problem, page, peer::Peer, read};
use crate::{
    config::{Lasts, Prefix},
    rules::{Action, Author, Profile, Rule, Wanted, canonical},
};

/// Rules in one request.
pub const BATCH_MAX: usize = 1000;
/// Characters of a note.
pub const NOTE_MAX: usize = 200;
/// Widest prefixes that a rule may have.
const V4_LENGTH_MIN: u8 = 8;
const V6_LENGTH_MIN: u8 = 16;
/// How long a rule lasts that does not say it.
pub const LASTS: Duration = Duration::from_hours(1);

/// A rule that somebody wants, as they send it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Address or prefix; in a PUT the path says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What happens to its packets.
    pub action: Action,
    /// For `throttle`: to which pace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// For `ban`: count what it would drop.
    #[serde(default)]
    pub shadow: bool,
    /// For `ban` and `allow`: for proxies only, the kernel does not know it.
    #[serde(default)]
    pub proxy_only: bool,
    /// How long.
    #[serde(default)]
    pub seconds: Seconds,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// How long a rule lasts: a number, or the word `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "seconds must be a whole number, or \"forever\"")]
pub enum Seconds {
    /// So many seconds.
    Number(u64),
    /// Until it is lifted.
    Word(Forever),
}

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forever {
    /// Until it is lifted.
    Forever,
}

impl Default for Seconds {
    fn default() -> Self {
        Self::Number(LASTS.as_secs())
    }
}

impl From<Lasts> for Seconds {
    fn from(Lasts(lasts): Lasts) -> Self {
        lasts.map_or(Self::Word(Forever::Forever), |lasts| Self::Number(lasts.as_secs()))
    }
}

/// Several orders, which are carried out together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// At most [`BATCH_MAX`].
    pub rules: Vec<Order>,
}

/// What every page answers: the rules that were asked for, set or lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Rules.
    pub rules: Vec<View>,
    /// What whoever asked should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A rule and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Seconds until it ends; nothing: it has no end.
    pub seconds_left: Option<u64>,
}

impl From<Answer> for Listing {
    fn from(Answer { rules, warnings }: Answer) -> Self {
        let now = SystemTime::now();
        let view = |rule: Rule| View { seconds_left: rule.left(now).map(|left| left.as_secs()), rule };
        Self { rules: rules.into_iter().map(view).collect(), warnings }
    }
}

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/rules", get(list).post(set_many))
        .route("/v1/rules/{*prefix}", get(find).put(set).delete(lift))
}

type Reply = Result<Response, Problem>;

async fn list(State(desk): State<Desk>) -> Reply {
    page(&Listing::from(desk.ask(Ask::List).await?))
}

async fn find(State(desk): State<Desk>, Part(prefix): Part) -> Reply {
    page(&Listing::from(desk.ask(Ask::Get(parse("prefix", &prefix)?)).await?))
}

async fn set(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    Part(prefix): Part,
    body: Body,
) -> Reply {
    peer.may_change()?;
    let order: Order = read(body).await?;
    if order.prefix.as_ref().is_some_and(|other| *other != prefix) {
        return Err(Problem::bad(
            "prefix",
            order.prefix.unwrap_or_default(),
            "is not the prefix of the path",
        ));
    }
    let wanted = order.wanted("", &prefix)?;
    change(&desk, &peer, Ask::Set(vec![wanted])).await
}

async fn set_many(State(desk): State<Desk>, Extension(peer): Extension<Peer>, body: Body) -> Reply {
    peer.may_change()?;
    let Orders { rules } = read(body).await?;
    if rules.is_empty() || rules.len() > BATCH_MAX {
        let problem = Problem::bad("rules", rules.len().to_string(), "so many rules are none, or too many");
        return Err(problem.mend(format!("send 1 to {BATCH_MAX} at a time")));
    }
    let wanted = rules.into_iter().enumerate().map(|(i, order)| {
        let prefix = order.prefix.clone().unwrap_or_default();
        order.wanted(&format!("rules[{i}]."), &prefix)
    });
    change(&desk, &peer, Ask::Set(wanted.collect::<Result<_, _>>()?)).await
}

async fn lift(State(desk): State<Desk>, Extension(peer): Extension<Peer>, Part(prefix): Part) -> Reply {
    peer.may_change()?;
    change(&desk, &peer, Ask::Lift(parse("prefix", &prefix)?)).await
}

/// Who did what is news; to whom is nobody's business above `debug`.
async fn change(desk: &Desk, peer: &Peer, ask: Ask) -> Reply {
    let (what, rules) = match &ask {
        Ask::Set(wanted) => (wanted.first().map_or("none", |wanted| wanted.action.as_str()), wanted.len()),
        Ask::Lift(_) | Ask::Withdraw(..) => ("lift", 1),
        Ask::List | Ask::Get(_) => ("read", 0),
    };
    let answer = desk.ask_as(peer.actor(), ask).await;
    let result = answer.as_ref().map_or_else(|problem| problem.status.as_u16(), |_| 200);
    tracing::info!(by = %peer.actor(), what, rules, result, "rules");
    page(&Listing::from(answer?))
}

impl Order {
    /// Checks the order. `at` names it in errors.
    fn wanted(self, at: &str, prefix: &str) -> Result<Wanted, Problem> {
        let Self { prefix: _, action, profile, shadow, proxy_only, seconds, note } = self;
        let prefix = parse(&format!("{at}prefix"), prefix)?;
        if profile.is_some() && action != Action::Throttle {
            let problem = Problem::bad(&format!("{at}profile"), action.as_str(), "has no profile");
            return Err(problem.mend("leave it out, or use `throttle`"));
        }
        if shadow && action != Action::Ban {
            let problem = Problem::bad(&format!("{at}shadow"), action.as_str(), "has no shadow mode");
            return Err(problem.mend("leave it out, or use `ban`"));
        }
        if proxy_only && action == Action::Throttle {
            let problem =
                Problem::bad(&format!("{at}proxy_only"), action.as_str(), "is a pace of the kernel's limits");
            return Err(problem.mend("leave it out, or use `ban`"));
        }
        let lasts = match seconds {
            Seconds::Word(Forever::Forever) => None,
            Seconds::Number(number @ 1..) if Duration::from_secs(number) <= Lasts::MAX => {
                Some(Duration::from_secs(number))
            }
            Seconds::Number(number) => {
                let problem =
                    Problem::bad(&format!("{at}seconds"), number.to_string(), "is no time for a rule");
                let most = Lasts::MAX.as_secs();
                return Err(problem.mend(format!("write 1 to {most}, or \"forever\"")));
            }
        };
        if note.chars().count() > NOTE_MAX || note.chars().any(char::is_control) {
            let problem = Problem::bad(&format!("{at}note"), "", "the note is too long, or more than a line");
            return Err(problem.mend(format!("write at most {NOTE_MAX} characters")));
        }
        let profile = profile.unwrap_or_default();
        Ok(Wanted { prefix, action, profile, shadow, lasts, note, by: Author::Operator, proxy_only })
    }
}

/// Reads a prefix that a rule may have.
pub(crate) fn parse(field: &str, text: &str) -> Result<IpNet, Problem> {
    let Prefix(prefix) = text.parse().map_err(|error: String| Problem::bad(field, text, error))?;
    let prefix = canonical(prefix);
    let least = match prefix {
        IpNet::V4(_) => V4_LENGTH_MIN,
        IpNet::V6(_) => V6_LENGTH_MIN,
    };
    if prefix.prefix_len() < least {
        let problem = Problem::bad(field, text, format!("is wider than /{least}"));
        return Err(problem.mend("put what is meant for so many into a list, or use `enforce`"));
    }
    Ok(prefix)
}

/// Returns the problem of a ban that would cut off what it must not.
pub(crate) fn conflict(prefix: IpNet, entry: IpNet, whose: &str, mend: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("meets {entry} ({whose}), which must not be cut off"))
        .field("prefix")
        .value(prefix.to_string())
        .mend(mend)
}

/// Any body of a request for rules, and any prefix in a path. What is refused says which field.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    if let Ok(Orders { rules }) = serde_json::from_slice(input) {
        for order in rules {
            let prefix = order.prefix.clone().unwrap_or_default();
            match order.wanted("rules[0].", &prefix) {
                Ok(wanted) => assert!(wanted.lasts.is_none_or(|lasts| lasts <= Lasts::MAX)),
                Err(problem) => assert!(!format!("{problem:?}").is_empty()),
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(prefix) = parse("prefix", text)
    {
        assert_eq!(parse("prefix", &prefix.to_string()).ok(), Some(prefix));
    }
}
