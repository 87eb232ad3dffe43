use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    config::ConfigError, datapath::DatapathError, policy::classes::TooManyClasses,
    versions::signature::SignatureError,
};

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is not valid.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The configuration is not signed as it should be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The kernel does not take the program or the policy.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The lists overlap in too many ways.
    #[error(transparent)]
    Classes(#[from] TooManyClasses),
    /// The listener cannot be opened.
    #[error("listen.{field}: {address}: {error}")]
    Listen {
        /// Which.
        field: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The control socket cannot be made.
    #[error("listen.control: {}: {error}", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The port of the control API cannot be had, or its certificates cannot be used.
    #[error("listen.control_tls: {0}")]
    ControlTls(io::Error),
    /// A socket for proxies cannot be made.
    #[error("l7.listen: {0}")]
    Proxy(io::Error),
    /// A metric is not well formed.
    #[error(transparent)]
    Metrics(prometheus::Error),
    /// The operating system refuses something that every start needs.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> AppError {
    move |error| AppError::System { what, error }
}
