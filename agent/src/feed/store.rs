//! The last good list, on disk: a start without the source enforces it at once.
//!
//! A file a feed, `<state>/feeds/NAME.list`; [`layout`] says what is in it. It is replaced in one
//! step, and what is in it is checked before it is believed.

/// What is in a file.
mod layout;
/// When entries came.
mod came;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use layout::fuzz;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Seek as _, SeekFrom, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use self::layout::{Damage, Header, Meta};
use super::{Entries, Listing, ledger::Ledger};
use crate::{config, record::seconds};

pub use came::Since;

/// What is on disk is for its owner, and for the group to read: a list may be nobody else's business.
const MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// What a server is asked with, so that it need not send what it sent before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What a list has in common with a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Its prefixes in which the whole of it lies.
    pub around: Vec<IpNet>,
    /// How many of its prefixes lie in it, and are longer.
    pub inside: u64,
}

/// A last good list.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// When it was last confirmed.
    pub confirmed: SystemTime,
    /// What to ask with.
    pub validators: Validators,
    /// What it lists.
    pub content: Content,
}

/// What a last good list lists.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Entries.
    Listing(Listing),
    /// Entries that end by themselves.
    Ledger(Ledger),
}

/// Why a last good list cannot be had or kept.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
}

/// A directory with last good lists.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    writes: bool,
}

impl Store {
    /// Returns the store below the state directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("feeds"), writes: true }
    }

    /// Returns the store as one that is only read.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { writes: false, ..self }
    }

    /// Returns the last good list of a feed; nothing where there is none, or one of another source
    /// or in another format. A time to come, of a clock that was put back, is now.
    ///
    /// # Errors
    /// [`StoreError`] where there is one, but not as it was written. It is then kept aside, as
    /// `NAME.list.bad`, so that it can be looked at.
    pub fn load(&self, feed: &config::Feed) -> Result<Option<Saved>, StoreError> {
        let path = self.path(&feed.name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, "cannot be read", &error)),
        };
        match layout::read(file, &basis(feed)) {
            Ok(Some((header, meta, content))) => {
                let confirmed = header.confirmed().min(SystemTime::now());
                Ok(Some(Saved { confirmed, validators: meta.validators, content }))
            }
            Ok(None) => Ok(None),
            Err(Damage::Io(error)) => Err(failed(&path, "cannot be read", &error)),
            Err(damage) if !self.writes => Err(StoreError { path, message: damage.to_string() }),
            Err(damage) => {
                let aside = aside(&path);
                let kept = match fs::rename(&path, &aside) {
                    Ok(()) => format!("kept as {}", aside.display()),
                    Err(error) => format!("cannot be moved aside: {error}"),
                };
                Err(StoreError { path, message: format!("{damage}; {kept}; the whole list is fetched anew") })
            }
        }
    }

    /// Keeps the last good list of a feed, in one step. Where only the time differs from what is
    /// kept already, only the time is written.
    ///
    /// # Errors
    /// [`StoreError`] where the disk is full, for example; the one before is then still there.
    pub fn save(&self, feed: &config::Feed, saved: &Saved) -> Result<(), StoreError> {
        if !self.writes {
            return Ok(());
        }
        let path = self.path(&feed.name);
        let meta = Meta { basis: basis(feed), validators: saved.validators.clone() };
        let body = layout::Body::new(&meta, &saved.content)
            .map_err(|error| failed(&path, "cannot be written", &error))?;
        let header = body.header(saved.confirmed);
        if written(&path).is_some_and(|written| written.same_body(&header)) {
            return write_header(&path, &header);
        }
        let unfinished = unfinished(&path);
        let write = || {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.directory)?;
            let file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&unfinished)?;
            let mut writer = BufWriter::with_capacity(layout::PIECE, file);
            writer.write_all(&header.encode())?;
            body.write(&mut |piece| writer.write_all(piece))?;
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| {
            // It may not be there.
            _ = fs::remove_file(&unfinished);
            failed(&path, "cannot be written, so the one before is kept", &error)
        })
    }

    /// Keeps that the list of a feed has been confirmed, which it was when it was kept. Writes 64
    /// bytes in place, and nothing where there is no list.
    ///
    /// # Errors
    /// [`StoreError`] where that cannot be written.
    pub fn confirm(&self, feed: &config::Feed, confirmed: SystemTime) -> Result<(), StoreError> {
        let path = self.path(&feed.name);
        match written(&path).filter(|_| self.writes) {
            Some(written) => write_header(&path, &written.at(confirmed)),
            None => Ok(()),
        }
    }

    /// Returns the prefixes of a feed's last good list in which an address is, widest first. The
    /// list is read from disk for it: three million entries take about 20 ms.
    ///
    /// # Errors
    /// [`StoreError`] where the list cannot be read.
    pub fn covering(&self, name: &str, address: IpAddr) -> Result<Vec<IpNet>, StoreError> {
        self.overlap(name, address.to_canonical().into()).map(|overlap| overlap.around)
    }

    /// Returns what a feed's last good list has in common with a prefix, read from disk likewise.
    ///
    /// # Errors
    /// [`StoreError`] where the list cannot be read.
    pub fn overlap(&self, name: &str, prefix: IpNet) -> Result<Overlap, StoreError> {
        let path = self.path(name);
        let found = match File::open(&path) {
            Ok(file) => layout::overlap(file, prefix),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Overlap::default()),
            Err(error) => Err(Damage::Io(error)),
        };
        let mut found = found.map_err(|damage| StoreError { path, message: damage.to_string() })?;
        found.around.sort_unstable_by_key(IpNet::prefix_len);
        found.around.dedup();
        Ok(found)
    }

    /// Takes note of entries that came now; `first` says that there was no list before.
    ///
    /// # Errors
    /// [`StoreError`] where that cannot be written.
    pub fn came(&self, feed: &config::Feed, added: &Entries, first: bool) -> Result<(), StoreError> {
        let path = self.came_path(&feed.name);
        if !self.writes || added.is_empty() && !first {
            return Ok(());
        }
        let write = || {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.directory)?;
            came::note(&path, added, first, seconds(SystemTime::now()))
        };
        write().map_err(|error| failed(&path, "cannot be written", &error))
    }

    /// Returns since when one of these prefixes is in the list of a feed. Nothing where that is not known.
    #[must_use]
    pub fn since(&self, name: &str, prefixes: &[IpNet]) -> Option<Since> {
        came::since(&self.came_path(name), prefixes)
    }

    /// Returns when the entry ends by itself that has an address for longest, as of when the list was
    /// kept. Nothing where none does, or one has no end.
    #[must_use]
    pub fn ends(&self, name: &str, address: IpAddr) -> Option<SystemTime> {
        let ledger = layout::ledger(File::open(self.path(name)).ok()?).ok()??;
        let covering =
            ledger.iter().filter(|(_, entry)| entry.prefixes.iter().any(|it| it.contains(&address)));
        covering.map(|(_, entry)| entry.ends).max_by_key(|ends| (ends.is_none(), *ends)).flatten()
    }

    /// Forgets the lists of feeds that are not among `feeds`.
    pub fn retain<'f>(&self, feeds: impl Iterator<Item = &'f config::Feed>) {
        // Nothing has been kept yet.
        let Ok(files) = fs::read_dir(&self.directory) else { return };
        let names: HashSet<&str> = feeds.map(|feed| feed.name.as_str()).collect();
        for file in files.flatten() {
            let name = file.file_name();
            let name = name.to_string_lossy();
            let owner = name.strip_suffix(".list.bad").or_else(|| name.strip_suffix(".list"));
            let owner = owner.or_else(|| name.strip_prefix('.')?.strip_suffix(".list.new"));
            let owner = owner.or_else(|| name.strip_suffix(".came"));
            if owner.is_none_or(|owner| names.contains(owner)) {
                continue;
            }
            if let Err(error) = fs::remove_file(file.path()) {
                tracing::warn!(file = %file.path().display(), %error, "cannot remove the list of a feed that is gone");
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.list"))
    }

    fn came_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.came"))
    }
}

/// Returns what the file says of itself, if it does.
fn written(path: &Path) -> Option<Header> {
    let mut bytes = [0; layout::HEADER];
    let file = File::open(path).ok()?;
    file.read_exact_at(&mut bytes, 0).ok()?;
    let header = Header::decode(&bytes).ok()?;
    (file.metadata().ok()?.len() == header.file_size()).then_some(header)
}

/// Writes the head of a file in place. It is within one sector, so it is written or is not. It
/// may get lost with the host's power; the time is then the one before.
fn write_header(path: &Path, header: &Header) -> Result<(), StoreError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header.encode())
    };
    write().map_err(|error| failed(path, "its time cannot be written", &error))
}

/// Returns what a list depends on: one that was kept under other settings is not used.
fn basis(feed: &config::Feed) -> String {
    let source = match &feed.source {
        config::Source::File(path) => path.display().to_string(),
        config::Source::Networks(networks) => format!("{networks:?}"),
        config::Source::Pack(name) => name.clone(),
        config::Source::Http(http) | config::Source::Misp(http) => http.url.clone(),
        config::Source::Crowdsec(crowdsec) => {
            let config::Crowdsec { http, origins, scenarios_containing, .. } = crowdsec;
            format!("{} {origins:?} {scenarios_containing:?}", http.url)
        }
        config::Source::Taxii(taxii) => format!("{} {}", taxii.http.url, taxii.min_confidence),
        config::Source::Bgp(bgp) => format!("{:?}", bgp.communities),
    };
    let format = serde_json::to_string(&feed.format).unwrap_or_default();
    let config::Select { min_score, categories, tables } = &feed.select;
    let config::Guards { ipv4_prefix, ipv6_prefix, .. } = feed.guards;
    let kind = feed.source.as_str();
    format!(
        "{kind} {source}\n{format}\n{min_score:?} {categories:?} {tables:?}\n/{ipv4_prefix} /{ipv6_prefix}"
    )
}

fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.bad"))
}

fn failed(path: &Path, what: &str, error: &io::Error) -> StoreError {
    StoreError { path: path.to_owned(), message: format!("{what}: {error}") }
}
