use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::sh;

/// Where shells of Debian look for completions, by the name that the program has for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/weir"),
    ("zsh", "usr/share/zsh/vendor-completions/_weir"),
    ("fish", "usr/share/fish/vendor_completions.d/weir.fish"),
];

/// Lays out what is made and not in the sources: the program without its symbols, and its completions and
/// manual pages. Returns the program.
pub(super) fn lay_out(binary: &Path, folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    let program = place(folder, "usr/bin/weir")?;
    sh::run(Command::new("strip").arg("--strip-all").arg("-o").arg(&program).arg(binary))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    for (shell, path) in COMPLETIONS {
        let script = sh::bytes(Command::new(&program).args(["completions", shell]))?;
        let path = place(folder, path)?;
        fs::write(&path, script).with_context(|| format!("write {}", path.display()))?;
    }
    let first = place(folder, "usr/share/man/man1/weir.1")?;
    let pages = first.parent().context("a page in no folder")?;
    sh::text(Command::new(&program).arg("man").arg(pages))?;
    Ok(program)
}

/// Makes the folder of a file, and returns the file's path.
fn place(folder: &Path, path: &str) -> Result<PathBuf> {
    let path = folder.join(path);
    let parent = path.parent().context("a file in no folder")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    Ok(path)
}
