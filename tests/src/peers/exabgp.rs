use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{from_python, spawn, tail, wait_for};
use crate::{namespace::Namespace, patience, process::Process};

/// A BGP speaker in a namespace, at 127.0.0.2 or 127.0.0.1.
#[derive(Debug)]
pub struct Exabgp {
    namespace: Namespace,
    program: PathBuf,
    directory: TempDir,
    process: Option<Process>,
    listens: bool,
}

/// The port of BGP is for root; this one for tests.
const PORT: u16 = 11790;
/// What both ends speak of.
const FAMILIES: &str = "family { ipv4 unicast; ipv6 unicast; ipv4 flow; ipv6 flow; }";

impl Exabgp {
    /// Where the one listens that is told.
    const LISTENER: Ipv4Addr = Ipv4Addr::LOCALHOST;
    /// Where the one is that tells.
    const SPEAKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    /// Starts one that listens, and tells a shell command what it hears, a line of JSON a message, on
    /// its standard input; nothing: there is no such program.
    ///
    /// # Errors
    /// If it does not start.
    pub fn listen(namespace: &Namespace, command: &str) -> Result<Option<Self>> {
        let Some(mut listener) = Self::new(namespace, true)? else { return Ok(None) };
        // As a script: what stands behind `run` is split at blanks, whatever the quotes.
        let script = listener.file("run");
        fs::write(&script, format!("#!/bin/sh\n{command}\n")).context("write a script")?;
        let (speaker, this) = (Self::SPEAKER, Self::LISTENER);
        let config = format!(
            "process agent {{ run /bin/sh {}; encoder json; }}
neighbor {speaker} {{
  router-id 192.0.2.1; local-address {this}; local-as 65001; peer-as 65002; passive true; hold-time 9;
  {FAMILIES}
  api {{ processes [ agent ]; neighbor-changes; receive {{ parsed; update; }} }}
}}
",
            script.display()
        );
        listener.run(&config)?;
        Ok(Some(listener))
    }

    /// Starts one that tells a listener these routes: what stands in `static` and in `flow` of its
    /// configuration.
    ///
    /// # Errors
    /// If it does not start.
    pub fn speak(namespace: &Namespace, routes: &str, flows: &str) -> Result<Option<Self>> {
        let Some(mut speaker) = Self::new(namespace, false)? else { return Ok(None) };
        speaker.say(routes, flows)?;
        Ok(Some(speaker))
    }

    /// Has it end its session and begin another one with these routes.
    ///
    /// # Errors
    /// If it does not start.
    pub fn say(&mut self, routes: &str, flows: &str) -> Result<()> {
        self.stop()?;
        let (listener, this) = (Self::LISTENER, Self::SPEAKER);
        self.run(&format!(
            "neighbor {listener} {{
  router-id 192.0.2.2; local-address {this}; local-as 65002; peer-as 65001; hold-time 9;
  {FAMILIES}
  static {{ {routes} }}
  flow {{ {flows} }}
}}
"
        ))
    }

    /// Ends it, and with it the session.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM)?;
            process.wait(patience::seconds(15))?;
        }
        Ok(())
    }

    /// Ends it without a word.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        process.signal(Signal::SIGKILL)?;
        process.wait(patience::seconds(15)).map(drop)
    }

    /// Returns the end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.file("log"))
    }

    fn new(namespace: &Namespace, listens: bool) -> Result<Option<Self>> {
        let Some(program) = from_python("exabgp") else { return Ok(None) };
        let directory = tempfile::Builder::new().prefix("exabgp-").tempdir().context("make a directory")?;
        Ok(Some(Self { namespace: namespace.clone(), program, directory, process: None, listens }))
    }

    fn run(&mut self, config: &str) -> Result<()> {
        fs::write(self.file("exabgp.conf"), config).context("write the configuration")?;
        let port = PORT.to_string();
        let mut variables = vec![
            ("exabgp_tcp_port", port.as_str()),
            ("exabgp_api_cli", "false"),
            ("exabgp_daemon_user", "root"),
            ("exabgp_log_level", "INFO"),
        ];
        if self.listens {
            variables.push(("exabgp_tcp_bind", "127.0.0.1"));
        }
        let log = self.file("log");
        let mut process =
            spawn(&self.namespace, &self.program, &["server", "exabgp.conf"], &variables, &log)?;
        if self.listens {
            let address = (Self::LISTENER, PORT).into();
            wait_for(&self.namespace, address, &mut process, &log).context("start exabgp")?;
        }
        self.process = Some(process);
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}
