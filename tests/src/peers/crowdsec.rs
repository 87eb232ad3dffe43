use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{from_debian, output, spawn, wait_for};
use crate::{namespace::Namespace, patience, process::Process};

/// The local API of `CrowdSec` with a database of its own, without a hub, a log to read, or a word to
/// the outside.
#[derive(Debug)]
pub struct Crowdsec {
    namespace: Namespace,
    directory: TempDir,
    programs: [PathBuf; 2],
    process: Option<Process>,
}

impl Crowdsec {
    /// Where it listens.
    pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
    /// The key of the bouncer `weir`.
    pub const KEY: &str = "0123456789abcdef0123456789abcdef";

    /// Starts one in a namespace; nothing: there is no such program.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(namespace: &Namespace) -> Result<Option<Self>> {
        let (Some(crowdsec), Some(cscli)) = (from_debian("crowdsec"), from_debian("cscli")) else {
            return Ok(None);
        };
        let directory = tempfile::Builder::new().prefix("crowdsec-").tempdir().context("make a directory")?;
        let mut lapi =
            Self { namespace: namespace.clone(), directory, programs: [crowdsec, cscli], process: None };
        lapi.configure()?;
        lapi.cscli(&["machines", "add", "test", "--password", "test", "-f", &lapi.path("credentials.yaml")])?;
        lapi.cscli(&["bouncers", "add", "weir", "-k", Self::KEY])?;
        lapi.resume()?;
        Ok(Some(lapi))
    }

    /// Returns the file with its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// Runs its command line, such as `["decisions", "add", "-i", "192.0.2.1"]`, and returns what it
    /// prints.
    ///
    /// # Errors
    /// If it refuses.
    pub fn cscli(&self, arguments: &[&str]) -> Result<String> {
        let [_, cscli] = &self.programs;
        let mut command = self.namespace.command(cscli);
        command.args(["-c", &self.path("config.yaml")]).args(arguments);
        output(command)
    }

    /// Stops it. What it knows stays in its database.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM)?;
            process.wait(patience::seconds(10))?;
        }
        Ok(())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&mut self) -> Result<()> {
        let [crowdsec, _] = &self.programs;
        let log = self.directory.path().join("log");
        let arguments = ["-c", &self.path("config.yaml"), "-no-cs"];
        let mut process = spawn(&self.namespace, crowdsec, &arguments, &[], &log)?;
        wait_for(&self.namespace, Self::ADDRESS, &mut process, &log).context("start crowdsec")?;
        self.process = Some(process);
        Ok(())
    }

    fn configure(&self) -> Result<()> {
        let d = self.directory.path().display();
        let address = Self::ADDRESS;
        let write = |name: &str, text: &str| {
            let path = self.directory.path().join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        for name in ["data", "hub", "notifications", "plugins"] {
            fs::create_dir(self.directory.path().join(name)).context("make a directory")?;
        }
        write("hub/.index.json", "{}")?;
        write("simulation.yaml", "simulation: false\n")?;
        // A profile that decides nothing by itself.
        write("profiles.yaml", "name: none\nfilters: [\"false\"]\non_success: break\n")?;
        write("credentials.yaml", "")?;
        write("key", &format!("{}\n", Self::KEY))?;
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).context("protect the key")?;
        write(
            "config.yaml",
            &format!(
                "common: {{daemonize: false, log_media: stdout, log_level: info, working_dir: {d}}}
config_paths:
  config_dir: {d}
  data_dir: {d}/data
  simulation_path: {d}/simulation.yaml
  hub_dir: {d}/hub
  index_path: {d}/hub/.index.json
  notification_dir: {d}/notifications
  plugin_dir: {d}/plugins
cscli: {{output: human}}
db_config: {{log_level: info, type: sqlite, db_path: {d}/data/crowdsec.db, use_wal: true}}
api:
  client: {{credentials_path: {d}/credentials.yaml}}
  server: {{log_level: info, listen_uri: '{address}', profiles_path: {d}/profiles.yaml}}
prometheus: {{enabled: false}}
"
            ),
        )
    }

    fn path(&self, name: &str) -> String {
        Path::new(self.directory.path()).join(name).display().to_string()
    }
}
