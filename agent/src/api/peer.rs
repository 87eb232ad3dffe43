use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use axum::http::StatusCode;
use nix::unistd::Uid;
use tokio::net::{UnixStream, unix::UCred};

use super::Problem;

/// Who is at the other end of a connection, as the kernel says, and what they may do.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    credentials: UCred,
    socket: PathBuf,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream, socket: &Path) -> io::Result<Self> {
        Ok(Self { credentials: stream.peer_cred()?, socket: socket.to_owned() })
    }

    pub(super) fn uid(&self) -> u32 {
        self.credentials.uid()
    }

    /// Returns the number of the process, 0 where it is out of sight.
    pub(super) fn pid(&self) -> i32 {
        self.credentials.pid().unwrap_or(0)
    }

    /// Lets root, the agent's own user and the group of the socket change things. The mode of the
    /// socket says the same; this holds also where somebody has opened it to everybody.
    pub(super) fn may_change(&self) -> Result<(), Problem> {
        let uid = Uid::from_raw(self.uid());
        if uid.is_root() || uid == Uid::effective() {
            return Ok(());
        }
        let group = fs::metadata(&self.socket).map(|metadata| metadata.gid()).ok();
        if group.is_some_and(|group| self.credentials.gid() == group || self.has_group(group)) {
            return Ok(());
        }
        tracing::warn!(uid = self.uid(), pid = self.pid(), "a change was refused: not permitted");
        let error = format!("user {} may read here, not change", self.uid());
        let mend = format!("be root or in the group of {}", self.socket.display());
        Err(Problem::new(StatusCode::FORBIDDEN, error).mend(mend))
    }

    /// The kernel hands over the primary group only; others are in /proc/PID/status. The user is
    /// compared too, so that the number of a process that has ended since proves nothing.
    fn has_group(&self, group: u32) -> bool {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.pid())) else { return false };
        let numbers = |name: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.into_iter().flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect()
        };
        // Real, effective, saved, file system.
        numbers("Uid:").get(1) == Some(&self.uid()) && numbers("Groups:").contains(&group)
    }
}
