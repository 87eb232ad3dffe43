//! A volume as a kubelet makes it of a `ConfigMap`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A directory in which names lead through `..data` to another directory with each version.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
    version: u32,
}

impl Volume {
    /// Makes a directory with these files.
    ///
    /// # Errors
    /// If it is there already.
    pub fn new(path: PathBuf, files: &[(&str, &str)]) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        for (name, _) in files {
            symlink(Path::new("..data").join(name), path.join(name)).context("make a link")?;
        }
        let mut volume = Self { path, version: 0 };
        volume.swap(files)?;
        Ok(volume)
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a new version in place of the one before, in the order of Kubernetes' `atomic_writer`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn swap(&mut self, files: &[(&str, &str)]) -> Result<()> {
        let name = |version| format!("..2026_11_24_10_00_00.{version:010}");
        let before = self.path.join(name(self.version));
        self.version += 1;
        let new = name(self.version);
        fs::create_dir(self.path.join(&new)).context("make a version")?;
        for (file, text) in files {
            fs::write(self.path.join(&new).join(file), text).with_context(|| format!("write {file}"))?;
        }
        symlink(&new, self.path.join("..data_tmp")).context("make a link")?;
        fs::rename(self.path.join("..data_tmp"), self.path.join("..data")).context("swap the link")?;
        // The first one has none before it.
        _ = fs::remove_dir_all(before);
        Ok(())
    }
}
