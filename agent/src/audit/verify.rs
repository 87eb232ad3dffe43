//! Whether an audit is as it was written: line by line, with nothing of it in memory.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use memchr::memmem;
use serde::Serialize;
use serde_json::Value;

use super::{
    chain::{self, Link},
    files::{self, Head, LINE_BYTES_MAX},
};

const BUFFER_BYTES: usize = 1 << 20;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub ok: bool,
    /// The files, in their order.
    pub files: Vec<PathBuf>,
    /// Lines that were read and are right.
    pub lines: u64,
    /// Number of the first.
    pub first: u64,
    /// The last of them.
    pub last: Link,
    /// What the head says: without one, lines that were cut off the end are not missed.
    pub head: Option<Link>,
    /// Bytes at the end that are no whole line: one that is being written, or was when power was lost.
    pub torn: u64,
    /// What the audit tells of itself.
    pub notes: Vec<Note>,
    /// The first line that is not right.
    pub broken: Option<Broken>,
}

/// Something that the audit tells of itself.
#[derive(Debug, Serialize)]
pub struct Note {
    /// The line.
    pub seq: u64,
    /// What it says.
    pub message: String,
}

/// A line that is not right.
#[derive(Debug, Serialize)]
pub struct Broken {
    /// Its file.
    pub file: PathBuf,
    /// Where in the file, from 1.
    pub line: u64,
    /// Its number in the audit.
    pub seq: u64,
    /// What is wrong.
    pub flaw: Flaw,
    /// The same in words.
    pub message: String,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// It says something else than what was written.
    Edited,
    /// Lines in front of it are gone.
    Missing,
    /// It is not where it was written.
    Reordered,
    /// Lines at the end are gone.
    CutOff,
    /// It was not written by weir.
    Foreign,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Reordered => "reordered",
            Self::CutOff => "cut off",
            Self::Foreign => "foreign",
        })
    }
}

/// Checks the audit of a state directory, from line `from` on.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn state(state: &Path, from: u64) -> io::Result<Report> {
    // First: whatever is written meanwhile is then behind it.
    let head = Head::load(state);
    let current = head.as_ref().map_or_else(|| state.join(files::FILE), |head| head.file.clone());
    let mut paths: Vec<PathBuf> = files::before(&current)?.into_iter().map(|(_, path)| path).collect();
    if current.exists() || head.is_none() {
        paths.push(current.clone());
    }
    let mut report = verify(paths, head.map(|head| head.link), from)?;
    // None is left that could be named.
    if let Some(broken) = report.broken.as_mut().filter(|broken| broken.file.as_os_str().is_empty()) {
        broken.file = current;
    }
    Ok(report)
}

/// Checks files in the order of their first lines. The end is compared with `head`.
///
/// # Errors
/// If one cannot be read.
pub fn verify(mut paths: Vec<PathBuf>, head: Option<Link>, from: u64) -> io::Result<Report> {
    paths.sort_by_key(|path| files::first(path).unwrap_or(u64::MAX));
    let open = |path: &PathBuf| {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        File::open(path).map_err(named)
    };
    // All of them at once: one that is put aside meanwhile is still read.
    let files: Vec<File> = paths.iter().map(open).collect::<io::Result<_>>()?;
    let report = Report { files: paths.clone(), head, ..Report::default() };
    let mut walk =
        Walk { report, from, at: Place::default(), last_at: Place::default(), started: false, kept_from: 0 };
    for (index, file) in files.into_iter().enumerate() {
        walk.at = Place { file: index, line: 0 };
        let is_last = index + 1 == paths.len();
        if walk.file(BufReader::with_capacity(BUFFER_BYTES, file), is_last)? {
            // A gap in the numbers is a line that is gone, unless it comes later.
            walk.look_ahead(&paths)?;
            break;
        }
    }
    walk.end();
    walk.report.ok = walk.report.broken.is_none();
    Ok(walk.report)
}

fn lines(first: u64, last: u64) -> String {
    if first == last { format!("line {first} is") } else { format!("lines {first} to {last} are") }
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    file: usize,
    line: u64,
}

struct Walk {
    report: Report,
    from: u64,
    at: Place,
    last_at: Place,
    started: bool,
    kept_from: u64,
}

impl Walk {
    /// Reads a file. Returns true as soon as something is wrong.
    fn file(&mut self, mut reader: BufReader<File>, is_last: bool) -> io::Result<bool> {
        let own = memmem::Finder::new(b"\"event_code\":\"audit.");
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(false);
            }
            self.at.line += 1;
            if line.pop_if(|byte| *byte == b'\n').is_none() {
                if is_last && length < usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX) {
                    self.report.torn = length as u64;
                    return Ok(false);
                }
                let seq = self.report.last.seq + 1;
                self.broken(self.at, seq, Flaw::Edited, "the file ends in the middle of this line");
                return Ok(true);
            }
            self.line(&line, own.find(&line).is_some());
            if self.report.broken.is_some() {
                return Ok(true);
            }
        }
    }

    fn line(&mut self, line: &[u8], is_own: bool) {
        let (at, last) = (self.at, self.report.last);
        let sealed = match chain::read(line) {
            Ok(sealed) => sealed,
            Err(_) if chain::claims(line).is_some_and(|seq| seq < self.from) => return,
            Err(chain::Flaw::Malformed) => {
                return self.broken(at, last.seq + 1, Flaw::Foreign, "this is no line of the audit");
            }
            Err(chain::Flaw::Edited(seq)) => {
                return self.broken(
                    at,
                    seq,
                    Flaw::Edited,
                    "this line does not say what was written: its hash is that of another text",
                );
            }
        };
        let seq = sealed.link.seq;
        if seq < self.from {
            return;
        }
        let body = is_own.then(|| serde_json::from_slice::<Value>(line).ok()).flatten();
        if !self.started {
            self.started = true;
            self.report.first = seq;
            let begins = body.as_ref().is_some_and(|body| body["metadata"]["event_code"] == "audit.opened");
            if !begins && self.from == 0 {
                return self.broken(at, seq, Flaw::Missing, "the lines with which the file began are gone");
            }
        } else if seq <= last.seq {
            let message = format!("line {seq} stands behind line {}", last.seq);
            return self.broken(at, seq, Flaw::Reordered, message);
        } else if seq > last.seq + 1 {
            let message = format!("{} gone in front of line {seq}", lines(last.seq + 1, seq - 1));
            return self.broken(at, seq, Flaw::Missing, message);
        } else if sealed.prev != last.hash {
            let message = format!("this is not the line after which line {seq} was written");
            return self.broken(self.last_at, last.seq, Flaw::Edited, message);
        }
        if let Some(body) = body {
            self.own(seq, &body);
        }
        self.report.lines += 1;
        self.report.last = sealed.link;
        self.last_at = at;
    }

    /// Takes note of what the audit tells of itself.
    fn own(&mut self, seq: u64, body: &Value) {
        let about = &body["unmapped"];
        let code = body["metadata"]["event_code"].as_str().unwrap_or_default();
        let message = body["message"].as_str().unwrap_or_default();
        if code == "audit.opened" {
            self.kept_from = about["kept_from"].as_u64().unwrap_or(0);
            return;
        }
        if about["tampered"].is_string() {
            return self.broken(self.at, seq, Flaw::Missing, message);
        }
        self.report.notes.push(Note { seq, message: message.to_owned() });
    }

    /// Compares the ends with what they should be.
    fn end(&mut self) {
        if self.report.broken.is_some() {
            return;
        }
        let (first, last, files) = (self.report.first, self.report.last, self.report.files.len());
        let behind =
            Place { file: files.saturating_sub(1), line: self.at.line + u64::from(self.report.torn == 0) };
        if self.from == 0 && first > self.kept_from && self.kept_from > 0 {
            let message = format!("{} gone, a whole file", lines(self.kept_from, first - 1));
            return self.broken(Place { file: 0, line: 1 }, first, Flaw::Missing, message);
        }
        let Some(head) = self.report.head else { return };
        if head.seq > last.seq {
            let message = format!("{} gone from the end", lines(last.seq + 1, head.seq));
            self.broken(behind, last.seq + 1, Flaw::CutOff, message);
        } else if head.seq == last.seq && head.hash != last.hash {
            self.broken(self.last_at, last.seq, Flaw::Edited, "this is not the line that was written last");
        }
    }

    /// Looks for the line that should have come: if it is there, none is missing.
    fn look_ahead(&mut self, paths: &[PathBuf]) -> io::Result<()> {
        let wanted = self.report.last.seq + 1;
        let Some(broken) = &mut self.report.broken else { return Ok(()) };
        if broken.flaw != Flaw::Missing || !self.started || broken.seq <= wanted {
            return Ok(());
        }
        for path in paths {
            let mut reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
            let mut line = Vec::new();
            while reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
                if chain::claims(&line) == Some(wanted) {
                    broken.flaw = Flaw::Reordered;
                    broken.message = format!("line {} stands in front of line {wanted}", broken.seq);
                    return Ok(());
                }
                line.clear();
            }
        }
        Ok(())
    }

    fn broken(&mut self, at: Place, seq: u64, flaw: Flaw, message: impl Into<String>) {
        let file = self.report.files.get(at.file).cloned().unwrap_or_default();
        self.report.broken = Some(Broken { file, line: at.line, seq, flaw, message: message.into() });
    }
}
