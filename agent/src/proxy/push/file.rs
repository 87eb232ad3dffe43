//! Files, in one step: whoever reads one reads the old or the new.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use tokio::task;

/// Proxies run as somebody else.
const MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Writes what `make` makes of the bans into a file, by rename(2): Envoy sees that in the directory.
///
/// # Errors
/// What the file system says; the file of before is then still there.
pub(super) async fn put(
    path: &Path,
    bans: &Arc<[IpNet]>,
    make: impl FnOnce(&[IpNet]) -> Vec<u8> + Send + 'static,
) -> Result<(), String> {
    let (path, bans) = (path.to_owned(), Arc::clone(bans));
    let written = task::spawn_blocking(move || {
        let text = make(&bans);
        write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))
    });
    written.await.unwrap_or_else(|_| Err("the agent stops".to_owned()))
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    let new = unfinished(path);
    // What an agent has left that was killed; and never through a link that somebody has put there.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written = File::options().write(true).create_new(true).mode(MODE).open(&new).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text)?;
        file.sync_data()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        _ = fs::remove_file(&new);
        return Err(error);
    }
    Ok(())
}

fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.weir-new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("run/bans"), directory.path().join("other"));
        write(&path, b"one").unwrap();
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, unfinished(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read(&other).unwrap(), b"kept");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }
}
