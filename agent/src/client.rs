//! The control API from the other end: for commands, one request after the other.

/// Answers that come line by line.
mod stream;

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use axum::body::{Body, to_bytes};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, runtime, time::timeout};

use crate::api::Problem;

/// How long an answer may take: longer than the agent takes to say that it is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is waited where the agent says that it is asked too much, and how often.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES_MAX: u32 = 30;
/// Largest answer: a full table of rules, each with a long note.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no agent answers at {}: {error}; start one with `weir run`, or name its socket with --socket \
         (`listen.control` in its configuration)",
        socket.display()
    )]
    NotRunning { socket: PathBuf, error: io::Error },
    #[error("{}: {error}; be root, or in the group of the socket", socket.display())]
    Forbidden { socket: PathBuf, error: io::Error },
    #[error(
        "the agent does not answer within {0:?}; `weir bans` and `weir policy history` say what is in force"
    )]
    Late(Duration),
    #[error("{0}")]
    Refused(Problem),
    #[error("talk to the agent: {0}")]
    Talk(String),
}

/// A connection to the agent.
pub(crate) struct Client {
    runtime: runtime::Runtime,
    requests: SendRequest<Body>,
    patience: Duration,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> Result<Self, ClientError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(talk)?;
        let connected = async {
            let stream = UnixStream::connect(socket).await.map_err(|error| {
                let socket = socket.to_owned();
                let kind = error.kind();
                if kind == io::ErrorKind::PermissionDenied {
                    ClientError::Forbidden { socket, error }
                } else if kind == io::ErrorKind::WouldBlock {
                    // So many wait already that the kernel takes no more.
                    ClientError::Late(PATIENCE)
                } else {
                    ClientError::NotRunning { socket, error }
                }
            })?;
            let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(talk)?;
            // What goes wrong with it, the request sees.
            tokio::spawn(connection);
            Ok(requests)
        };
        let requests = runtime.block_on(async { timeout(PATIENCE, connected).await });
        let requests = requests.map_err(|_elapsed| ClientError::Late(PATIENCE))??;
        Ok(Self { runtime, requests, patience: PATIENCE })
    }

    /// Waits for answers as long as this, and then a little, so that the agent says so itself.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience: patience + PATIENCE, ..self }
    }

    /// Sends a request and returns the answer. Where too many have been sent, it is sent again.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let asked = (method, path, body.map_or(Ok(Vec::new()), serde_json::to_vec).map_err(talk)?);
        for _ in 0..PAUSES_MAX {
            match self.call_once(&asked) {
                Err(ClientError::Refused(problem)) if problem.status == StatusCode::TOO_MANY_REQUESTS => {
                    thread::sleep(PAUSE);
                }
                answered => return answered,
            }
        }
        Err(ClientError::Late(self.patience))
    }

    fn call_once<T: DeserializeOwned>(
        &mut self,
        (method, path, body): &(Method, &str, Vec<u8>),
    ) -> Result<T, ClientError> {
        let request = request(method, path, Body::from(body.clone()))?;
        let requests = &mut self.requests;
        let answered = async {
            requests.ready().await.map_err(talk)?;
            let (head, body) = requests.send_request(request).await.map_err(talk)?.into_parts();
            let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await.map_err(talk)?;
            if head.status == StatusCode::OK {
                return serde_json::from_slice(&body).map_err(talk);
            }
            Err(refusal(head.status, &body))
        };
        let patience = self.patience;
        let answered = self.runtime.block_on(async { timeout(patience, answered).await });
        answered.map_err(|_elapsed| ClientError::Late(patience))?
    }
}

fn request(method: &Method, path: &str, body: Body) -> Result<Request<Body>, ClientError> {
    let request = Request::builder().method(method).uri(path).header(HOST, "weir");
    request.header(CONTENT_TYPE, "application/json").body(body).map_err(talk)
}

/// Returns what an answer says that is none.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Refused(Problem { status, ..problem }),
        Err(_) => talk(format!("status {status}: {}", String::from_utf8_lossy(body))),
    }
}

fn talk(error: impl std::fmt::Display) -> ClientError {
    ClientError::Talk(error.to_string())
}
