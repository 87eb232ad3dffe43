//! The configuration file, where `run --watch` has the agent take up its changes.

use std::path::{self, Path, PathBuf};

use crate::{
    audit::Actor,
    config::Config,
    digest::Digest,
    telemetry::metrics::Metrics,
    versions::{By, file},
};

use super::App;

/// A file, and what it said when it was last looked at. What was refused then is refused once, however
/// often something else changes in its directory.
pub(super) struct Followed {
    pub(super) path: PathBuf,
    seen: Option<Text>,
}

/// A text and its signature.
#[derive(PartialEq, Eq)]
struct Text(Digest, Option<String>);

impl Followed {
    pub(super) fn new(path: PathBuf) -> Self {
        // What is watched is its directory, which a bare name does not tell.
        let path = path::absolute(&path).unwrap_or(path);
        let seen = look(&path);
        Self { path, seen }
    }

    /// Returns true if the file says something else than when it was last looked at.
    pub(super) fn changed(&mut self) -> bool {
        let now = look(&self.path);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

/// Returns nothing for a file that cannot be read.
fn look(path: &Path) -> Option<Text> {
    let text = Config::read(path).ok()?;
    Some(Text(Digest::of(&text), file::read_signature(path)))
}

impl App {
    /// Takes up the configuration file where it is followed, has changed and is not what is in force.
    pub(super) fn follow(&mut self, metrics: &Metrics) {
        let Some(followed) = &mut self.followed else { return };
        let in_force = |text: &Text| text.0 == self.digest;
        if followed.changed() && !followed.seen.as_ref().is_some_and(in_force) {
            self.reload(metrics, By::watch(), Actor::Agent);
        }
    }
}
