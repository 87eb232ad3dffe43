use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, umask};

/// For the owner and the group, read and write.
const UMASK: Mode = Mode::from_bits_truncate(0o117);
const DIRECTORY_MODE: u32 = 0o750;

/// The path of a socket. Dropped, it is removed, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    inode: u64,
}

/// Makes a socket at a path with `bind`, in place of one that an agent has left that is no more:
/// `connect` finds out whether somebody is there. To be called before there are other threads: what they
/// make meanwhile would get the mode of the socket.
///
/// # Errors
/// If there is another agent, something that is no socket, or no permission.
pub(crate) fn bind<T>(
    path: &Path,
    connect: impl FnOnce(&Path) -> io::Result<()>,
    bind: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<(T, Place)> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
    make_way(path, connect)?;
    let before = umask(UMASK);
    let socket = bind(path);
    umask(before);
    Ok((socket?, Place { path: path.to_owned(), inode: fs::metadata(path)?.ino() }))
}

impl Place {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket on which nobody listens.
fn make_way(path: &Path, connect: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "is there and is no socket; remove it"));
    }
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) => {
            let error = "another agent listens there; stop it, or give this one a path of its own";
            Err(io::Error::new(io::ErrorKind::AddrInUse, error))
        }
        Err(error) => Err(error),
    }
}
