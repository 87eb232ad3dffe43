//! Servers of decisions and indicators, and what lists are compared with, for tests: in `target/peers`,
//! where they touch nothing of the machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Found, apt, step, version::Version};
use crate::{pins::PYTHON_PEERS, sh};

/// Below the root of the workspace. Tests look for it beside themselves.
const DIRECTORY: &str = "target/peers";
/// A program of Debian.
struct Debian {
    /// Where its package has it.
    path: &'static str,
    /// The package, and those of its libraries that a machine may lack. They are unpacked, not installed:
    /// the package of a server would start it.
    packages: &'static [&'static str],
    /// What it is asked for its version.
    version: &'static str,
}

/// Ahead of packages whose libraries are too many to be named: apt-get is asked which this machine lacks.
const ALL: &str = "";

const DEBIAN_PEERS: [Debian; 12] = [
    Debian { path: "usr/bin/crowdsec", packages: &["crowdsec"], version: "-version" },
    Debian { path: "usr/bin/iprange", packages: &["iprange"], version: "--version" },
    Debian {
        path: "usr/bin/crowdsec-custom-bouncer",
        packages: &["crowdsec-custom-bouncer"],
        version: "-version",
    },
    Debian {
        path: "usr/sbin/haproxy",
        packages: &["haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0"],
        version: "-v",
    },
    Debian { path: "usr/sbin/nginx", packages: &["nginx", "nginx-common"], version: "-v" },
    Debian {
        path: "usr/bin/redis-server",
        packages: &["redis-tools", "redis-server", "libjemalloc2", "liblzf1", "libatomic1"],
        version: "--version",
    },
    Debian {
        path: "usr/bin/prometheus-alertmanager",
        packages: &["prometheus-alertmanager"],
        version: "--version",
    },
    Debian { path: "usr/bin/minisign", packages: &["minisign", "libsodium23"], version: "-v" },
    Debian { path: "usr/bin/prometheus", packages: &["prometheus"], version: "--version" },
    Debian {
        path: "usr/bin/buildah",
        // With the policy and the seccomp profile of containers.
        packages: &[
            "buildah",
            "golang-github-containers-common",
            "golang-github-containers-image",
            "libgpgme11",
            "libassuan0",
            "libdevmapper1.02.1",
            "libseccomp2",
        ],
        version: "--version",
    },
    Debian { path: "usr/sbin/runc", packages: &["runc", "libseccomp2"], version: "--version" },
    // Last: it brings many libraries, which others do not need.
    Debian {
        path: "usr/bin/chromedriver",
        packages: &[ALL, "chromium", "chromium-driver"],
        version: "--version",
    },
];
/// Where they find the libraries that were unpacked beside them.
const LIBRARIES: [&str; 2] = ["debian/usr/lib/x86_64-linux-gnu", "debian/lib/x86_64-linux-gnu"];

/// Gets those that are missing. Returns what is there, and why the others are not.
pub(super) fn ensure() -> Vec<Result<Found>> {
    let debian = DEBIAN_PEERS.iter().map(Debian::ensure);
    let python = PYTHON_PEERS.iter().map(|(package, version)| {
        let mark = directory("python").join(format!("{package}-{version}"));
        if !mark.is_file() {
            install(package, version).with_context(|| format!("get {package}"))?;
            fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))?;
        }
        Ok(Found { name: package, version: (*version).to_owned(), detail: relative(&directory("python")) })
    });
    debian.chain(python).collect()
}

/// Gets the program of that name alone, if it is missing.
pub(super) fn ensure_one(name: &str) -> Result<Found> {
    let peer = DEBIAN_PEERS.iter().find(|peer| peer.path.ends_with(&format!("/{name}")));
    peer.with_context(|| format!("no peer is called {name}"))?.ensure()
}

impl Debian {
    fn ensure(&self) -> Result<Found> {
        let Self { path, packages, version } = self;
        let program = directory("debian").join(path);
        if !program.is_file() {
            let all = match packages {
                [ALL, packages @ ..] => apt::lacking(packages)?,
                packages => packages.iter().map(|package| (*package).to_owned()).collect(),
            };
            all.iter().try_for_each(|package| unpack(package).with_context(|| format!("get {path}")))?;
        }
        found(path.rsplit('/').next().unwrap_or(path), &program, &[version])
    }
}

/// Downloads a package of Debian and unpacks it, for which nobody need be root.
fn unpack(package: &str) -> Result<()> {
    ensure!(apt::is_here(), "this machine has no apt-get; Debian's package {package} cannot be had");
    let folder = directory("packages");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let download = || {
        let mut command = sh::command("apt-get");
        step::run(&format!("downloading {package}"), command.args(["download", package]).current_dir(&folder))
    };
    // The lists may be old, or none.
    download().or_else(|_| apt::update().and_then(|()| download()))?;
    let prefix = format!("{package}_");
    let files = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let file = files.filter(is_it).max().with_context(|| format!("no {package} in {}", folder.display()))?;
    let target = directory("debian");
    fs::create_dir_all(&target)?;
    step::run(&format!("unpacking {package}"), sh::command("dpkg").arg("-x").arg(file).arg(target))
}

/// Installs a package of PyPI into an environment of its own.
fn install(package: &str, version: &str) -> Result<()> {
    let environment = directory("python");
    if !environment.join("bin/pip").is_file() {
        let mut command = sh::command("python3");
        step::run("making a Python environment", command.args(["-m", "venv"]).arg(&environment))?;
    }
    let mut pip = sh::command(&environment.join("bin/pip").to_string_lossy());
    pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("{package}=={version}")]);
    step::run(&format!("installing {package} {version}"), &mut pip)
}

fn found(name: &'static str, path: &Path, ask: &[&str]) -> Result<Found> {
    let mut command = sh::command(&path.to_string_lossy());
    let said = command
        .args(ask)
        .env("LD_LIBRARY_PATH", LIBRARIES.map(|folder| directory(folder).display().to_string()).join(":"))
        .output();
    let said = said.with_context(|| format!("run {}", path.display()))?;
    // Some say it on standard error.
    let text =
        format!("{}\n{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    let version = Version::find(&text.replace(['~', '+'], "-").replace(['/', '='], " ").replace(" v", " "))
        .map_or_else(|| "?".to_owned(), |version| version.to_string());
    Ok(Found { name, version, detail: relative(path) })
}

fn directory(name: &str) -> PathBuf {
    sh::root().join(DIRECTORY).join(name)
}

fn relative(path: &Path) -> String {
    path.strip_prefix(sh::root()).unwrap_or(path).display().to_string()
}
