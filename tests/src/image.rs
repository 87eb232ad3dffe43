//! What a container image of the agent is made of.
//!
//! `cargo xtask image` and the tests lay out the same files: the program, the libraries that it is linked
//! with, as they are on this machine, and what it needs to speak TLS and to resolve names.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// Where in the image the program is.
const PROGRAM: &str = "usr/bin/weir";
/// Where systems have the certificates of public authorities; the first is where the image has them.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
/// The C library asks nobody else.
const NSSWITCH: &str = "hosts: files dns\n";

/// Returns deploy/Containerfile.
#[must_use]
pub fn containerfile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/Containerfile")
}

/// Lays out in a directory, which is made anew, what [`containerfile`] is built over.
///
/// # Errors
/// If the program or something of what it needs is not there.
pub fn lay_out(program: &Path, directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    let root = directory.join("rootfs");
    let target = root.join(PROGRAM);
    make_parent(&target)?;
    // Names of functions are half of it, and those of lines most of it.
    let stripped = Command::new("strip").arg("-o").args([&target, program]).status();
    let stripped = stripped.context("run `strip` (package binutils)")?;
    ensure!(stripped.success(), "strip {}: {stripped}", program.display());
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).context("make it a program")?;
    for library in libraries(program)? {
        copy(&library, &root)?;
    }
    let authorities = AUTHORITIES.iter().find(|path| Path::new(path).is_file());
    let authorities = authorities.context("no certificates of authorities (package ca-certificates)")?;
    write(&root, AUTHORITIES[0], &fs::read(authorities).with_context(|| format!("read {authorities}"))?)?;
    write(&root, "/etc/nsswitch.conf", NSSWITCH.as_bytes())
}

/// Returns the libraries of a program and the loader, by the paths at which the loader finds them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let said = Command::new("ldd").arg(program).output().context("run `ldd`")?;
    let said = String::from_utf8_lossy(&said.stdout);
    let mut libraries = Vec::new();
    for line in said.lines() {
        ensure!(!line.contains("not found"), "{}: {}", program.display(), line.trim());
        // `libc.so.6 => /lib/libc.so.6 (0x…)`, `/lib64/ld.so (0x…)`, and `linux-vdso.so.1 (0x…)`, which is
        // no file.
        let path = line.split_once("=>").map_or(line, |(_, path)| path).trim();
        let path = path.split(' ').next().unwrap_or(path);
        if path.starts_with('/') {
            libraries.push(path.into());
        }
    }
    if libraries.is_empty() && !said.contains("statically linked") {
        bail!("{}: `ldd` names no library: {}", program.display(), said.trim());
    }
    Ok(libraries)
}

/// Copies what a path leads to, to the same path below `root`.
fn copy(path: &Path, root: &Path) -> Result<()> {
    let target = root.join(path.strip_prefix("/").unwrap_or(path));
    make_parent(&target)?;
    fs::copy(path, &target).with_context(|| format!("copy {}", path.display())).map(drop)
}

fn write(root: &Path, path: &str, contents: &[u8]) -> Result<()> {
    let target = root.join(path.trim_start_matches('/'));
    make_parent(&target)?;
    fs::write(&target, contents).with_context(|| format!("write {}", target.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_program_its_libraries_and_the_authorities() {
        let directory = tempfile::tempdir().unwrap();
        let context = directory.path().join("image");
        let program = fs::canonicalize("/bin/cat").unwrap();
        // What was there is of another program.
        fs::create_dir_all(context.join("rootfs/usr/lib/old")).unwrap();
        lay_out(&program, &context).unwrap();
        let root = context.join("rootfs");
        for path in [PROGRAM, &AUTHORITIES[0][1..], "etc/nsswitch.conf"] {
            assert!(root.join(path).is_file(), "{path}");
        }
        let libraries = libraries(&program).unwrap();
        assert!(libraries.iter().any(|path| path.ends_with("libc.so.6")), "{libraries:?}");
        assert!(libraries.iter().all(|path| root.join(path.strip_prefix("/").unwrap()).is_file()));
        assert!(!root.join("usr/lib/old").exists());
        assert!(lay_out(Path::new("/nonexistent"), &context).is_err());
    }
}
