//! What proves who asks: a header or a password, whose secret is read from its file at each request.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use reqwest::{
    RequestBuilder,
    header::{HeaderName, HeaderValue},
};

use crate::{config::Auth, feed::source::FetchError};

/// A secret is not longer.
const BYTES_MAX: u64 = 16 << 10;
/// What a secret's file may permit: its owner to read and write, its group to read.
const MODE_MAX: u32 = 0o640;

/// How the agent proves who it is.
#[derive(Debug)]
pub(super) struct Secret {
    auth: Auth,
    warned: AtomicBool,
}

impl Secret {
    pub(super) fn new(auth: &Auth) -> Result<Self, FetchError> {
        let problem = match auth {
            Auth::Header { name, prefix, .. } => {
                if HeaderName::try_from(name).is_err() {
                    Some(format!("`{name}` is no name of a header; see http.header.name"))
                } else if HeaderValue::try_from(prefix).is_err() {
                    Some("http.header.prefix has a character that no header may have".to_owned())
                } else {
                    None
                }
            }
            Auth::Basic { user, .. } if user.contains(':') => {
                Some(format!("`{user}` has a colon, which no user may have; see http.basic.user"))
            }
            Auth::Basic { .. } | Auth::None => None,
        };
        match problem {
            Some(problem) => Err(FetchError::new("auth", problem)),
            None => Ok(Self { auth: auth.clone(), warned: AtomicBool::new(false) }),
        }
    }

    /// Adds the proof to a request.
    pub(super) fn prove(&self, request: RequestBuilder) -> Result<RequestBuilder, FetchError> {
        match &self.auth {
            Auth::None => Ok(request),
            Auth::Basic { user, file } => Ok(request.basic_auth(user, Some(self.read(file)?))),
            Auth::Header { name, prefix, file } => {
                let value = HeaderValue::try_from(format!("{prefix}{}", self.read(file)?));
                let mut value =
                    value.map_err(|_| unusable(file, "has a character that no header may have"))?;
                value.set_sensitive(true);
                Ok(request.header(name, value))
            }
        }
    }

    fn read(&self, path: &Path) -> Result<String, FetchError> {
        let (secret, exposed) = line(path).map_err(|why| unusable(path, why))?;
        if exposed && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(file = %path.display(), "others may read this secret; chmod 640 it");
        }
        Ok(secret)
    }
}

/// Reads a secret, the one line of its file. Returns it, and whether others may read it.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn line(path: &Path) -> Result<(String, bool), String> {
    let (secret, mode) = read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let line = secret.strip_suffix('\n').unwrap_or(&secret);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok((line.to_owned(), mode & 0o777 & !MODE_MAX != 0))
}

fn read(path: &Path) -> io::Result<(String, u32)> {
    // A pipe would wait for a writer.
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut secret = String::new();
    // What is wrong with it is not told: it would be in the message.
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut secret);
    read.map_err(|error| io::Error::other(error.kind().to_string()))?;
    if secret.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("is longer than {BYTES_MAX} bytes")));
    }
    Ok((secret, about.mode()))
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> FetchError {
    FetchError::new("auth", format!("the secret in {} {why}", path.display()))
}
