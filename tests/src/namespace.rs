//! Networks of their own, which end with the process.
//!
//! A namespace has no name: it lives as long as a file descriptor of this process or a process in
//! it. However a test ends, the kernel clears away interfaces, addresses, mounts and pins.

/// Two namespaces with a cable between them.
mod pair;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    panic,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{getpid, getppid},
};

pub use pair::{End, Pair};

/// Where systems keep tools that only root needs; a user's search path may not name it.
const ADMIN_PATHS: &str = ":/usr/sbin:/sbin";

/// A network namespace and a mount namespace, the latter with an empty bpffs on `/sys/fs/bpf`.
#[derive(Clone, Debug)]
pub struct Namespace {
    handles: Arc<Handles>,
}

#[derive(Debug)]
struct Handles {
    network: OwnedFd,
    mounts: OwnedFd,
}

impl Namespace {
    /// Makes a namespace in which only the loopback interface is up.
    ///
    /// # Errors
    /// If the kernel refuses, usually for want of root (CAP_SYS_ADMIN), or the tool `ip` is absent.
    pub fn new() -> Result<Self> {
        let handles = on_thread(Handles::new).context("make a network and mount namespace")?;
        let namespace = Self { handles: Arc::new(handles) };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `work` on a thread in the namespace, and returns what it returns. Sockets and files that
    /// it opens belong to the namespace and may be used outside. A panic in it goes on in the caller.
    ///
    /// # Errors
    /// Those of `work`, or if the thread cannot enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            // A mount namespace is entered with a working directory of one's own.
            unshare(CloneFlags::CLONE_FS)?;
            self.handles.enter().context("enter a namespace")?;
            work()
        })
    }

    /// Returns a command whose process is in the namespace, wherever it is spawned. The process is
    /// killed when the thread that spawned it ends; [`Process`](crate::process::Process) keeps one
    /// for longer.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let handles = Arc::clone(&self.handles);
        let parent = getpid();
        let prepare = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(Errno::ESRCH.into()); // it died before it could be watched
            }
            // A program inherits the signals that its parent holds back.
            SigSet::all().thread_unblock()?;
            handles.enter()
        };
        let mut command = Command::new(program);
        // SAFETY: between fork and exec it makes system calls only: no allocation, no lock.
        unsafe { command.pre_exec(prepare) };
        command
    }

    /// Runs the tool `ip` with one command a line, such as `link set lo up`.
    ///
    /// # Errors
    /// If `ip` is absent or refuses a line.
    pub fn ip(&self, commands: &str) -> Result<()> {
        let mut path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        path.push(ADMIN_PATHS);
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("run `ip` (package iproute2)")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(commands.as_bytes()).context("write to `ip`")?;
        }
        let output = child.wait_with_output().context("wait for `ip`")?;
        if !output.status.success() {
            bail!("ip: {}, of:\n{commands}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Returns a path that names the network namespace, for `ip link set eth0 netns PATH`. It
    /// means something while this process and a clone of this namespace live.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", getpid(), self.handles.network.as_raw_fd()).into()
    }
}

impl Handles {
    /// Moves the calling thread into namespaces that it makes.
    fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("unshare (needs root)")?;
        let nothing = None::<&str>;
        // Otherwise what is mounted here would be mounted everywhere.
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .context("make mounts private")?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        // A sysfs shows the interfaces of the namespace in which it was mounted.
        mount(Some("sysfs"), "/sys", Some("sysfs"), flags, nothing).context("mount sysfs on /sys")?;
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), flags, nothing)
            .context("mount bpffs on /sys/fs/bpf")?;
        let handle = |kind: &str| {
            let path = format!("/proc/thread-self/ns/{kind}");
            File::open(&path).map(OwnedFd::from).with_context(|| format!("open {path}"))
        };
        Ok(Self { network: handle("net")?, mounts: handle("mnt")? })
    }

    /// Moves the calling thread into the namespaces and keeps its working directory. Allocates
    /// nothing.
    fn enter(&self) -> io::Result<()> {
        let mut directory = [0_u8; libc::PATH_MAX as usize];
        // SAFETY: the buffer is as long as is said.
        let known = unsafe { libc::getcwd(directory.as_mut_ptr().cast(), directory.len()) };
        if known.is_null() {
            return Err(io::Error::last_os_error());
        }
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
        setns(&self.network, CloneFlags::CLONE_NEWNET)?;
        // SAFETY: getcwd has written a string that ends with a zero.
        if unsafe { libc::chdir(directory.as_ptr().cast()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Runs `work` on a thread that ends with it, so that nobody has to come back from a namespace.
fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let name = thread::current().name().unwrap_or("namespace").to_owned();
        let thread = thread::Builder::new().name(name).spawn_scoped(scope, work).context("start a thread")?;
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests;
