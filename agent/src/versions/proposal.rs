use std::path::{Path, PathBuf};

use super::file;
use crate::{
    config::{Config, ConfigError},
    digest::Digest,
};

/// A configuration that somebody wants in force: valid, but perhaps not permitted.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// What it is called in messages: the path of its file.
    pub name: PathBuf,
    /// Its text.
    pub text: String,
    /// The contents of the `.minisig` file that came with it.
    pub signature: Option<String>,
    /// Of the text.
    pub digest: Digest,
    /// What it says.
    pub config: Config,
}

impl Proposal {
    /// Reads the configuration file, and the signature beside it if there is one.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = Config::read(path)?;
        Self::of(path, text, file::read_signature(path))
    }

    /// Validates a text; `name` is for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong with it.
    pub fn of(name: &Path, text: String, signature: Option<String>) -> Result<Self, ConfigError> {
        let config = Config::parse(name, &text)?;
        Ok(Self { name: name.to_owned(), digest: Digest::of(&text), text, signature, config })
    }
}
