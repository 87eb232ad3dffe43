//! A file, or all files of a directory as one list.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{FetchError, Fetched};
use crate::feed::store::Validators;

/// A file or a directory.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    bytes_max: u64,
    /// The files as they were last read.
    seen: Option<Vec<(PathBuf, Stamp)>>,
}

/// What tells a file from another one, or from itself before a change: device, inode, time of
/// change in seconds and nanoseconds, size.
type Stamp = (u64, u64, i64, i64, u64);

impl File {
    /// Returns the list at `path`, of which at most `bytes_max` bytes are read.
    #[must_use]
    pub fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, seen: None }
    }

    /// Reads it, unless it is what it was.
    ///
    /// # Errors
    /// [`FetchError`] where it cannot be read, or is too large.
    pub fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let unreadable = |error: io::Error| {
            FetchError::new("unreadable", format!("{}: cannot be read: {error}", self.path.display()))
        };
        let files = files(&self.path).map_err(unreadable)?;
        if self.seen.as_ref() == Some(&files) {
            return Ok(Fetched::Unchanged);
        }
        let mut text = Vec::new();
        for (path, _) in &files {
            read(path, self.bytes_max, &mut text).map_err(unreadable)?;
            if text.len() as u64 > self.bytes_max {
                let message = format!(
                    "{}: larger than {} bytes; see guards.bytes",
                    self.path.display(),
                    self.bytes_max
                );
                return Err(FetchError::new("size", message));
            }
        }
        self.seen = Some(files);
        Ok(Fetched::Text(text, Validators::default()))
    }

    /// Forgets what was read, so that it is read again.
    pub fn forget(&mut self) {
        self.seen = None;
    }
}

/// Adds a file to `text`, and a line end between two files. Reads one byte more than allowed: the
/// file may be growing.
fn read(path: &Path, bytes_max: u64, text: &mut Vec<u8>) -> io::Result<()> {
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len().min(bytes_max);
    text.reserve(usize::try_from(size).unwrap_or(0) + 2);
    file.take(bytes_max + 1).read_to_end(text)?;
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    Ok(())
}

/// Returns the files that make up the list, by name. Hidden ones do not count: writers rename them
/// when they are whole, and `..data` of a ConfigMap is what its files point to.
fn files(path: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let about = fs::metadata(path)?;
    if !about.is_dir() {
        return Ok(vec![(path.to_owned(), stamp(&about))]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let about = fs::metadata(&path)?;
        if about.is_file() {
            files.push((path, stamp(&about)));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn stamp(about: &fs::Metadata) -> Stamp {
    (about.dev(), about.ino(), about.mtime(), about.mtime_nsec(), about.size())
}
