//! The file being written: opened, mended, rotated, and written so that a failure leaves it as it was.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    chain::{self, Link},
    entry::{Actor, Entry, Own, What},
    files::{self, Head, Tail},
    ocsf::Context,
};
use crate::{config, digest::Digest};

/// Only the owner and its group read what people have done.
const MODE: u32 = 0o640;
/// Text that is gathered before it is written.
const TOGETHER_BYTES: usize = 1 << 20;

/// The audit on disk.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    state: PathBuf,
    settings: config::Audit,
    context: Context,
    open: Option<Open>,
    link: Link,
    /// What is to be told of the files themselves, before anything else.
    notes: Vec<Own>,
    /// What others have done to them, until somebody asks.
    tampered: Option<String>,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    length: u64,
    /// Number of its first line.
    first: u64,
}

impl Book {
    pub(super) fn new(settings: config::Audit, state: &Path, context: Context) -> Self {
        let path = settings.path.clone().unwrap_or_else(|| state.join(files::FILE));
        let (state, link, notes) = (state.to_owned(), Link::default(), Vec::new());
        Self { path, state, settings, context, open: None, link, notes, tampered: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes entries to disk, all or none of them, and returns the last line.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<Link> {
        self.prepare()?;
        let Some(open) = &mut self.open else { return Err(io::Error::other("it is not open")) };
        let (length, before) = (open.length, self.link);
        let mut link = before;
        let written = write(open, &self.context, &self.notes, entries, &mut link);
        if let Err(error) = written.and_then(|()| open.file.sync_data()) {
            // Half a batch would be in the way of the next. Where that cannot be undone, it is mended at
            // the next attempt.
            if open.file.set_len(length).is_ok() {
                open.length = length;
            } else {
                self.open = None;
            }
            return Err(error);
        }
        (self.link, self.notes) = (link, Vec::new());
        let head = Head { file: self.path.clone(), link };
        if let Err(error) = head.store(&self.state) {
            // It is then behind, which is nothing that anybody would be blamed for.
            tracing::debug!(%error, "cannot write the head of the audit");
        }
        Ok(link)
    }

    /// Returns what has been done to the files by others, once.
    pub(super) fn take_tampered(&mut self) -> Option<String> {
        self.tampered.take()
    }

    /// Makes sure that there is a file to write to, and room in it.
    fn prepare(&mut self) -> io::Result<()> {
        let size = self.settings.size;
        match &self.open {
            Some(open) if !open.is_in_place(&self.path) => {
                self.open = None;
                self.open()
            }
            Some(open) if open.length >= size => {
                let first = open.first;
                self.rotate(first)
            }
            Some(_) => Ok(()),
            None => self.open(),
        }
    }

    fn rotate(&mut self, first: u64) -> io::Result<()> {
        let aside = files::put_aside(&self.path, first);
        fs::rename(&self.path, &aside)?;
        self.open = None;
        self.begin(Some(&aside))
    }

    /// Begins a file behind the last line.
    fn begin(&mut self, before: Option<&Path>) -> io::Result<()> {
        let mut older = files::before(&self.path)?;
        let surplus =
            older.len().saturating_sub(usize::try_from(self.settings.files).unwrap_or(usize::MAX) - 1);
        for (_, path) in older.drain(..surplus) {
            fs::remove_file(path)?;
        }
        let first = self.link.seq + 1;
        self.open = Some(create(&self.path, first)?);
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        self.notes.insert(
            0,
            Own::Opened {
                before: before.and_then(name),
                after: self.link,
                kept_from: older.first().map_or(first, |(first, _)| *first),
            },
        );
        Ok(())
    }

    /// Opens what is there, and compares it with what was left.
    fn open(&mut self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::create_dir_all(&self.state)?;
        let head = Head::load(&self.state);
        let known = head
            .as_ref()
            .map_or(self.link, |head| if head.link.seq > self.link.seq { head.link } else { self.link });
        let moved = head.is_some_and(|head| head.file != self.path);
        let mut open = create(&self.path, 0)?;
        let Tail { line, torn } = files::tail(&mut open.file, open.length)?;
        if torn > 0 {
            open.file.set_len(open.length - torn)?;
            open.length -= torn;
        }
        let Some(line) = line else { return self.open_empty(known, moved, torn) };
        if moved {
            // It was written before another path was, so it is an old one.
            let first = files::first(&self.path).unwrap_or(0);
            self.link = known;
            return self.rotate(first);
        }
        let tampered = self.go_on_behind(&line, known);
        open.first = files::first(&self.path).unwrap_or(self.link.seq + 1);
        self.open = Some(open);
        self.note(torn, tampered);
        Ok(())
    }

    /// Begins the first file, or one in place of another that is gone.
    fn open_empty(&mut self, known: Link, moved: bool, torn: u64) -> io::Result<()> {
        let older = files::before(&self.path)?;
        let before = older.last().map(|(_, path)| path.clone());
        // It may have been put aside in the moment before power was lost.
        let last = before.as_deref().and_then(files::last).unwrap_or_default();
        let gone = last.seq < known.seq && !moved;
        self.link = if last.seq > known.seq { last } else { known };
        self.begin(before.as_deref())?;
        let tampered = gone.then(|| format!("the file is gone with its lines up to {}", known.seq));
        self.note(torn, tampered);
        Ok(())
    }

    /// Finds the line behind which to go on. Returns what is wrong with the end of the file.
    fn go_on_behind(&mut self, line: &[u8], known: Link) -> Option<String> {
        match chain::read(line) {
            Ok(last) if last.link.seq > known.seq || last.link == known => {
                self.link = last.link;
                None
            }
            Ok(last) if last.link.seq == known.seq => {
                self.link = known;
                Some(format!("line {} is not the one that was written", known.seq))
            }
            Ok(last) => {
                self.link = known;
                Some(format!("lines {} to {} were cut off", last.link.seq + 1, known.seq))
            }
            Err(_) => {
                let seq = chain::claims(line).unwrap_or(0);
                self.link = if known.seq > 0 { known } else { Link { seq, hash: Digest::of(line) } };
                Some(format!("the last line, after which line {} is written, is not ours", self.link.seq + 1))
            }
        }
    }

    fn note(&mut self, torn: u64, tampered: Option<String>) {
        self.tampered.clone_from(&tampered);
        if torn > 0 || tampered.is_some() {
            self.notes.push(Own::Recovered { torn, tampered });
        }
    }
}

impl Open {
    /// Returns true if the file is still at its path, and as long as it was left.
    fn is_in_place(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|about| about.ino() == self.inode && about.len() == self.length)
    }
}

fn create(path: &Path, first: u64) -> io::Result<Open> {
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).mode(MODE).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    if about.len() == 0
        && let Some(directory) = path.parent()
    {
        File::open(directory)?.sync_all()?;
    }
    Ok(Open { inode: about.ino(), length: about.len(), file, first })
}

fn write(
    open: &mut Open,
    context: &Context,
    notes: &[Own],
    entries: &[Entry],
    link: &mut Link,
) -> io::Result<()> {
    let (mut text, mut flushed) = (Vec::new(), Ok(()));
    let own = notes.iter().map(|note| Entry {
        at: SystemTime::now(),
        actor: Actor::Agent,
        what: What::Own(note.clone()),
    });
    let own: Vec<Entry> = own.collect();
    for entry in own.iter().chain(entries) {
        context.write(entry, |body| {
            link.seal(&body, &mut text);
            if text.len() >= TOGETHER_BYTES && flushed.is_ok() {
                flushed = open.flush(&mut text);
            }
        });
    }
    flushed?;
    open.flush(&mut text)
}

impl Open {
    fn flush(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        self.file.write_all(text)?;
        self.length += text.len() as u64;
        text.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
