use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::config::l7::Fleet;

const FILE: &str = "fleet.json";

/// How far the stream has been read, in the state directory.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    saved: Saved,
}

#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
struct Saved {
    /// Which stream.
    stream: String,
    /// The place of the last entry that was read; nothing: there was none.
    place: Option<String>,
}

impl Cursor {
    /// Reads it. A file that is not there or not good is none: then all bans are read anew.
    pub(super) fn load(state: &Path, settings: &Fleet) -> Self {
        let path = state.join(FILE);
        let stream = format!("{} {}{}", settings.redis.url, settings.prefix, settings.stream);
        let saved = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Saved>(&text).ok());
        let saved = saved.filter(|saved| saved.stream == stream);
        Self { path, saved: saved.unwrap_or(Saved { stream, place: None }) }
    }

    pub(super) fn place(&self) -> Option<&str> {
        self.saved.place.as_deref()
    }

    /// Sets it, and writes it. Where that fails, some entries are read twice after the next start.
    pub(super) fn set(&mut self, place: Option<String>) {
        if self.saved.place != place {
            self.saved.place = place;
            if let Err(error) = self.store() {
                tracing::debug!(%error, "cannot write how far the fleet's stream has been read");
            }
        }
    }

    fn store(&self) -> io::Result<()> {
        let unfinished = self.path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(&self.saved)?)?;
        fs::rename(&unfinished, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::l7::Server;

    #[test]
    fn it_is_that_of_one_stream_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let fleet = Fleet {
            redis: Server { url: "redis://h".to_owned(), user: None, password: None },
            name: "a".to_owned(),
            prefix: "p:".to_owned(),
            stream: "s".to_owned(),
        };
        let mut cursor = Cursor::load(directory.path(), &fleet);
        assert_eq!(cursor.place(), None);
        cursor.set(Some("1-1".to_owned()));
        assert_eq!(Cursor::load(directory.path(), &fleet).place(), Some("1-1"));
        let other = Fleet { stream: "t".to_owned(), ..fleet.clone() };
        assert_eq!(Cursor::load(directory.path(), &other).place(), None);
        fs::write(directory.path().join(FILE), "{").unwrap();
        assert_eq!(Cursor::load(directory.path(), &fleet).place(), None);
    }
}
