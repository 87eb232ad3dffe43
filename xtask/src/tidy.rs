//! The invariants of the source tree (docs/ARCHITECTURE.md), each with the mend in its message.

/// Documents that have to be complete.
mod documents;
/// Names that belong to one place.
mod homes;
/// Code that may not touch the world.
mod purity;
/// Rust source as names with their lines.
mod source;
/// Lengths and paths in plain text.
mod text;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::sh;

/// All rules. Each looks at the whole tree and returns what is against it.
const RULES: [fn(&Tree) -> Vec<Violation>; 6] =
    [homes::check, purity::check, text::lengths, text::machine_paths, documents::decisions, documents::maps];

/// Checks the tree that git would commit.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(sh::root())?;
    let violations: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        bail!("tidy: {} violations", violations.len());
    }
    eprintln!("tidy: {} files, no violation", tree.files.len());
    Ok(())
}

/// The text files of the tree.
struct Tree {
    files: Vec<File>,
}

/// A text file; the path is that from the root, with slashes.
struct File {
    path: String,
    text: String,
}

/// Something against a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    mend: String,
}

impl Tree {
    /// Reads what is tracked, and what would be after `git add`. Files that are not text are left out.
    fn read(root: &Path) -> Result<Self> {
        let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let list = Command::new("git").args(words).current_dir(root).output().context("run git")?;
        let says = String::from_utf8_lossy(&list.stderr);
        ensure!(list.status.success(), "git cannot list {}: {}", root.display(), says.trim());
        let names = String::from_utf8(list.stdout).context("a file name is not UTF-8")?;
        let paths = names.split('\0').filter(|path| !path.is_empty());
        Ok(Self { files: paths.filter_map(|path| File::read(root.join(path), path)).collect() })
    }

    /// Returns the Rust files.
    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| Path::new(&file.path).extension().is_some_and(|end| end == "rs"))
    }

    /// Returns a file by its path.
    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// Nothing for a deleted file, for a link and for what is not text.
    fn read(from: PathBuf, path: &str) -> Option<Self> {
        fs::symlink_metadata(&from).ok()?.is_file().then_some(())?;
        Some(Self { path: path.to_owned(), text: fs::read_to_string(from).ok()? })
    }

    /// Returns true if the file is `home`, the module of that name, or below it.
    fn is_in(&self, home: &str) -> bool {
        let rest = self.path.strip_prefix(home);
        rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    }

    fn violation(&self, line: usize, rule: &'static str, mend: String) -> Violation {
        Violation { path: self.path.clone(), line, rule, mend }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, mend } = self;
        write!(f, "{path}:{line}: {rule}: {mend}")
    }
}

#[cfg(test)]
impl Tree {
    /// A made-up tree.
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File { path: path.to_owned(), text: text.to_owned() };
        Self { files: files.iter().map(file).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violation_can_be_followed_by_an_editor() {
        let tree = Tree::of(&[("common/src/line.rs", "")]);
        let violation = tree.files[0].violation(7, "rule", "mend".to_owned());
        assert_eq!(violation.to_string(), "common/src/line.rs:7: rule: mend");
    }

    #[test]
    fn home_is_a_file_a_module_or_a_folder() {
        let file = |path: &str| File { path: path.to_owned(), text: String::new() };
        assert!(file("agent/src/datapath.rs").is_in("agent/src/datapath"));
        assert!(file("agent/src/datapath/load.rs").is_in("agent/src/datapath"));
        assert!(file("ebpf/src/main.rs").is_in("ebpf/src/main.rs"));
        assert!(!file("agent/src/datapaths.rs").is_in("agent/src/datapath"));
    }
}
