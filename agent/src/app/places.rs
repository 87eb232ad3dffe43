use std::path::PathBuf;

use super::stopwatch::Stopwatch;
use crate::{
    confine::{Confinement, Reach},
    datapath::Pins,
    proxy::push::Reloader,
    versions::{Proposal, Versions, signature::Key},
};

/// Where the agent finds and leaves things.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// The pins.
    pub pins: Pins,
    /// The state directory.
    pub state: PathBuf,
    /// The control socket, where it is not that of the configuration.
    pub socket: Option<PathBuf>,
    /// The key that signs configurations, where they have to be signed.
    pub policy_key: Option<Key>,
    /// Changes of the configuration file are taken up.
    pub watch: bool,
}

/// The configuration of a start, which may be in force, and those of before; and what the agent may do
/// with it.
pub(super) struct First {
    pub(super) proposal: Proposal,
    pub(super) versions: Versions,
    /// The time in its signature.
    pub(super) signed: Option<u64>,
    pub(super) reloader: Option<Reloader>,
    pub(super) reach: Reach,
    pub(super) confinement: Confinement,
    pub(super) stopwatch: Stopwatch,
}
