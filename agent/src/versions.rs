//! Every configuration that was put in force, as a numbered version in the state directory.
//!
//! `policy/N.yaml` is its text as it was, `N.minisig` its signature if it has one, and `N.json` says
//! who put it in force, when and how. That is written last, so a version is there as a whole or not
//! at all. The newest is the one that was put in force last.

/// The configuration file: read, and replaced in one step.
pub mod file;
/// A configuration that somebody wants in force.
mod proposal;
/// Who may say what is in force: a key of minisign.
pub mod signature;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

pub use proposal::Proposal;

use crate::{digest::Digest, record::seconds};

/// Versions that are kept.
pub const KEPT: usize = 50;
/// Bytes of their texts that are kept, the newest two whatever their size.
const KEPT_BYTES: u64 = 64 << 20;
/// Largest JSON that is read.
const META_BYTES_MAX: u64 = 64 << 10;
const DIRECTORY: &str = "policy";
const DIRECTORY_MODE: u32 = 0o750;
const MODE: u32 = 0o640;

/// How a version came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The agent started with it.
    Start,
    /// The file was read again: at SIGHUP, or because it had changed.
    Reload,
    /// `weir policy apply`.
    Apply,
    /// `weir policy rollback`.
    Rollback,
}

impl How {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        }
    }
}

/// Who put a version in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// `start`, `SIGHUP`, or the name of a user.
    pub by: String,
    /// The user, where one asked at the control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

impl By {
    /// The start of the agent.
    #[must_use]
    pub fn start() -> Self {
        Self { by: "start".to_owned(), uid: None }
    }

    /// Somebody who may send the agent signals.
    #[must_use]
    pub fn signal() -> Self {
        Self { by: "SIGHUP".to_owned(), uid: None }
    }

    /// The agent, which watches the configuration file.
    #[must_use]
    pub fn watch() -> Self {
        Self { by: "watch".to_owned(), uid: None }
    }

    /// A user at the control socket.
    #[must_use]
    pub fn user(uid: u32) -> Self {
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        Self { by: user.map_or_else(|| format!("uid {uid}"), |user| user.name), uid: Some(uid) }
    }
}

/// What is known of a version, but for its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1. None is given twice.
    pub number: u64,
    /// When it was put in force, in seconds since 1970.
    pub time: u64,
    /// By whom.
    #[serde(flatten)]
    pub by: By,
    /// How.
    pub how: How,
    /// The version of which a rollback has taken the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns_to: Option<u64>,
    /// The configuration file says something else, so the next start ends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until_restart: bool,
    /// SHA-256 of its text, as `sha256sum` prints it.
    pub digest: Digest,
    /// Length of its text.
    pub bytes: u64,
    /// The time in its signature, where that was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<u64>,
    /// Why, in the words of whoever put it in force.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What somebody says of a version that is to be.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Who.
    pub by: By,
    /// How.
    pub how: How,
    /// The version of which this is the text.
    pub returns_to: Option<u64>,
    /// Why.
    pub note: String,
}

/// A text and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The text of the configuration.
    pub text: String,
    /// The contents of a `.minisig` file.
    pub signature: Option<String>,
}

/// Why a version cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// There is none of that number.
    #[error("there is no version {0}; `weir policy history` shows all that are kept")]
    None(u64),
    /// There is none at all.
    #[error("nothing was put in force yet, as far as {} knows; start an agent, or name its --state", .0.display())]
    Never(PathBuf),
    /// They cannot be listed.
    #[error("{}: {error}; who reads versions is root, or who the agent runs as", path.display())]
    Unlisted {
        /// Where they are.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is only one.
    #[error("there is no version before the present one; `weir policy history` shows all that are kept")]
    First,
    /// Its files cannot be read.
    #[error("version {number} cannot be read: {error}")]
    Unreadable {
        /// Its number.
        number: u64,
        /// Why not.
        error: io::Error,
    },
    /// Its text is not what was put in force.
    #[error("the text of version {0} was changed since; its digest is another")]
    Changed(u64),
}

/// All versions that are kept.
#[derive(Clone, Debug)]
pub struct Versions {
    directory: PathBuf,
    /// By number.
    known: Vec<Version>,
    /// The last number that was given.
    last: u64,
}

impl Versions {
    /// Reads what is known of the versions below a state directory.
    #[must_use]
    pub fn open(state: &Path) -> Self {
        let directory = state.join(DIRECTORY);
        let (mut known, mut last) = (Vec::new(), 0);
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let Some(number) = number else { continue };
            // Also that of a file that is damaged: a number is not given twice.
            last = last.max(number);
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            match read_meta(&path) {
                Ok(version) if version.number == number => known.push(version),
                Ok(_) => tracing::warn!(file = %path.display(), "is of another version; left out"),
                Err(error) => tracing::warn!(file = %path.display(), %error, "cannot be read; left out"),
            }
        }
        known.sort_unstable_by_key(|version| version.number);
        Self { directory, known, last }
    }

    /// Reads those of a state directory, for whoever may not be allowed to.
    ///
    /// # Errors
    /// [`VersionError::Unlisted`]
    pub fn list(state: &Path) -> Result<Self, VersionError> {
        let path = state.join(DIRECTORY);
        match fs::read_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(VersionError::Unlisted { path, error })
            }
            Ok(_) | Err(_) => Ok(Self::open(state)),
        }
    }

    /// Returns the version that was put in force last.
    #[must_use]
    pub fn newest(&self) -> Option<&Version> {
        self.known.last()
    }

    /// Returns the same, where something must have been in force.
    ///
    /// # Errors
    /// [`VersionError::Never`]
    pub fn present(&self) -> Result<&Version, VersionError> {
        self.newest().ok_or_else(|| VersionError::Never(self.directory.clone()))
    }

    /// Returns the version that was in force before the newest.
    ///
    /// # Errors
    /// [`VersionError::First`]
    pub fn before(&self) -> Result<&Version, VersionError> {
        self.known.iter().rev().nth(1).ok_or(VersionError::First)
    }

    /// Returns a version.
    ///
    /// # Errors
    /// [`VersionError::None`]
    pub fn get(&self, number: u64) -> Result<&Version, VersionError> {
        let place = self.known.binary_search_by_key(&number, |version| version.number);
        place.map(|place| &self.known[place]).map_err(|_| VersionError::None(number))
    }

    /// Returns all, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Version> {
        self.known.iter().rev()
    }

    /// Reads the text of a version, and its signature.
    ///
    /// # Errors
    /// [`VersionError`] where there is none of this number, or it is not as it was.
    pub fn load(&self, number: u64) -> Result<Saved, VersionError> {
        let version = self.get(number)?;
        let unreadable = |error| VersionError::Unreadable { number, error };
        let text = fs::read_to_string(self.path(number, "yaml")).map_err(unreadable)?;
        if Digest::of(&text) != version.digest {
            return Err(VersionError::Changed(number));
        }
        let signature = match fs::read_to_string(self.path(number, "minisig")) {
            Ok(signature) => Some(signature),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(error)),
        };
        Ok(Saved { text, signature })
    }

    /// Keeps what was put in force as the next version, and forgets the oldest where there are too
    /// many. `signed` is the time in its signature, if that was verified.
    ///
    /// # Errors
    /// What the file system says; nothing has been added then.
    pub fn add(
        &mut self,
        proposal: &Proposal,
        cause: Cause,
        signed: Option<u64>,
        until_restart: bool,
    ) -> io::Result<Version> {
        let Cause { by, how, returns_to, note } = cause;
        let version = Version {
            number: self.last + 1,
            time: seconds(SystemTime::now()),
            by,
            how,
            returns_to,
            until_restart,
            digest: proposal.digest,
            bytes: proposal.text.len() as u64,
            signed,
            note,
        };
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.directory)?;
        let number = version.number;
        let written = || {
            file::write(&self.path(number, "yaml"), proposal.text.as_bytes(), MODE)?;
            if let Some(signature) = &proposal.signature {
                file::write(&self.path(number, "minisig"), signature.as_bytes(), MODE)?;
            }
            file::write(&self.path(number, "json"), &serde_json::to_vec_pretty(&version)?, MODE)
        };
        if let Err(error) = written() {
            self.remove(number);
            return Err(error);
        }
        self.last = number;
        self.known.push(version.clone());
        self.prune();
        Ok(version)
    }

    /// Takes note that the configuration file says what the newest version says, unless this is
    /// `until_restart` as well.
    ///
    /// # Errors
    /// What the file system says.
    pub fn settle(&mut self, until_restart: bool) -> io::Result<()> {
        let Some(newest) = self.known.last_mut().filter(|newest| newest.until_restart && !until_restart)
        else {
            return Ok(());
        };
        newest.until_restart = false;
        let (number, meta) = (newest.number, serde_json::to_vec_pretty(newest)?);
        file::write(&self.path(number, "json"), &meta, MODE)
    }

    fn prune(&mut self) {
        let mut bytes = 0;
        let kept = self.known.iter().rev().enumerate().take_while(|(place, version)| {
            bytes += version.bytes;
            *place < 2 || *place < KEPT && bytes <= KEPT_BYTES
        });
        let surplus = self.known.len() - kept.count();
        for version in self.known.drain(..surplus).collect::<Vec<_>>() {
            self.remove(version.number);
        }
    }

    fn remove(&self, number: u64) {
        // What says that there is a version goes first.
        for end in ["json", "minisig", "yaml"] {
            // It may not be there, and one too many does no harm.
            _ = fs::remove_file(self.path(number, end));
        }
    }

    fn path(&self, number: u64, end: &str) -> PathBuf {
        self.directory.join(format!("{number}.{end}"))
    }
}

fn read_meta(path: &Path) -> io::Result<Version> {
    let size = fs::metadata(path)?.len();
    if size > META_BYTES_MAX {
        return Err(io::Error::other(format!("{size} bytes, more than {META_BYTES_MAX}")));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests;
