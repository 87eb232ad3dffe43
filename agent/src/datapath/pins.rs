//! Where things are pinned, and the lock of the one agent.
//!
//! `<bpffs>/weir/v<ABI>/` holds `prog`, `prog-tcx`, `links/<interface>` and `maps/<NAME>`. The version
//! in the path keeps agents of different layouts out of each other's maps.
//!
//! What is remade takes the place of what was by a rename, so that whenever an agent dies there is
//! one whole set of pins.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use weir_common::ABI_VERSION;

use super::{DatapathError, Result, link};

/// Paths of everything that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    bpffs: PathBuf,
}

/// Keeps other agents out, of this and of every other version, until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Vec<Flock<File>>);

impl Pins {
    /// Returns the paths below a BPF filesystem.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self { bpffs: bpffs.to_owned() }
    }

    /// Returns the directory of all versions.
    #[must_use]
    pub fn all(&self) -> PathBuf {
        self.bpffs.join("weir")
    }

    /// Returns the directory of this version.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.all().join(format!("v{ABI_VERSION}"))
    }

    /// Returns the directories of other versions.
    #[must_use]
    pub fn others(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.all()) else { return Vec::new() };
        let is_version = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix('v'));
            name.is_some_and(|number| number.parse::<u32>().is_ok()) && *path != self.root()
        };
        let mut others: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_version).collect();
        others.sort_unstable();
        others
    }

    /// Returns the pin of the XDP program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.root().join("prog")
    }

    /// Returns the pin of the TCX program.
    #[must_use]
    pub fn tcx_program(&self) -> PathBuf {
        self.root().join("prog-tcx")
    }

    /// Returns where a new link is pinned before it takes the place of the old one.
    pub(super) fn new_link(&self) -> PathBuf {
        self.root().join("link-new")
    }

    /// Returns the pin of the link that stands in while an interface changes its mode.
    pub(super) fn bridge(&self) -> PathBuf {
        self.root().join("bridge")
    }

    /// Returns the directory of the links.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root().join("links")
    }

    /// Returns the pin of the link to an interface. bpffs refuses dots in names (kernel/bpf/inode.c),
    /// so that of a VLAN interface like `eth0.100` is `eth0:100`; no interface name has a colon.
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        link_in(&self.root(), interface)
    }

    /// Returns the directory of the maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.root().join("maps")
    }

    /// Returns the directory in which maps are made before they take the place of those in force.
    pub(super) fn new_maps(&self) -> PathBuf {
        self.root().join("maps-new")
    }

    /// Returns the pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Returns true if a program is pinned.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.program().exists()
    }

    /// Returns the names of the interfaces that have a link.
    #[must_use]
    pub fn linked(&self) -> Vec<String> {
        linked_in(&self.root())
    }

    /// Makes the directories, mounting a BPF filesystem where there is none.
    ///
    /// # Errors
    /// [`DatapathError::NoBpffs`], [`DatapathError::Pin`]
    pub fn create(&self) -> Result<()> {
        self.mount()?;
        if !self.maps().exists() && self.new_maps().exists() {
            // An agent died between the two renames of `exchange`.
            rename(&self.new_maps(), &self.maps())?;
        }
        for path in [self.links(), self.maps()] {
            fs::create_dir_all(&path).map_err(|error| DatapathError::Pin {
                operation: "create directory",
                path,
                error,
            })?;
        }
        Ok(())
    }

    fn mount(&self) -> Result<()> {
        let kind = |path: &Path| statfs(path).map(|filesystem| filesystem.filesystem_type());
        // A user who may not enter the host's BPF filesystem can have our part of it somewhere else.
        if kind(&self.all()) == Ok(BPF_FS_MAGIC) {
            return Ok(());
        }
        let path = self.bpffs.clone();
        let no_bpffs = |error: Errno| DatapathError::NoBpffs { path: path.clone(), error: error.into() };
        if kind(&self.bpffs).map_err(no_bpffs)? == BPF_FS_MAGIC {
            return Ok(());
        }
        mount(Some("bpf"), &self.bpffs, Some("bpf"), MsFlags::empty(), Some("mode=0700")).map_err(no_bpffs)
    }

    /// Takes the place of the one agent.
    ///
    /// # Errors
    /// [`DatapathError::Locked`] where another agent has it.
    pub fn lock(&self) -> Result<Lock> {
        // An agent of another version locks what it knows of.
        let paths = [self.all(), self.root()].into_iter().chain(self.others());
        paths.map(lock).collect::<Result<_>>().map(Lock)
    }

    /// Returns true if an agent is at work.
    #[must_use]
    pub fn locked(&self) -> bool {
        matches!(self.lock(), Err(DatapathError::Locked { .. }))
    }

    /// Removes everything, of all versions. Returns the interfaces that were detached.
    ///
    /// # Errors
    /// [`DatapathError::Pin`] at the first that cannot be removed.
    pub fn remove(&self) -> Result<Vec<String>> {
        let mut detached = Vec::new();
        for root in self.others().into_iter().chain([self.root()]) {
            detached.extend(linked_in(&root));
            remove_version(&root)?;
        }
        // What is not ours may be there too.
        _ = fs::remove_dir(self.all());
        detached.sort_unstable();
        detached.dedup();
        Ok(detached)
    }
}

/// Returns the pin of the link to an interface in the directory of a version.
pub(super) fn link_in(root: &Path, interface: &str) -> PathBuf {
    root.join("links").join(interface.replace('.', ":"))
}

/// Returns the names of the interfaces that have a link in the directory of a version.
pub(super) fn linked_in(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("links")) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().into_string().ok()?.replace(':', ".")))
        .collect();
    names.sort_unstable();
    names
}

/// Removes the directory of a version: links first, so that no interface is left with half a program.
pub(super) fn remove_version(root: &Path) -> Result<()> {
    for interface in linked_in(root) {
        link::end(&link_in(root, &interface))?;
    }
    remove_tree(root)
}

/// Removes a directory and all pins below it. It may not be there.
pub(super) fn remove_tree(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        } else {
            remove(&entry.path())?;
        }
    }
    remove_directory(directory)
}

/// Removes a pin that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    unless_missing(fs::remove_file(path), "remove", path)
}

/// Moves a pin or a directory in the place of another, without a moment in which there is none.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| DatapathError::Pin {
        operation: "rename to",
        path: to.to_owned(),
        error,
    })
}

/// Puts the directory `new` in the place of `old`, at once where the kernel can (5.17), and removes
/// what was `old`.
pub(super) fn exchange(new: &Path, old: &Path) -> Result<()> {
    const RENAME_EXCHANGE: libc::c_uint = 2;
    let c_path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    let swap = || -> io::Result<()> {
        let (new, old) = (c_path(new)?, c_path(old)?);
        let here = libc::AT_FDCWD;
        // SAFETY: both paths end with a zero and outlive the call.
        let result = unsafe {
            libc::syscall(libc::SYS_renameat2, here, new.as_ptr(), here, old.as_ptr(), RENAME_EXCHANGE)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    if swap().is_err() {
        // `create` repairs what a death between the two leaves.
        remove_tree(old)?;
        return rename(new, old);
    }
    remove_tree(new)
}

fn lock(path: PathBuf) -> Result<Flock<File>> {
    let failed = |operation, error: io::Error| DatapathError::Pin { operation, path: path.clone(), error };
    let directory = File::open(&path).map_err(|error| failed("open", error))?;
    match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => Err(DatapathError::Locked { path }),
        Err((_, error)) => Err(failed("lock", error.into())),
    }
}

fn remove_directory(path: &Path) -> Result<()> {
    unless_missing(fs::remove_dir(path), "remove", path)
}

fn unless_missing(result: io::Result<()>, operation: &'static str, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::Pin { operation, path: path.to_owned(), error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
