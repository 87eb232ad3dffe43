use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::Rule;
use crate::record::seconds;

const FILE: &str = "rules.json";
const VERSION: u32 = 1;
/// Largest file that is read: ten times what a full table of rules takes.
const BYTES_MAX: u64 = 256 << 20;

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) strangers: bool,
    pub(super) rules: Vec<Rule>,
}

/// What became of reading the file.
#[derive(Debug)]
pub(super) enum Loaded {
    Nothing,
    Saved(Saved),
    /// It cannot be used, and was put aside, if that was possible.
    Broken {
        why: String,
        aside: Option<PathBuf>,
    },
}

#[derive(Deserialize)]
struct Content {
    version: u32,
    #[serde(default)]
    strangers: bool,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
struct ContentRef<'r> {
    version: u32,
    strangers: bool,
    rules: Vec<&'r Rule>,
}

pub(super) fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

pub(super) fn load(state: &Path) -> Loaded {
    let path = path(state);
    match read(&path) {
        Ok(Some(saved)) => Loaded::Saved(saved),
        Ok(None) => Loaded::Nothing,
        Err(error) => {
            let aside = path.with_extension(format!("json.broken-{}", seconds(SystemTime::now())));
            let aside = fs::rename(&path, &aside).is_ok().then_some(aside);
            Loaded::Broken { why: error.to_string(), aside }
        }
    }
}

/// Returns the rules of a file that somebody names: one of these, or what `weir bans -o json` has printed.
pub(super) fn listed(path: &Path) -> io::Result<Vec<Rule>> {
    #[derive(Deserialize)]
    struct Listed {
        rules: Vec<Rule>,
    }
    let size = fs::metadata(path)?.len();
    if size > BYTES_MAX {
        return Err(io::Error::other(format!("{size} bytes, more than {BYTES_MAX}")));
    }
    let listed: Listed = serde_json::from_slice(&fs::read(path)?)?;
    Ok(listed.rules)
}

pub(super) fn read(path: &Path) -> io::Result<Option<Saved>> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size > BYTES_MAX {
        return Err(io::Error::other(format!("{size} bytes, more than {BYTES_MAX}")));
    }
    let content: Content = serde_json::from_slice(&fs::read(path)?)?;
    if content.version != VERSION {
        return Err(io::Error::other(format!("version {}, not {VERSION}", content.version)));
    }
    Ok(Some(Saved { strangers: content.strangers, rules: content.rules }))
}

/// Writes the file in place of the one before, so that a power failure leaves one or the other.
pub(super) fn store<'r>(
    state: &Path,
    strangers: bool,
    rules: impl Iterator<Item = &'r Rule>,
) -> io::Result<()> {
    fs::create_dir_all(state)?;
    let path = path(state);
    let new = path.with_extension("json.new");
    let text = serde_json::to_vec(&ContentRef { version: VERSION, strangers, rules: rules.collect() })?;
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_data()
    });
    if let Err(error) = written {
        // Half a file on a full disk is in the way of others.
        _ = fs::remove_file(&new);
        return Err(error);
    }
    fs::rename(&new, &path)?;
    File::open(state)?.sync_all()
}
