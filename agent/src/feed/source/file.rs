//! A file, or all files of a directory as one list.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{FetchError, Fetched};
use crate::feed::store::Validators;

/// A directory may change while it is read; it is read so often until it does not.
const TRIES: usize = 3;

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

    /// Reads it, unless it is what it was. All of it is read, or nothing: where one file of a
    /// directory cannot be read, or is replaced meanwhile, there is no list.
    ///
    /// # Errors
    /// [`FetchError`] where it cannot be read, or is too large.
    pub fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let mut files = files(&self.path)?;
        if self.seen.as_ref() == Some(&files) {
            return Ok(Fetched::Unchanged);
        }
        for _ in 0..TRIES {
            let text = self.read(&files)?;
            // Files may come from two versions of a directory, or be half written.
            let after = self::files(&self.path)?;
            if after == files {
                self.seen = Some(files);
                return Ok(Fetched::Text(text, Validators::default()));
            }
            files = after;
        }
        let message = "changes all the time while it is read; write it beside, then rename it";
        Err(unreadable(&self.path, message))
    }

    fn read(&self, files: &[(PathBuf, Stamp)]) -> Result<Vec<u8>, FetchError> {
        let size = files.iter().fold(0_u64, |size, (_, (.., more))| size.saturating_add(*more));
        let size = size.min(self.bytes_max);
        let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + files.len() + 1);
        for (path, _) in files {
            read(path, self.bytes_max, &mut text).map_err(|error| unreadable(path, error))?;
            if text.len() as u64 > self.bytes_max {
                let (path, max) = (self.path.display(), self.bytes_max);
                let message = format!("{path}: larger than {max} bytes; see guards.bytes");
                return Err(FetchError::new("size", message));
            }
        }
        Ok(text)
    }

    /// Forgets what was read, so that it is read again.
    pub fn forget(&mut self) {
        self.seen = None;
    }
}

/// Adds a file to `text`, and a line end between two files. Reads one byte more than allowed: the
/// file may be growing.
fn read(path: &Path, bytes_max: u64, text: &mut Vec<u8>) -> io::Result<()> {
    // A pipe in its place would wait for a writer, and a device may do anything.
    let file = fs::File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    let left = bytes_max.saturating_sub(text.len() as u64);
    file.take(left + 1).read_to_end(text)?;
    if text.last().is_some_and(|byte| *byte != b'\n') && text.len() as u64 <= bytes_max {
        text.push(b'\n');
    }
    Ok(())
}

/// Returns the files that make up the list, by name. Hidden ones do not count: writers rename them
/// when they are whole, and `..data` of a ConfigMap is what its files point to. Nor do an editor's
/// backups, whose names end in `~`.
fn files(path: &Path) -> Result<Vec<(PathBuf, Stamp)>, FetchError> {
    let about = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if !about.is_dir() {
        return if about.is_file() {
            Ok(vec![(path.to_owned(), stamp(&about))])
        } else {
            Err(unreadable(path, not_regular()))
        };
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, error))? {
        let entry = entry.map_err(|error| unreadable(path, error))?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".") || name.ends_with(b"~") {
            continue;
        }
        let path = entry.path();
        let about = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        if about.is_file() {
            files.push((path, stamp(&about)));
        } else if !about.is_dir() {
            return Err(unreadable(&path, not_regular()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn not_regular() -> io::Error {
    io::Error::other("is no regular file; pipes and devices are not read")
}

fn unreadable(path: &Path, why: impl fmt::Display) -> FetchError {
    FetchError::new("unreadable", format!("{}: cannot be read: {why}", path.display()))
}

fn stamp(about: &fs::Metadata) -> Stamp {
    (about.dev(), about.ino(), about.mtime(), about.mtime_nsec(), about.size())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::{sys::stat::Mode, unistd::mkfifo};
    use tempfile::TempDir;

    use super::*;

    fn text(file: &mut File) -> Option<String> {
        match file.fetch().unwrap() {
            Fetched::Text(text, _) => Some(String::from_utf8(text).unwrap()),
            Fetched::Unchanged => None,
            other @ (Fetched::List(_) | Fetched::Ledger(..)) => panic!("{other:?}"),
        }
    }

    fn failure(path: &Path, bytes_max: u64) -> (&'static str, String) {
        let error = File::new(path.to_owned(), bytes_max).fetch().unwrap_err();
        (error.cause, error.message)
    }

    #[test]
    fn a_file_is_read_when_it_changes() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("list");
        fs::write(&path, "192.0.2.1").unwrap();
        let mut file = File::new(path.clone(), 1000);
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.1\n"));
        assert_eq!(text(&mut file), None);
        let new = directory.path().join("list.new");
        fs::write(&new, "192.0.2.2\n").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.2\n"));
        file.forget();
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.2\n"));
        fs::remove_file(&path).unwrap();
        assert_eq!(failure(&path, 1000).0, "unreadable");
    }

    #[test]
    fn a_directory_is_one_list() {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, text) in [("b", "192.0.2.2"), ("a", "192.0.2.1\n"), (".hidden", "bad"), ("a~", "bad")] {
            fs::write(at(name), text).unwrap();
        }
        fs::create_dir(at("below")).unwrap();
        let mut file = File::new(directory.path().to_owned(), 1000);
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.1\n192.0.2.2\n"));
        fs::remove_file(at("a")).unwrap();
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.2\n"));
        // All or nothing.
        symlink(at("nowhere"), at("c")).unwrap();
        let (cause, message) = failure(directory.path(), 1000);
        assert!(cause == "unreadable" && message.contains("/c: "), "{message}");
    }

    #[test]
    fn a_configmap_is_swapped_as_a_whole() {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, text) in [("..1", "192.0.2.1\n"), ("..2", "192.0.2.2\n")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a"), text).unwrap();
            fs::write(at(version).join("b"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/a", at("a")).unwrap();
        symlink("..data/b", at("b")).unwrap();
        let mut file = File::new(directory.path().to_owned(), 1000);
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.1\n192.0.2.1\n"));
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!(text(&mut file).as_deref(), Some("192.0.2.2\n192.0.2.2\n"));
        assert_eq!(text(&mut file), None);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let directory = TempDir::new().unwrap();
        let pipe = directory.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), Path::new("/dev/null"), directory.path()] {
            let (cause, message) = failure(path, 1000);
            assert!(cause == "unreadable" && message.contains("no regular file"), "{message}");
        }
        let mut text = Vec::new();
        assert!(read(&pipe, 1000, &mut text).is_err());
    }

    #[test]
    fn a_large_file_is_not_read_to_its_end() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("list");
        fs::write(&path, "192.0.2.1\n".repeat(100)).unwrap();
        assert!(
            matches!(File::new(path.clone(), 1000).fetch(), Ok(Fetched::Text(text, _)) if text.len() == 1000)
        );
        let (cause, message) = failure(&path, 999);
        assert!(cause == "size" && message.contains("999 bytes"), "{message}");
        // The size of two together.
        fs::write(directory.path().join("more"), "192.0.2.1\n").unwrap();
        assert_eq!(failure(directory.path(), 1000).0, "size");
    }
}
