//! What a guest has: this program as its first process, the agent, the tests, and what they call,
//! with their libraries.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result};

use super::{
    archive::Archive,
    guest,
    modules::Module,
    suite::{Programs, Test},
};
use crate::sh;

/// Programs of the machine that tests call.
const TOOLS: [&str; 7] = ["ip", "bpftool", "mount", "prlimit", "setpriv", "touch", "true"];
/// What tests read of the tree. It is where it is here: they know it by the path they were built with.
const TREE: [&str; 3] = ["config", "deploy", "docs"];
/// Names that need no server.
const HOSTS: &str = "127.0.0.1 localhost\n";
/// Who runs the tests has a name.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n";

/// Packs a guest for these tests.
pub(super) fn pack(
    programs: &Programs,
    tests: &[Test],
    modules: &[Module],
    scratch: &Path,
) -> Result<Vec<u8>> {
    let mut image = Image { archive: Archive::default(), libraries: BTreeSet::new(), scratch };
    for folder in guest::FOLDERS {
        image.archive.folder(folder)?;
    }
    // The kernel opens it for the first process.
    image.archive.device("/dev/console", 5, 1)?;
    // By this name it is found even after a build has put another in its place.
    image.program(guest::INIT, Path::new(&format!("/proc/{}/exe", process::id())))?;
    image.program(guest::AGENT, &programs.agent)?;
    for (name, path) in &programs.tests {
        if tests.iter().any(|test| test.binary == *name) {
            image.program(&guest::test_program(name), path)?;
        }
    }
    for tool in TOOLS {
        let path = sh::find(tool).with_context(|| format!("`{tool}` is missing"))?;
        image.program(&format!("/bin/{tool}"), &path)?;
    }
    for (number, module) in modules.iter().enumerate() {
        // Numbered, since they are loaded in this order.
        let path = format!("{}/{number:02}-{}.ko", guest::MODULES, module.name);
        image.archive.file(&path, false, &module.bytes)?;
    }
    // They come there by way of their own crate.
    image.archive.folder(&sh::root().join("tests").to_string_lossy())?;
    for folder in TREE {
        image.tree(&sh::root().join(folder))?;
    }
    image.archive.file("/etc/hosts", false, HOSTS.as_bytes())?;
    image.archive.file("/etc/passwd", false, USERS.as_bytes())?;
    image.archive.file(guest::PLAN, false, guest::write_plan(tests).as_bytes())?;
    image.finish()
}

struct Image<'s> {
    archive: Archive,
    libraries: BTreeSet<PathBuf>,
    scratch: &'s Path,
}

impl Image<'_> {
    /// Adds a program, and notes its libraries.
    fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        let list = sh::text(sh::command("ldd").arg(from))?;
        self.libraries.extend(libraries(&list));
        let bytes = self.without_debug_info(from)?;
        self.archive.file(path, true, &bytes)
    }

    /// Adds a folder with all that is in it.
    fn tree(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                self.tree(&path)?;
            } else {
                let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                self.archive.file(&path.to_string_lossy(), false, &bytes)?;
            }
        }
        Ok(())
    }

    /// Nine tenths of a test program are for debuggers, and a guest has its memory to unpack it into.
    fn without_debug_info(&self, from: &Path) -> Result<Vec<u8>> {
        let stripped = self.scratch.join("stripped");
        let mut strip = sh::command("strip");
        let done = sh::output(strip.args(["--strip-debug", "-o"]).arg(&stripped).arg(from)).is_some();
        let path = if done { &stripped } else { from };
        fs::read(path).with_context(|| format!("read {}", path.display()))
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        for library in &self.libraries {
            let bytes = fs::read(library).with_context(|| format!("read {}", library.display()))?;
            self.archive.file(&library.to_string_lossy(), true, &bytes)?;
        }
        self.archive.finish()
    }
}

/// Returns the files in what `ldd` prints: `name => /path (address)`, or `/path (address)`.
fn libraries(list: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let word = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        let path = word.split_once(" (")?.0;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    list.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let list = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x7f)\n\t\
                    /lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = ["/lib/x86_64-linux-gnu/libelf.so.1", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(list), paths.map(PathBuf::from));
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
