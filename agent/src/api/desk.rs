use ipnet::IpNet;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, timeout},
};

use super::Problem;
use crate::{
    audit::Actor,
    rules::{Author, Rule, Wanted},
};

/// Requests that may wait for the owner of the datapath.
const PLACES: usize = 64;
/// How long one waits there; less than a request may take, so that the client is told which it was.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the owner of the datapath is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All rules.
    List,
    /// The rule of this prefix.
    Get(IpNet),
    /// Put these in force, all or none.
    Set(Vec<Wanted>),
    /// Lift the rule of this prefix.
    Lift(IpNet),
    /// Lift the rule of this prefix if it is still that of this author; else nothing happens.
    Withdraw(IpNet, Author),
}

impl Ask {
    /// Returns whose wish it is, where the wish says so.
    fn author(&self) -> Option<&Author> {
        match self {
            Self::Set(wanted) => wanted.first().map(|wanted| &wanted.by),
            Self::Withdraw(_, author) => Some(author),
            Self::List | Self::Get(_) | Self::Lift(_) => None,
        }
    }
}

/// What it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The rules that were asked for, set or lifted.
    pub rules: Vec<Rule>,
    /// What whoever asked should know.
    pub warnings: Vec<String>,
}

/// A request, and where the answer is waited for.
#[derive(Debug)]
pub struct Job {
    /// What is asked.
    pub ask: Ask,
    /// Who asks.
    pub actor: Actor,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Answer, Problem>>,
}

/// Where requests are handed in.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Job>);

impl Desk {
    /// Returns the desk, and the end at which the owner of the datapath takes requests from it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Job>) {
        let (sender, receiver) = mpsc::channel(PLACES);
        (Self(sender), receiver)
    }

    /// Asks in the name of whoever wants it, as the rules say, and waits for the answer.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Problem> {
        let actor = ask.author().map_or(Actor::Agent, Actor::from);
        self.ask_as(actor, ask).await
    }

    /// Asks in somebody's name and waits for the answer. Whoever gives up waiting is no longer served.
    pub(crate) async fn ask_as(&self, actor: Actor, ask: Ask) -> Result<Answer, Problem> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(Job { ask, actor, reply }).await.ok()?;
            answer.await.ok()
        };
        // Nothing comes back from an agent that is about to end.
        timeout(PATIENCE, asked).await.ok().flatten().unwrap_or_else(|| Err(Problem::late()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_and_no_longer_served() {
        let (desk, mut jobs) = Desk::new();
        let asks = (0..2 * PLACES).map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.ask(Ask::List).await })
        });
        for ask in asks.collect::<Vec<_>>() {
            assert_eq!(ask.await.unwrap().unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        }
        // No more than have a place, and nobody waits for them.
        let waiting: Vec<Job> = std::iter::from_fn(|| jobs.try_recv().ok()).collect();
        assert_eq!(waiting.len(), PLACES);
        assert!(waiting.iter().all(|job| job.reply.is_closed()));
        drop(jobs);
        assert!(desk.ask(Ask::List).await.is_err());
    }
}
