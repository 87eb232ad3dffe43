//! `weir audit`: reads the files, with or without an agent.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Subcommand;
use serde_json::Value;

use super::{CliError, EXIT_FAILURE, Output, value::number};
use crate::{
    audit::{
        chain,
        files::{self, Head},
        verify::{self, Report},
    },
    output::{self, Format},
    record,
};

/// How often it is looked whether there is more.
const POLL: Duration = Duration::from_millis(300);
/// Bytes that are looked at in one piece, from the end.
const BLOCK_BYTES: u64 = 1 << 16;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Show the last entries, with `-o json` as they are written.
    Tail {
        /// How many.
        #[arg(short = 'n', long = "lines", default_value_t = 20, value_name = "N", value_parser = number(0..=u32::MAX))]
        lines: u32,
        /// Go on with those that follow.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Check that all is as it was written, and name the first line that is not.
    Verify {
        /// Files, if not those of the state directory. The head is then looked for beside them.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Check lines from this number on, for an audit that is known to be broken before.
        #[arg(long, default_value_t = 0, value_name = "SEQ", value_parser = number(0..=u64::MAX))]
        from: u64,
        #[command(flatten)]
        output: Output,
    },
}

impl Audit {
    pub(super) fn run(self, state: &Path) -> Result<ExitCode, CliError> {
        match self {
            Self::Tail { lines, follow, output } => {
                let lines = usize::try_from(lines).unwrap_or(usize::MAX);
                tail(state, lines, follow, output.output)?;
            }
            Self::Verify { files, from, output } => return check(state, files, from, output.output),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn check(state: &Path, files: Vec<PathBuf>, from: u64, format: Format) -> Result<ExitCode, CliError> {
    let report = if files.is_empty() {
        verify::state(state, from)
    } else {
        let head = head_of(&files, state);
        verify::verify(files, head.map(|head| head.link), from)
    };
    let report = report.map_err(CliError::Audit)?;
    output::print(format, &report, words);
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// Returns the head that belongs to one of the files: it lies beside it, or in the state directory.
fn head_of(files: &[PathBuf], state: &Path) -> Option<Head> {
    let beside = |file: &PathBuf| Head::beside(file).filter(|head| head.file.file_name() == file.file_name());
    files.iter().find_map(beside).or_else(|| {
        let head = Head::load(state)?;
        let is_it = |file: &PathBuf| file.canonicalize().is_ok_and(|file| file == head.file);
        files.iter().any(is_it).then_some(head)
    })
}

fn words(report: &Report) -> String {
    let mut text = String::new();
    let Report { files, lines, first, last, head, torn, notes, broken, .. } = report;
    for note in notes {
        _ = writeln!(text, "line {}: {}", note.seq, note.message);
    }
    if *torn > 0 {
        _ = writeln!(
            text,
            "{} at the end {} no whole line: one that is being written, or was when the host stopped",
            output::counted(*torn, "byte"),
            if *torn == 1 { "is" } else { "are" },
        );
    }
    if let Some(broken) = broken {
        let (file, seq, flaw) = (broken.file.display(), broken.seq, broken.flaw);
        _ = writeln!(text, "BROKEN  {file}:{}: seq {seq}: {flaw}: {}", broken.line, broken.message);
        let as_written = if *lines == 1 { "is as it was written" } else { "are as they were written" };
        _ = writeln!(text, "{} before it {as_written}", output::counted(*lines, "line"));
        return text;
    }
    let lines = output::counted(*lines, "line");
    let files = match files.as_slice() {
        [file] => file.display().to_string(),
        [.., last] => format!("{} up to {}", output::counted(files.len(), "file"), last.display()),
        [] => "no file".to_owned(),
    };
    _ = writeln!(text, "ok  {lines} in {files}, {first} to {}; the last has {}", last.seq, last.hash);
    if head.is_none() {
        _ = writeln!(text, "without the head, audit.head, lines that were cut off the end are not missed");
    }
    text
}

/// Prints the last entries, and those that follow.
fn tail(state: &Path, lines: usize, follow: bool, format: Format) -> Result<(), CliError> {
    let path = files::current(state);
    let mut last = Last::default();
    let mut older = files::before(&path).map_err(CliError::Audit)?;
    let mut texts = Vec::new();
    let mut reader = match File::open(&path) {
        Ok(mut file) => {
            (texts, last.at) = end(&mut file, lines.max(1)).map_err(CliError::Audit)?;
            last.inode = file.metadata().map_err(CliError::Audit)?.ino();
            Some(file)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && (follow || !older.is_empty()) => None,
        Err(error) => {
            let error = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            return Err(CliError::Audit(error));
        }
    };
    last.seq = texts.last().and_then(|text| chain::claims(text.as_bytes())).unwrap_or_else(|| {
        let before = older.last().and_then(|(_, path)| files::last(path));
        before.map_or(0, |link| link.seq)
    });
    if lines == 0 {
        texts.clear();
    }
    while texts.len() < lines
        && let Some((_, path)) = older.pop()
    {
        let mut file = File::open(path).map_err(CliError::Audit)?;
        let (mut more, _) = end(&mut file, lines - texts.len()).map_err(CliError::Audit)?;
        more.append(&mut texts);
        texts = more;
    }
    let shown = |texts: &[String]| texts.iter().all(|text| show(text, format).is_ok());
    let header_shown = format == Format::Json || output::lines(&header()).is_ok();
    if !header_shown || !shown(&texts) || !follow {
        return Ok(());
    }
    loop {
        thread::sleep(POLL);
        if !shown(&last.follow(&path, &mut reader).map_err(CliError::Audit)?) {
            // Whoever has read it has gone.
            return Ok(());
        }
    }
}

/// Where reading has come to.
#[derive(Default)]
struct Last {
    at: u64,
    inode: u64,
    /// Number of the last line: files are put aside while they are read, so one may be met twice.
    seq: u64,
}

impl Last {
    /// Returns the lines that have come since, also in a new file.
    fn follow(&mut self, path: &Path, reader: &mut Option<File>) -> io::Result<Vec<String>> {
        let mut texts = Vec::new();
        if let Some(file) = reader {
            self.rest(file, &mut texts)?;
        }
        let is_new = |about: std::fs::Metadata| about.ino() != self.inode || about.len() < self.at;
        if std::fs::metadata(path).is_ok_and(is_new) {
            let mut file = File::open(path)?;
            // What has come to the old one since.
            if let Some(old) = reader {
                self.rest(old, &mut texts)?;
            }
            let mut older = files::before(path)?;
            if files::last(path).is_some_and(|last| last.seq < self.seq) {
                // Another chain, which somebody has begun in place of the one that was read.
                self.seq = 0;
                older.clear();
            }
            let read = older.partition_point(|(first, _)| *first <= self.seq).saturating_sub(1);
            for (_, path) in &older[read..] {
                // One that has just been removed has had its time.
                if let Ok(mut file) = File::open(path) {
                    self.at = 0;
                    self.rest(&mut file, &mut texts)?;
                }
            }
            (self.at, self.inode) = (0, file.metadata()?.ino());
            self.rest(&mut file, &mut texts)?;
            *reader = Some(file);
        }
        Ok(texts)
    }

    fn rest(&mut self, file: &mut File, texts: &mut Vec<String>) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.at))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.by_ref().take(files::LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            if line.pop_if(|byte| *byte == b'\n').is_none() {
                // It is being written.
                break;
            }
            self.at += line.len() as u64 + 1;
            let seq = chain::claims(&line);
            if seq.is_none_or(|seq| seq > self.seq) {
                self.seq = seq.unwrap_or(self.seq);
                texts.push(String::from_utf8_lossy(&line).into_owned());
            }
            line.clear();
        }
        Ok(())
    }
}

/// Returns the last lines of a file, and where they end.
fn end(file: &mut File, lines: usize) -> io::Result<(Vec<String>, u64)> {
    let length = file.metadata()?.len();
    let (mut text, mut start) = (Vec::new(), length);
    // One newline more: that in front of the first.
    while start > 0 && memchr::memchr_iter(b'\n', &text).count() <= lines {
        let from = start.saturating_sub(BLOCK_BYTES);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(start - from).read_to_end(&mut block)?;
        block.append(&mut text);
        (text, start) = (block, from);
    }
    let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
    let end = length - (text.len() - whole) as u64;
    text.truncate(whole);
    let all: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let all = all.get(..all.len().saturating_sub(1)).unwrap_or_default();
    let wanted = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    Ok((wanted.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect(), end))
}

fn header() -> String {
    row("SEQ", "TIME", "WHO", "WHAT", "MESSAGE")
}

fn show(text: &str, format: Format) -> io::Result<()> {
    match format {
        Format::Json => output::lines(text),
        Format::Table => output::lines(&entry(text)),
    }
}

fn entry(text: &str) -> String {
    let Ok(line) = serde_json::from_str::<Value>(text) else { return format!("?  {text}") };
    let milliseconds = line["time"].as_u64().unwrap_or(0);
    let time = humantime::format_rfc3339_seconds(record::time(milliseconds / 1000)).to_string();
    let seq = line["seq"].to_string();
    let code = line["metadata"]["event_code"].as_str().unwrap_or("?");
    row(&seq, &time, &who(&line["actor"]), code, line["message"].as_str().unwrap_or_default())
}

fn who(actor: &Value) -> String {
    let (user, process) = (&actor["user"], &actor["process"]["pid"]);
    match (user["name"].as_str().or(actor["app_name"].as_str()), user["uid"].as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(uid)) => format!("uid {uid} pid {process}"),
        (None, None) => "?".to_owned(),
    }
}

/// Widths are fixed, since the next line may come hours later.
fn row(seq: &str, time: &str, who: &str, what: &str, message: &str) -> String {
    format!("{seq:>8}  {time:<20}  {who:<20}  {what:<15}  {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let long = "x".repeat(100_000);
        std::fs::write(&path, format!("one\n{long}\ntwo\nthree\nhal")).unwrap();
        let mut file = File::open(&path).unwrap();
        let (lines, at) = end(&mut file, 2).unwrap();
        assert_eq!(lines, ["two", "three"]);
        assert_eq!(at, file.metadata().unwrap().len() - 3);
        assert_eq!(end(&mut file, 9).unwrap().0.len(), 4);
        assert_eq!(end(&mut file, 0).unwrap().0, [""; 0]);
        let mut last = Last { at, inode: file.metadata().unwrap().ino(), seq: 0 };
        std::fs::write(&path, format!("one\n{long}\ntwo\nthree\nhalf\n")).unwrap();
        assert_eq!(last.follow(&path, &mut Some(file)).unwrap(), ["half"]);
    }

    #[test]
    fn a_line_is_followed_once_however_files_are_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let mut chain = chain::Link::default();
        let lines: Vec<String> = (0..5)
            .map(|_| {
                let mut text = Vec::new();
                chain.seal(r#"{"message":"x"}"#, &mut text);
                String::from_utf8(text).unwrap()
            })
            .collect();
        let numbered = |seq: usize| lines[seq - 1].clone();
        let shown = |texts: Vec<String>| {
            texts.iter().filter_map(|text| chain::claims(text.as_bytes())).collect::<Vec<_>>()
        };
        std::fs::write(&path, numbered(1)).unwrap();
        let (mut last, mut reader) = (Last::default(), None);
        assert_eq!(shown(last.follow(&path, &mut reader).unwrap()), [1]);
        // A new file is there before its first line is.
        std::fs::rename(&path, files::put_aside(&path, 1)).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(shown(last.follow(&path, &mut reader).unwrap()), [0; 0]);
        std::fs::write(&path, numbered(2) + &numbered(3)).unwrap();
        // Two have been put aside since.
        std::fs::rename(&path, files::put_aside(&path, 2)).unwrap();
        std::fs::write(files::put_aside(&path, 4), numbered(4)).unwrap();
        std::fs::write(&path, numbered(5)).unwrap();
        assert_eq!(shown(last.follow(&path, &mut reader).unwrap()), [2, 3, 4, 5]);
        // Another chain.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, numbered(1)).unwrap();
        assert_eq!(shown(last.follow(&path, &mut reader).unwrap()), [1]);
    }
}
