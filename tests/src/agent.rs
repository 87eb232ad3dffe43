//! The agent as a process.

use std::{
    env, fs,
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    metrics::Metrics,
    namespace::Namespace,
    patience,
    process::{Process, text},
};

/// How long a start or a stop may take on a busy machine.
const PATIENCE_SECONDS: u64 = 30;
/// How long a page may take.
const PAGE_SECONDS: u64 = 5;

/// Returns the agent's binary: what the variable WEIR_BINARY names, or `weir` in the target
/// directory of the running program.
///
/// # Errors
/// If there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WEIR_BINARY") {
        return Ok(path.into());
    }
    let program = env::current_exe().context("find the running program")?;
    // A test is in `target/debug/deps`, any other program one up.
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("weir"))
        .find(|path| path.is_file())
        .context("no agent beside this program: run `cargo build`, or set WEIR_BINARY")
}

/// The agent in a namespace: a directory with its configuration, state and log, and, between
/// [`start`](Self::start) and [`stop`](Self::stop), its process. A dropped one is killed; what it
/// pinned lives on with the namespace.
#[derive(Debug)]
pub struct Agent {
    program: PathBuf,
    namespace: Namespace,
    directory: TempDir,
    listens_on: SocketAddr,
    variables: Vec<(&'static str, String)>,
    process: Option<Process>,
}

impl Agent {
    /// Where the configuration must have the agent listen (`listen.metrics`), unless
    /// [`listening_on`](Self::listening_on) says otherwise. Each namespace has a 127.0.0.1 of its own.
    pub const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9646);

    /// Makes the directory. Nothing runs yet.
    ///
    /// # Errors
    /// If there is no room for a temporary directory.
    pub fn new(program: impl Into<PathBuf>, namespace: &Namespace) -> Result<Self> {
        Self::new_in(program, namespace, &env::temp_dir())
    }

    /// Makes the directory below `parent`. Nothing runs yet.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn new_in(program: impl Into<PathBuf>, namespace: &Namespace, parent: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("weir-").tempdir_in(parent);
        let directory = directory.with_context(|| format!("make a directory in {}", parent.display()))?;
        Ok(Self {
            program: program.into(),
            namespace: namespace.clone(),
            directory,
            listens_on: Self::METRICS,
            variables: Vec::new(),
            process: None,
        })
    }

    /// Looks for pages at `address`, for a second agent in one namespace.
    #[must_use]
    pub fn listening_on(self, address: SocketAddr) -> Self {
        Self { listens_on: address, ..self }
    }

    /// Runs another copy of the agent from the next start on: an upgrade.
    pub fn replace_program(&mut self, program: impl Into<PathBuf>) {
        self.program = program.into();
    }

    /// Has a variable of the environment of its own.
    #[must_use]
    pub fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Returns the directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file into the directory, in one step: nobody sees half of it. Returns its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.directory().join(name);
        let unfinished = self.directory().join(format!(".{name}.new"));
        fs::write(&unfinished, contents).with_context(|| format!("write {}", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Writes the configuration, in YAML. A running agent takes it up at SIGHUP.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure(&self, yaml: &str) -> Result<()> {
        self.write("weir.yaml", yaml).map(drop)
    }

    /// Returns a command of the agent's command line in its namespace, with the paths of this agent.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command(&self.program);
        command.env("WEIR_BPFFS", "/sys/fs/bpf").env("WEIR_STATE", self.directory().join("state"));
        command
            .env("WEIR_CONFIG", self.config())
            .env("WEIR_SOCKET", self.socket())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the agent's command line, such as `["status", "-o", "json"]`.
    ///
    /// # Errors
    /// If it cannot be run. How it ended is in the output.
    pub fn weir(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output();
        output.with_context(|| format!("run {} {}", self.program.display(), arguments.join(" ")))
    }

    /// Runs a command that must succeed, and returns all that it says.
    ///
    /// # Errors
    /// If it cannot be run, or ends otherwise; with what it says, and the agent's log.
    pub fn done(&self, arguments: &[&str]) -> Result<String> {
        let output = self.weir(arguments)?;
        let text = text(&output);
        ensure!(output.status.success(), "{arguments:?}: {text}\n{}", self.log());
        Ok(text)
    }

    /// Starts the agent and waits until it is ready. A second start, after a stop, appends to the log.
    ///
    /// # Errors
    /// If it runs already, ends, or is not ready in time; with its log.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready(patience::seconds(PATIENCE_SECONDS))
    }

    /// Starts the agent, ready or not.
    ///
    /// # Errors
    /// If it runs already, or cannot be run.
    pub fn spawn(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.ended().is_none()
        {
            bail!("the agent runs already");
        }
        let log = File::options().append(true).create(true).open(self.log_path()).context("open the log")?;
        let mut command = self.command(&["run", "--config"]);
        command.arg(self.config()).stdout(log.try_clone().context("open the log")?).stderr(log);
        self.process = Some(Process::spawn(command)?);
        Ok(())
    }

    /// Waits until the agent is ready: until `/readyz` answers 200.
    ///
    /// # Errors
    /// If it ends, or is not ready in time; with its log.
    pub fn wait_ready(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.running()?.ended() {
                bail!("the agent ended, {status}, before it was ready; its log:\n{}", self.log());
            }
            let answer = self.get("/readyz");
            if let Ok((200, _)) = answer {
                return Ok(());
            }
            if Instant::now() > deadline {
                let last = match answer {
                    Ok((status, body)) => format!("{status} {}", body.trim()),
                    Err(error) => format!("{error:#}"),
                };
                bail!("the agent is not ready after {patience:?} ({last}); its log:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns status and body of a page of the agent, such as `/metrics`.
    ///
    /// # Errors
    /// If nobody listens, or the answer is not HTTP.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let address = self.listens_on;
        let patience = patience::seconds(PAGE_SECONDS);
        let mut stream = self.namespace.run(|| {
            TcpStream::connect_timeout(&address, patience).with_context(|| format!("connect to {address}"))
        })?;
        stream.set_read_timeout(Some(patience)).context("set a timeout")?;
        // HTTP/1.0: the body ends with the connection, and comes in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").context("send a request")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(|| format!("read {path}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.with_context(|| format!("no status in `{head}`"))?, body.to_owned()))
    }

    /// Returns the metrics page.
    ///
    /// # Errors
    /// If there is none, or it is not in the text format.
    pub fn metrics(&self) -> Result<Metrics> {
        match self.get("/metrics")? {
            (200, page) => Metrics::parse(&page),
            (status, page) => bail!("/metrics answers {status}: {}", page.trim()),
        }
    }

    /// Returns the process number.
    ///
    /// # Errors
    /// If it does not run.
    pub fn id(&mut self) -> Result<u32> {
        self.running().map(|process| process.id())
    }

    /// Sends the agent a signal.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.running()?.signal(signal)
    }

    /// Asks the agent to stop (SIGTERM), and returns how it ended.
    ///
    /// # Errors
    /// If it does not run, or does not end in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.end(Signal::SIGTERM)
    }

    /// Kills the agent (SIGKILL), and returns once it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.end(Signal::SIGKILL)
    }

    /// Waits until the agent has ended by itself, and returns how.
    ///
    /// # Errors
    /// If it does not run, or does not end in time.
    pub fn wait_ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        let status = self.running()?.wait(patience)?;
        self.process = None;
        Ok(status)
    }

    /// Returns what the agent has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        let process = self.running()?;
        process.signal(signal)?;
        let status = process.wait(patience::seconds(PATIENCE_SECONDS))?;
        self.process = None;
        Ok(status)
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().ok_or_else(|| anyhow!("the agent does not run"))
    }

    /// Returns the path of the agent's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory().join("run").join("weir.sock")
    }

    fn config(&self) -> PathBuf {
        self.directory().join("weir.yaml")
    }

    fn log_path(&self) -> PathBuf {
        self.directory().join("weir.log")
    }
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead as _, io::BufReader, net::TcpListener};

    use super::*;

    /// A program that is called like the agent and does nothing for long.
    fn stand_in(namespace: &Namespace, script: &str) -> Agent {
        let mut agent = Agent::new("stand-in", namespace).unwrap();
        let script = agent.write("script", format!("#!/bin/sh\n{script}\n")).unwrap();
        agent.program = agent.directory().join("program");
        // Another process writes it: a program cannot be run while a process that another test has
        // just forked off this one holds it open for writing.
        let installed = Command::new("install").args([&script, &agent.program]).status().unwrap();
        assert!(installed.success());
        agent
    }

    #[test]
    fn an_agent_that_ends_is_an_error_with_its_log() {
        let namespace = Namespace::new().unwrap();
        let mut agent = stand_in(&namespace, "echo \"cannot $1\" >&2; exit 3");
        let error = agent.start().unwrap_err().to_string();
        assert!(error.contains("cannot run") && error.contains('3'), "{error}");
        assert!(agent.signal(Signal::SIGHUP).is_err());
        let output = agent.weir(&["status"]).unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(3), &b"cannot status\n"[..]));
    }

    #[test]
    fn pages_are_read_inside_the_namespace() {
        let namespace = Namespace::new().unwrap();
        let mut agent = stand_in(&namespace, "exec sleep 60");
        agent.spawn().unwrap();
        assert!(agent.spawn().is_err());
        assert!(agent.wait_ready(Duration::from_millis(50)).is_err());
        let listener = namespace.run(|| Ok(TcpListener::bind(Agent::METRICS)?)).unwrap();
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                write!(stream, "HTTP/1.0 200 OK\r\nA: b\r\n\r\npath{{is=\"{}\"}} 1\n", request[0]).unwrap();
            }
        });
        agent.wait_ready(Duration::from_secs(5)).unwrap();
        let metrics = agent.metrics().unwrap();
        assert!((metrics.sum("path", &[("is", "GET /metrics HTTP/1.0")]) - 1.0).abs() < 0.1);
        server.join().unwrap();
        assert!(agent.stop().unwrap().code().is_none());
        assert!(agent.stop().is_err());
    }
}
