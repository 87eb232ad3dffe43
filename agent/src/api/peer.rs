use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use axum::http::StatusCode;
use nix::unistd::Uid;
use tokio::net::{UnixStream, unix::UCred};

use super::Problem;
use crate::audit::Actor;

/// Who is at the other end of a connection, and what they may do.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// A process on this host, as the kernel names it.
    Local { credentials: UCred, socket: PathBuf },
    /// The holder of a certificate.
    Remote { name: String, role: Role },
}

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: its name is in no list.
    None,
    /// Read.
    Reader,
    /// Read and change.
    Writer,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    User(u32),
    Certificate(String),
}

impl Peer {
    pub(super) fn of(stream: &UnixStream, socket: &Path) -> io::Result<Self> {
        Ok(Self::Local { credentials: stream.peer_cred()?, socket: socket.to_owned() })
    }

    /// Returns who it is, for logs and the audit.
    pub(super) fn actor(&self) -> Actor {
        match self {
            // Process 0: it is out of sight.
            Self::Local { credentials, .. } => {
                Actor::Peer { uid: credentials.uid(), pid: credentials.pid().unwrap_or(0) }
            }
            Self::Remote { name, .. } => Actor::Certificate(name.clone()),
        }
    }

    pub(super) fn whose(&self) -> Whose {
        match self {
            Self::Local { credentials, .. } => Whose::User(credentials.uid()),
            Self::Remote { name, .. } => Whose::Certificate(name.clone()),
        }
    }

    /// Lets everybody read who can open the socket, and who has a certificate with a name that may.
    pub(super) fn may_read(&self) -> Result<(), Problem> {
        match self {
            Self::Local { .. } | Self::Remote { role: Role::Reader | Role::Writer, .. } => Ok(()),
            Self::Remote { name, role: Role::None } => {
                let error = format!("certificate {name} may not read here");
                let mend = "add its name to listen.control_tls.readers";
                Err(Problem::new(StatusCode::FORBIDDEN, error).mend(mend))
            }
        }
    }

    /// Lets root, the agent's own user and the group of the socket change things, and certificates of
    /// writers. The mode of the socket says the same; this holds also where somebody has opened it to
    /// everybody.
    pub(super) fn may_change(&self) -> Result<(), Problem> {
        let (error, mend) = match self {
            Self::Local { credentials, socket } => {
                if may_change(credentials, socket) {
                    return Ok(());
                }
                let error = format!("user {} may read here, not change", credentials.uid());
                (error, format!("be root or in the group of {}", socket.display()))
            }
            Self::Remote { role: Role::Writer, .. } => return Ok(()),
            Self::Remote { name, .. } => {
                let error = format!("certificate {name} may read here, not change");
                (error, "add its name to listen.control_tls.writers".to_owned())
            }
        };
        tracing::warn!(who = %self.actor(), "a change was refused: not permitted");
        Err(Problem::new(StatusCode::FORBIDDEN, error).mend(mend))
    }
}

fn may_change(credentials: &UCred, socket: &Path) -> bool {
    let uid = Uid::from_raw(credentials.uid());
    if uid.is_root() || uid == Uid::effective() {
        return true;
    }
    let group = fs::metadata(socket).map(|metadata| metadata.gid()).ok();
    group.is_some_and(|group| credentials.gid() == group || has_group(credentials, group))
}

/// The kernel hands over the primary group only; others are in /proc/PID/status. The user is
/// compared too, so that the number of a process that has ended since proves nothing.
fn has_group(credentials: &UCred, group: u32) -> bool {
    let path = format!("/proc/{}/status", credentials.pid().unwrap_or(0));
    let Ok(status) = fs::read_to_string(path) else { return false };
    let numbers = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.into_iter().flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved, file system.
    numbers("Uid:").get(1) == Some(&credentials.uid()) && numbers("Groups:").contains(&group)
}
