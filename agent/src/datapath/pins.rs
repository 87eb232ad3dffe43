//! Where things are pinned, and the lock of the one agent.
//!
//! `<bpffs>/weir/v<ABI>/` holds `prog`, `links/<interface>` and `maps/<NAME>`. The version in the
//! path keeps agents of different layouts out of each other's maps.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use weir_common::ABI_VERSION;

use super::{DatapathError, Result};

/// Paths of everything that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    bpffs: PathBuf,
}

/// Keeps other agents out until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

impl Pins {
    /// Returns the paths below a BPF filesystem.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self { bpffs: bpffs.to_owned() }
    }

    /// Returns the directory of this version.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.bpffs.join("weir").join(format!("v{ABI_VERSION}"))
    }

    /// Returns the pin of the program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.root().join("prog")
    }

    /// Returns where a new program is pinned before it takes the place of the old one.
    #[must_use]
    pub fn new_program(&self) -> PathBuf {
        self.root().join("prog-new")
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
        self.links().join(interface.replace('.', ":"))
    }

    /// Returns the directory of the maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.root().join("maps")
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
        let Ok(entries) = fs::read_dir(self.links()) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().into_string().ok()?.replace(':', ".")))
            .collect();
        names.sort_unstable();
        names
    }

    /// Makes the directories, mounting a BPF filesystem where there is none.
    ///
    /// # Errors
    /// [`DatapathError::NoBpffs`], [`DatapathError::Pin`]
    pub fn create(&self) -> Result<()> {
        self.mount()?;
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
        let path = self.bpffs.clone();
        let no_bpffs = |error: Errno| DatapathError::NoBpffs { path: path.clone(), error: error.into() };
        if statfs(&self.bpffs).map_err(no_bpffs)?.filesystem_type() == BPF_FS_MAGIC {
            return Ok(());
        }
        mount(Some("bpf"), &self.bpffs, Some("bpf"), MsFlags::empty(), Some("mode=0700")).map_err(no_bpffs)
    }

    /// Takes the place of the one agent.
    ///
    /// # Errors
    /// [`DatapathError::Locked`] where another agent has it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.root();
        let failed = |error: io::Error| DatapathError::Pin { operation: "open", path: path.clone(), error };
        let directory = File::open(&path).map_err(failed)?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(DatapathError::Locked { path }),
            Err((_, error)) => {
                Err(DatapathError::Pin { operation: "lock", path: path.clone(), error: error.into() })
            }
        }
    }

    /// Returns true if an agent is at work.
    #[must_use]
    pub fn locked(&self) -> bool {
        matches!(self.lock(), Err(DatapathError::Locked { .. }))
    }

    /// Removes everything: links first, so that no interface is left with half a program. Returns
    /// the interfaces that were detached.
    ///
    /// # Errors
    /// [`DatapathError::Pin`] at the first that cannot be removed.
    pub fn remove(&self) -> Result<Vec<String>> {
        let detached = self.linked();
        for interface in &detached {
            remove(&self.link(interface))?;
        }
        remove(&self.program())?;
        remove(&self.new_program())?;
        if let Ok(entries) = fs::read_dir(self.maps()) {
            for entry in entries.flatten() {
                remove(&entry.path())?;
            }
        }
        for directory in [self.maps(), self.links(), self.root()] {
            remove_directory(&directory)?;
        }
        // Pins of another version may still be there.
        _ = fs::remove_dir(self.bpffs.join("weir"));
        Ok(detached)
    }
}

/// Removes a pin that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::Pin { operation: "remove", path: path.to_owned(), error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::Pin { operation: "remove", path: path.to_owned(), error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
