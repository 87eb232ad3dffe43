//! `/v1/policies`: versions of the configuration, and what puts one in force.

use std::{
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use axum::{
    Extension, Router,
    body::{self, Body},
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task,
    time::{Duration, timeout},
};

use super::{Problem, page, peer::Peer, rules::NOTE_MAX};
use crate::{
    audit::Actor,
    config,
    versions::{By, Proposal, Saved, Version, VersionError, Versions, file::SIGNATURE_BYTES_MAX},
};

/// How long a request may take: lists of feeds that are new to the agent are read meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);
/// How long it may wait for the owner of the datapath.
const ANSWER_PATIENCE: Duration = Duration::from_secs(45);
/// Largest body: a configuration whose every byte is escaped.
const BODY_BYTES_MAX: usize = (8 << 20) + (16 << 10);
const _: () = assert!(BODY_BYTES_MAX as u64 > 2 * config::FILE_BYTES_MAX);
/// Bytes of what a file is called.
const NAME_MAX: usize = 200;

/// A configuration to be put in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// Its text, in YAML.
    pub text: String,
    /// What it is called in errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What its `.minisig` file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// How.
    #[serde(flatten)]
    pub manner: Manner,
}

/// A version to go back to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its number; nothing: the one before the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How.
    #[serde(flatten)]
    pub manner: Manner,
}

/// How a configuration is put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// Why; the history shows it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Only say whether it could be.
    #[serde(default)]
    pub dry_run: bool,
    /// Leave the configuration file alone, so that the next start, or reload, ends it.
    #[serde(default)]
    pub until_restart: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The version that is in force; of a dry run that which would be.
    pub policy: Option<Version>,
    /// It is another than before.
    pub changed: bool,
    /// Nothing was done.
    pub dry_run: bool,
    /// What whoever asked should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// All versions that are kept, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The first is the one that was put in force last.
    pub policies: Vec<Version>,
}

/// A version with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What is known of it.
    pub policy: Version,
    /// The text of the configuration.
    pub text: String,
    /// What its `.minisig` file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl History {
    /// Returns that of a state directory.
    #[must_use]
    pub fn of(versions: &Versions) -> Self {
        Self { policies: versions.iter().cloned().collect() }
    }
}

impl Shown {
    /// Returns a version of a state directory.
    ///
    /// # Errors
    /// [`VersionError`]
    pub fn of(versions: &Versions, number: u64) -> Result<Self, VersionError> {
        let Saved { text, signature } = versions.load(number)?;
        Ok(Self { policy: versions.get(number)?.clone(), text, signature })
    }
}

/// What the owner of the datapath is asked.
#[derive(Debug)]
pub enum Change {
    /// Put this in force.
    Apply(Box<Proposal>),
    /// Go back to a version; nothing: the one before the present.
    Rollback(Option<u64>),
}

/// A request, and where the answer is waited for.
#[derive(Debug)]
pub struct PolicyJob {
    /// What is asked.
    pub change: Change,
    /// How.
    pub manner: Manner,
    /// By whom, for the history.
    pub by: By,
    /// And for the audit.
    pub actor: Actor,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Applied, Problem>>,
}

/// Where policies are handed in, one at a time.
#[derive(Clone, Debug)]
pub struct PolicyDesk {
    jobs: mpsc::Sender<PolicyJob>,
    /// Held while a body is read and served: configurations are large.
    place: Arc<Semaphore>,
    state: Arc<FilePath>,
}

impl PolicyDesk {
    /// Returns the desk, and the end at which the owner of the datapath takes requests from it.
    /// Versions are read from the state directory.
    #[must_use]
    pub fn new(state: &FilePath) -> (Self, mpsc::Receiver<PolicyJob>) {
        let (jobs, receiver) = mpsc::channel(1);
        (Self { jobs, place: Arc::new(Semaphore::new(1)), state: state.into() }, receiver)
    }

    async fn ask(
        &self,
        change: Change,
        manner: Manner,
        (by, actor): (By, Actor),
    ) -> Result<Applied, Problem> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.jobs.send(PolicyJob { change, manner, by, actor, reply }).await.ok()?;
            answer.await.ok()
        };
        timeout(ANSWER_PATIENCE, asked).await.ok().flatten().unwrap_or_else(|| Err(Problem::late()))
    }
}

pub(super) fn routes() -> Router<PolicyDesk> {
    Router::new()
        .route("/v1/policies", get(list).post(apply))
        .route("/v1/policies/rollback", post(rollback))
        .route("/v1/policies/{version}", get(show))
}

type Reply = Result<Response, Problem>;

async fn list(State(desk): State<PolicyDesk>) -> Reply {
    page(&blocking(move || Ok(History::of(&Versions::open(&desk.state)))).await?)
}

async fn show(State(desk): State<PolicyDesk>, Path(version): Path<String>) -> Reply {
    let Ok(number) = version.parse() else {
        return Err(Problem::bad("version", version, "is no number of a version"));
    };
    let shown = move || Shown::of(&Versions::open(&desk.state), number).map_err(Problem::from);
    page(&blocking(shown).await?)
}

async fn apply(State(desk): State<PolicyDesk>, Extension(peer): Extension<Peer>, body: Body) -> Reply {
    peer.may_change()?;
    let _place = desk.place.acquire().await;
    let Apply { text, file, signature, manner } = read(body).await?;
    manner.check()?;
    let file = file.filter(|file| file.len() <= NAME_MAX && !file.chars().any(char::is_control));
    let name = PathBuf::from(file.unwrap_or_else(|| "policy".to_owned()));
    if text.len() as u64 > config::FILE_BYTES_MAX {
        let problem = Problem::bad("text", "", format!("has {} bytes", text.len()));
        return Err(problem.mend(format!("send at most {} bytes", config::FILE_BYTES_MAX)));
    }
    if signature.as_ref().is_some_and(|signature| signature.len() as u64 > SIGNATURE_BYTES_MAX) {
        let problem = Problem::bad("signature", "", "is no signature of minisign: it is too long");
        return Err(problem.mend("send the contents of the .minisig file"));
    }
    let actor = peer.actor();
    let proposed = move || {
        let proposal = Proposal::of(&name, text, signature)?;
        Ok((proposal, who(actor)))
    };
    let (proposal, who) = blocking(proposed).await?;
    page(&desk.ask(Change::Apply(Box::new(proposal)), manner, who).await?)
}

async fn rollback(State(desk): State<PolicyDesk>, Extension(peer): Extension<Peer>, body: Body) -> Reply {
    peer.may_change()?;
    let _place = desk.place.acquire().await;
    let Rollback { version, manner } = read(body).await?;
    manner.check()?;
    let actor = peer.actor();
    let who = blocking(move || Ok(who(actor))).await?;
    page(&desk.ask(Change::Rollback(version), manner, who).await?)
}

/// Returns who asks, in the words of the history too. The name of a user may take a while.
fn who(actor: Actor) -> (By, Actor) {
    let by = match &actor {
        Actor::Peer { uid, .. } => By::user(*uid),
        Actor::Agent | Actor::Signal(_) | Actor::Certificate(_) | Actor::Escalation | Actor::Fleet(_) => {
            By { by: actor.to_string(), uid: None }
        }
    };
    (by, actor)
}

impl Manner {
    fn check(&self) -> Result<(), Problem> {
        if self.note.chars().count() <= NOTE_MAX && !self.note.chars().any(char::is_control) {
            return Ok(());
        }
        let problem = Problem::bad("note", "", "the note is too long, or more than a line");
        Err(problem.mend(format!("write at most {NOTE_MAX} characters")))
    }
}

impl From<VersionError> for Problem {
    fn from(error: VersionError) -> Self {
        let status = match error {
            VersionError::None(_) | VersionError::First | VersionError::Never(_) => StatusCode::NOT_FOUND,
            VersionError::Unreadable { .. } | VersionError::Unlisted { .. } | VersionError::Changed(_) => {
                StatusCode::CONFLICT
            }
        };
        Self::new(status, error.to_string())
    }
}

/// Reads a body that is larger than those of other pages.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body cannot be read: {error}"))
            .mend(format!("send at most {BODY_BYTES_MAX} bytes, whole"))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::from_json(&error))
}

/// Does what waits for disks or takes its time where nobody else is kept by it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::late()))
}
