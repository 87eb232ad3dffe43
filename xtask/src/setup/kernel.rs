use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::{apt, step};
use crate::{pins::Series, sh};

/// Where kernels are kept, from the root of the workspace.
const CACHE: &str = "target/kernels/images";
/// How packages of kernels are called, before the release.
const PACKAGE: &str = "linux-image-";

/// A kernel of the distribution: unpacked, not installed.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    package: String,
}

impl Kernel {
    /// Returns its release, as `uname -r` says it.
    pub(crate) fn release(&self) -> &str {
        self.package.trim_start_matches(PACKAGE)
    }

    /// Returns the file that a boot loader starts.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder().join("boot").join(format!("vmlinuz-{}", self.release()))
    }

    /// Returns the folder of its modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder().join("lib/modules").join(self.release())
    }

    fn folder(&self) -> PathBuf {
        sh::root().join(CACHE).join(&self.package)
    }

    fn is_here(&self) -> bool {
        self.image().is_file() && self.modules().is_dir()
    }
}

/// Makes the newest kernel of a series be there; where it cannot be had, one from before.
pub(crate) fn kernel(series: &Series) -> Result<Kernel> {
    let mut failure = anyhow!("the package lists of this machine have no {}", series.name());
    for lists in ["as they are", "new"] {
        if lists == "new"
            && let Err(error) = apt::update()
        {
            failure = failure.context(error);
        }
        let Some(package) = newest(known(series), series) else { continue };
        match fetch(package) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => failure = error,
        }
    }
    let before = newest(cached(), series).map(|package| Kernel { package }).filter(Kernel::is_here);
    if let Some(kernel) = &before {
        eprintln!("setup: {} cannot be had, {} is taken: {failure:#}", series.name(), kernel.release());
    }
    before.ok_or(failure).with_context(|| {
        format!("no Linux {}: it comes from Debian 12, by apt-get and its security archive", series.version)
    })
}

/// Returns the names of packages that the lists of this machine have of a series.
fn known(series: &Series) -> Vec<String> {
    let pattern = format!("^{}", series.before.replace('.', r"\."));
    let found = sh::output(sh::command("apt-cache").args(["search", "--names-only", &pattern]));
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    found.unwrap_or_default().lines().map(name).collect()
}

/// Returns the names of packages that have been unpacked.
fn cached() -> Vec<String> {
    let Ok(entries) = fs::read_dir(sh::root().join(CACHE)) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Returns the newest of the packages that are of the series.
fn newest(packages: Vec<String>, series: &Series) -> Option<String> {
    packages
        .into_iter()
        .filter_map(|package| Some((series.number(&package)?, package)))
        .max()
        .map(|(_, it)| it)
}

impl Series {
    /// Returns what tells a package of this series from others: the number that is raised with it.
    fn number(&self, package: &str) -> Option<u32> {
        package.strip_prefix(self.before)?.strip_suffix(self.after)?.parse().ok()
    }

    fn name(&self) -> String {
        format!("{}*{}", self.before, self.after)
    }
}

/// Downloads and unpacks a package, unless that was done before. What is there is complete.
fn fetch(package: String) -> Result<Kernel> {
    let kernel = Kernel { package };
    if kernel.is_here() {
        return Ok(kernel);
    }
    let parent = sh::root().join(CACHE);
    fs::create_dir_all(&parent).with_context(|| format!("make {}", parent.display()))?;
    let work = tempfile::Builder::new().prefix("download-").tempdir_in(&parent).context("make a folder")?;
    let mut download = sh::command("apt-get");
    download.args(["download", &kernel.package]).current_dir(work.path());
    step::run(&format!("downloading {} (about 100 MB)", kernel.package), &mut download)?;
    let archive =
        fs::read_dir(work.path())?.flatten().next().context("apt-get has downloaded nothing")?.path();
    let unpacked = work.path().join("unpacked");
    let mut unpack = sh::command("dpkg-deb");
    step::run(
        &format!("unpacking {}", kernel.package),
        unpack.arg("--extract").arg(&archive).arg(&unpacked),
    )?;
    // Half of one may be left by a run that was interrupted.
    _ = fs::remove_dir_all(kernel.folder());
    fs::rename(&unpacked, kernel.folder()).context("put the kernel in its place")?;
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::KERNELS;

    #[test]
    fn newest_package_of_a_series_is_found_among_others() {
        let packages = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = packages(&[
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.1.0-57-cloud-amd64",
            "linux-image-6.1.0-58-amd64-dbg",
            "linux-image-6.12.9+deb12-amd64",
            "linux-image-6.12.117+deb12-amd64",
            "linux-image-6.12.118+deb12-rt-amd64",
            "linux-image-6.12-amd64",
        ]);
        let newest = |n: usize| newest(all.clone(), &KERNELS[n]).unwrap();
        assert_eq!(newest(0), "linux-image-6.1.0-56-amd64");
        assert_eq!(newest(1), "linux-image-6.12.117+deb12-amd64");
        assert_eq!(super::newest(packages(&["linux-image-amd64"]), &KERNELS[0]), None);
    }

    #[test]
    fn files_are_named_by_the_release() {
        let kernel = Kernel { package: "linux-image-6.1.0-56-amd64".to_owned() };
        assert_eq!(kernel.release(), "6.1.0-56-amd64");
        assert!(kernel.image().ends_with("boot/vmlinuz-6.1.0-56-amd64"));
        assert!(kernel.modules().ends_with("lib/modules/6.1.0-56-amd64"));
    }
}
