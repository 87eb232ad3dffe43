//! Tells when a file changes.
//!
//! What is watched is the directory: lists are replaced by rename, and Kubernetes swaps the
//! symlink `..data` beside the files of a ConfigMap, neither of which a watch on the file sees.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Sends a word whenever something changes in the directories of some files.
#[derive(Debug)]
pub struct Watch {
    // Dropped last, it ends the watch.
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    /// Returns a watch, and the end at which its words arrive. They say that something changed, not
    /// what; one that waits already stands for all that follow.
    ///
    /// # Errors
    /// What inotify says, for instance that there are too many watches.
    pub fn new() -> notify::Result<(Self, mpsc::Receiver<()>)> {
        let (sender, receiver) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                // Full means that a word is waiting.
                _ = sender.try_send(());
            }
        })?;
        Ok((Self { watcher, watched: BTreeSet::new() }, receiver))
    }

    /// Watches the directories of these files, and no others.
    pub fn set<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let wanted: BTreeSet<_> = files.filter_map(|file| file.parent().map(Path::to_owned)).collect();
        for gone in self.watched.difference(&wanted) {
            // The directory may have been removed, and its watch with it.
            _ = self.watcher.unwatch(gone);
        }
        self.watched.retain(|directory| wanted.contains(directory));
        for new in wanted {
            if self.watched.contains(&new) {
                continue;
            }
            match self.watcher.watch(&new, RecursiveMode::NonRecursive) {
                Ok(()) => _ = self.watched.insert(new),
                Err(error) => tracing::warn!(directory = %new.display(), %error,
                    "cannot watch; SIGHUP rereads the lists"),
            }
        }
    }
}
