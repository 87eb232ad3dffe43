//! Parts of a kernel that a distribution keeps in files of their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{setup::Kernel, sh};

/// A module, ready to be loaded.
#[derive(Debug)]
pub(super) struct Module {
    /// Its name.
    pub(super) name: String,
    /// Its contents, not compressed.
    pub(super) bytes: Vec<u8>,
}

/// Returns the modules with these names and what they depend on, in the order in which they can be
/// loaded. What is built into the kernel is left out.
pub(super) fn with_dependencies(kernel: &Kernel, names: &[&str]) -> Result<Vec<Module>> {
    let mut files = Vec::new();
    find(&kernel.modules(), &mut files)?;
    let built_in = fs::read_to_string(kernel.modules().join("modules.builtin")).unwrap_or_default();
    let mut search =
        Search { files, built_in: built_in.lines().filter_map(name_of).collect(), found: Vec::new() };
    names.iter().try_for_each(|name| search.add(name))?;
    Ok(search.found)
}

struct Search {
    files: Vec<PathBuf>,
    built_in: Vec<String>,
    found: Vec<Module>,
}

impl Search {
    fn add(&mut self, name: &str) -> Result<()> {
        let name = name.replace('-', "_");
        if self.built_in.contains(&name) || self.found.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let has_name = |path: &&PathBuf| path.to_str().and_then(name_of).as_ref() == Some(&name);
        let path =
            self.files.iter().find(has_name).with_context(|| format!("this kernel has no module {name}"))?;
        let bytes = read(path)?;
        // Modules do not depend on each other in circles: the kernel could not load them.
        for dependency in dependencies(&bytes) {
            self.add(&dependency)?;
        }
        self.found.push(Module { name, bytes });
        Ok(())
    }
}

/// Collects the modules in a folder and below.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find(&path, files)?;
        } else if path.to_str().and_then(name_of).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns the name of a module from the path of its file.
fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz"].iter().find_map(|end| file.strip_suffix(end))?;
    Some(stem.replace('-', "_"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|end| end == "xz") {
        let mut command = sh::command("xz");
        return sh::bytes(command.args(["--decompress", "--stdout"]).arg(path));
    }
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// Returns what a module says it depends on. It says so in a section of strings that end with zero.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_that_of_the_file() {
        assert_eq!(name_of("kernel/net/sched/sch_ingress.ko.xz").unwrap(), "sch_ingress");
        assert_eq!(name_of("veth.ko").unwrap(), "veth");
        assert_eq!(name_of("kernel/crypto/crc32c-intel.ko").unwrap(), "crc32c_intel");
        assert_eq!(name_of("modules.builtin"), None);
    }

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(dependencies(b"..\0license=GPL\0depends=garp,mrp\0intree=Y\0"), ["garp", "mrp"]);
        assert_eq!(dependencies(b"..\0depends=\0intree=Y\0"), [""; 0]);
        assert_eq!(dependencies(b"..\0license=GPL\0"), [""; 0]);
    }
}
