//! Where the audit lies: the file being written, those before it, and beside the rest of the state the
//! head, which says what the last line was.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::chain::{self, Link};

/// The file, where the configuration names no other.
pub(super) const FILE: &str = "audit.jsonl";
const HEAD: &str = "audit.head";
/// Digits of the number in the name of a file that is no longer written.
const DIGITS: usize = 20;
/// Longest line that is believed to be one.
pub(crate) const LINE_BYTES_MAX: u64 = 1 << 20;

/// What was written last, and where. Cut off lines at the end of a file leave no trace in it, but here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The file; on disk from the state directory, where it lies in that.
    pub file: PathBuf,
    /// Its last line.
    #[serde(flatten)]
    pub link: Link,
}

impl Head {
    /// Reads the head of a state directory; nothing where there is none that can be read.
    #[must_use]
    pub fn load(state: &Path) -> Option<Self> {
        let head = Self::read(&state.join(HEAD))?;
        Some(Self { file: state.join(&head.file), ..head })
    }

    /// Reads the head that lies beside a file.
    #[must_use]
    pub fn beside(file: &Path) -> Option<Self> {
        Self::read(&file.with_file_name(HEAD))
    }

    fn read(path: &Path) -> Option<Self> {
        let mut text = Vec::new();
        File::open(path).ok()?.take(LINE_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it in place of the one before. A file that lies beside it is named from there: in a copy of the
    /// directory, the copy is meant.
    pub(super) fn store(&self, state: &Path) -> io::Result<()> {
        let file = self.file.strip_prefix(state).unwrap_or(&self.file);
        let named = Self { file: file.to_owned(), link: self.link };
        let path = state.join(HEAD);
        let new = path.with_extension("head.new");
        let written = fs::write(&new, serde_json::to_vec(&named)?);
        if let Err(error) = written {
            _ = fs::remove_file(&new);
            return Err(error);
        }
        fs::rename(&new, &path)
    }
}

/// Returns the file of a state directory that is being written: what the head names, else the default.
#[must_use]
pub fn current(state: &Path) -> PathBuf {
    Head::load(state).map_or_else(|| state.join(FILE), |head| head.file)
}

/// Returns how a file is called that begins with line `first`, once it is no longer written.
pub(crate) fn put_aside(path: &Path, first: u64) -> PathBuf {
    let (stem, end) = parts(path);
    path.with_file_name(format!("{stem}-{first:0DIGITS$}{end}"))
}

/// Returns the files that were written before, the oldest first, with the number of their first lines.
///
/// # Errors
/// What the file system says.
pub fn before(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (stem, end) = parts(path);
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| {
            let digits = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&end)?;
            (digits.len() == DIGITS).then(|| digits.parse().ok())?
        });
        files.extend(number.map(|number| (number, entry.path())));
    }
    files.sort_unstable();
    Ok(files)
}

/// Splits a name where the number is put in: `audit` and `.jsonl`.
fn parts(path: &Path) -> (String, String) {
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let end = path.extension().map(|end| format!(".{}", end.to_string_lossy()));
    (name(path.file_stem()), end.unwrap_or_default())
}

/// The end of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Its last whole line; nothing: it has none.
    pub(super) line: Option<Vec<u8>>,
    /// Bytes behind that.
    pub(super) torn: u64,
}

/// Reads the end of a file of `length` bytes.
pub(super) fn tail(file: &mut File, length: u64) -> io::Result<Tail> {
    let start = length.saturating_sub(2 * LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(length - start).read_to_end(&mut text)?;
    let Some(end) = memchr::memrchr(b'\n', &text) else { return Ok(Tail { line: None, torn: length }) };
    let torn = text.len().saturating_sub(end + 1) as u64;
    text.truncate(end);
    let line = match memchr::memrchr(b'\n', &text) {
        Some(before) => text.split_off(before + 1),
        None => text,
    };
    Ok(Tail { line: Some(line), torn })
}

/// Returns the last line of a file, if it is whole.
pub(crate) fn last(path: &Path) -> Option<Link> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let line = tail(&mut file, length).ok()?.line?;
    Some(chain::read(&line).ok()?.link)
}

/// Returns the number that the first line of a file claims to have.
pub(crate) fn first(path: &Path) -> Option<u64> {
    let mut line = Vec::new();
    let file = File::open(path).ok()?;
    BufReader::new(file.take(LINE_BYTES_MAX)).read_until(b'\n', &mut line).ok()?;
    chain::claims(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for name in ["audit.jsonl", "audit-1.jsonl", "audit-x.jsonl", "other-00000000000000000001.jsonl"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        for first in [100, 7] {
            fs::write(put_aside(&path, first), "").unwrap();
        }
        let numbers: Vec<u64> = before(&path).unwrap().into_iter().map(|(first, _)| first).collect();
        assert_eq!(numbers, [7, 100]);
        assert!(before(&directory.path().join("no/audit.jsonl")).unwrap().is_empty());
    }

    #[test]
    fn the_end_of_a_file_is_its_last_line_and_what_is_torn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for (text, line, torn) in [
            ("", None, 0),
            ("a\nbc\n", Some("bc"), 0),
            ("a\nbc\nd", Some("bc"), 1),
            ("abc", None, 3),
            ("a\n", Some("a"), 0),
        ] {
            fs::write(&path, text).unwrap();
            let found = tail(&mut File::open(&path).unwrap(), text.len() as u64).unwrap();
            assert_eq!(found, Tail { line: line.map(|line| line.as_bytes().to_vec()), torn }, "{text:?}");
        }
    }
}
