//! The control API from the other end: for commands, one request after the other.

use std::{
    io,
    path::{Path, PathBuf},
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
    #[error("the agent does not answer within {PATIENCE:?}; `weir bans` says what is in force")]
    Late,
    #[error("{0}")]
    Refused(Problem),
    #[error("talk to the agent: {0}")]
    Talk(String),
}

/// A connection to the agent.
pub(crate) struct Client {
    runtime: runtime::Runtime,
    requests: SendRequest<Body>,
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
                    ClientError::Late
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
        let requests = requests.map_err(|_elapsed| ClientError::Late)??;
        Ok(Self { runtime, requests })
    }

    /// Sends a request and returns the answer.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = body.map_or(Ok(Body::empty()), |body| serde_json::to_vec(body).map(Body::from));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "weir")
            .header(CONTENT_TYPE, "application/json")
            .body(body.map_err(talk)?)
            .map_err(talk)?;
        let requests = &mut self.requests;
        let answered = async {
            requests.ready().await.map_err(talk)?;
            let (head, body) = requests.send_request(request).await.map_err(talk)?.into_parts();
            let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await.map_err(talk)?;
            if head.status == StatusCode::OK {
                return serde_json::from_slice(&body).map_err(talk);
            }
            let problem: Problem = serde_json::from_slice(&body)
                .map_err(|_| talk(format!("status {}: {}", head.status, String::from_utf8_lossy(&body))))?;
            Err(ClientError::Refused(Problem { status: head.status, ..problem }))
        };
        let answered = self.runtime.block_on(async { timeout(PATIENCE, answered).await });
        answered.map_err(|_elapsed| ClientError::Late)?
    }
}

fn talk(error: impl std::fmt::Display) -> ClientError {
    ClientError::Talk(error.to_string())
}
