use std::{
    env,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use weir_tests::process::Process;

/// Names the program, which `cargo xtask bench` builds from `tests/bench/peer`.
const VARIABLE: &str = "WEIR_BENCH_PEER";
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A service of Envoy's on a socket: it lets everything pass at once, and counts with Limitador.
pub(super) struct Peer {
    socket: PathBuf,
    process: Process,
}

impl Peer {
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let program = env::var_os(VARIABLE).context("it is not built")?;
        let socket = directory.join("peer.sock");
        let mut command = Command::new(program);
        command.arg(&socket);
        let process = Process::spawn(command)?;
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() {
            ensure!(Instant::now() < deadline, "it does not listen");
            thread::sleep(POLL);
        }
        Ok(Self { socket, process })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}
