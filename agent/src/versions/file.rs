//! The configuration file: read, and replaced in one step.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use super::Proposal;

/// Largest signature that is read; those of minisign have some 300 bytes.
pub const SIGNATURE_BYTES_MAX: u64 = 4 << 10;
/// Permissions of a configuration file that was not there before.
const MODE: u32 = 0o640;

/// Returns where the signature of a configuration file lies.
#[must_use]
pub fn signature_of(path: &Path) -> PathBuf {
    beside(path, "", ".minisig")
}

/// Returns where a configuration file is kept that was replaced and is no version.
#[must_use]
pub fn replaced_of(path: &Path) -> PathBuf {
    beside(path, "", ".replaced")
}

/// Reads the signature of a configuration file. One that cannot be read is as good as none.
#[must_use]
pub fn read_signature(path: &Path) -> Option<String> {
    let path = signature_of(path);
    let small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= SIGNATURE_BYTES_MAX);
    if small { fs::read_to_string(path).ok() } else { None }
}

/// Writes a file in place of the one before, so that a power failure leaves one or the other.
///
/// # Errors
/// What the file system says; the one before is then still there.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = unfinished(path);
    let written = write_new(&new, bytes, mode).and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // Half a file on a full disk is in the way of others.
        _ = fs::remove_file(&new);
        return Err(error);
    }
    sync_directory(path)
}

/// A configuration written beside the file that it is to replace. Dropped, it is removed.
#[derive(Debug)]
pub struct Staged {
    target: PathBuf,
    signed: bool,
    /// What it replaces is kept aside.
    keep_aside: bool,
}

impl Staged {
    /// Returns true if the file as it now is will be kept aside.
    #[must_use]
    pub fn keeps_aside(&self) -> bool {
        self.keep_aside
    }

    /// Writes the text of a configuration, and its signature, beside the configuration file `path`.
    /// `keep_aside` has the file as it now is kept when it is replaced, as `FILE.replaced`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(path: &Path, proposal: &Proposal, keep_aside: bool) -> io::Result<Self> {
        // Of a link what it leads to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mode = fs::metadata(&target).map_or(MODE, |metadata| metadata.mode() & 0o7777);
        let staged = Self { target, signed: proposal.signature.is_some(), keep_aside };
        let new = unfinished(&staged.target);
        write_new(&new, proposal.text.as_bytes(), mode)?;
        if let Ok(before) = fs::metadata(&staged.target) {
            // Only root can; the file is then of whoever runs the agent.
            _ = chown(&new, Some(before.uid()), Some(before.gid()));
        }
        if let Some(signature) = &proposal.signature {
            write_new(&unfinished(&signature_of(&staged.target)), signature.as_bytes(), mode)?;
        }
        Ok(staged)
    }

    /// Puts it in the place of the configuration file. Whenever the host dies, the file is the one or
    /// the other.
    ///
    /// # Errors
    /// What the file system says; the file is then as it was.
    pub fn commit(self) -> io::Result<()> {
        let (target, signature) = (&self.target, signature_of(&self.target));
        if self.keep_aside {
            fs::copy(target, replaced_of(target))?;
        }
        // Before the text: the version of the text that is replaced has its own, see `signature::Key`.
        if self.signed {
            fs::rename(unfinished(&signature), &signature)?;
        }
        fs::rename(unfinished(target), target)?;
        if !self.signed {
            // It may not be there; it is of a text that is gone, and its version has it.
            _ = fs::remove_file(&signature);
        }
        sync_directory(target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit they are not there.
        _ = fs::remove_file(unfinished(&self.target));
        _ = fs::remove_file(unfinished(&signature_of(&self.target)));
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn unfinished(path: &Path) -> PathBuf {
    beside(path, ".", ".new")
}

fn beside(path: &Path, front: &str, end: &str) -> PathBuf {
    let mut name = OsString::from(front);
    name.push(path.file_name().unwrap_or_default());
    name.push(end);
    path.with_file_name(name)
}
