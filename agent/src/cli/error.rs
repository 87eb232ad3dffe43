use std::{io, path::PathBuf};

use super::{EXIT_FAILURE, EXIT_USAGE, l7};
use crate::{
    app::AppError,
    capture::CaptureError,
    client::ClientError,
    config::ConfigError,
    datapath::{DatapathError, rules::RuleError},
    explain::ExplainError,
    limits::LimitsError,
    offline::OfflineError,
    telemetry::catalogue::CatalogueError,
    top::SampleError,
    versions::VersionError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    App(#[from] AppError),
    #[error("{0}")]
    Datapath(#[from] DatapathError),
    #[error("{0}")]
    Explain(#[from] ExplainError),
    #[error("{0}")]
    Limits(#[from] LimitsError),
    #[error("{0}")]
    Sample(#[from] SampleError),
    #[error("`weir top` needs a terminal; `weir top --once` prints what goes on, and ends")]
    NoTerminal,
    #[error("{}: {error}", path.display())]
    Page { path: PathBuf, error: io::Error },
    #[error("the agent cannot be told: {error}")]
    Reload { error: io::Error },
    #[error("the terminal: {error}")]
    Terminal { error: io::Error },
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Cases(#[from] l7::CasesError),
    #[error("{0}")]
    Capture(#[from] CaptureError),
    #[error("{0}")]
    Offline(#[from] OfflineError),
    #[error("{}: {error}; name a file that `weir bans -o json` has printed", path.display())]
    Rules { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Rule(#[from] RuleError),
    #[error("{0}")]
    Version(#[from] VersionError),
    #[error("the audit cannot be read: {0}; see --state, or name its files")]
    Audit(io::Error),
    #[error("{0}")]
    Catalogue(#[from] CatalogueError),
}

impl CliError {
    /// Returns what the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Cases(_)
            | Self::Capture(_)
            | Self::Rules { .. }
            | Self::NoTerminal
            | Self::App(AppError::Config(_) | AppError::Signature(_)) => EXIT_USAGE,
            Self::App(_)
            | Self::Datapath(_)
            | Self::Explain(_)
            | Self::Limits(_)
            | Self::Sample(_)
            | Self::Page { .. }
            | Self::Terminal { .. }
            | Self::Reload { .. }
            | Self::Client(_)
            | Self::Rule(_)
            | Self::Version(_)
            | Self::Offline(_)
            | Self::Audit(_)
            | Self::Catalogue(_) => EXIT_FAILURE,
        }
    }
}
