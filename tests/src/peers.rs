//! Servers of decisions and indicators as they are in the world, as child processes in a namespace,
//! and a tool to compare lists with.
//!
//! `cargo xtask setup --peers` puts them into `target/peers`; nothing of them is installed on the
//! machine. Where one cannot be had, tests say so and pass: see [`missing`].

/// `CrowdSec`'s LAPI.
mod crowdsec;
/// A TAXII 2.1 server.
mod medallion;
/// A BGP speaker.
mod exabgp;
/// Proxies, as the documentation has them.
mod proxy;
/// A tool for lists.
mod iprange;
/// A program that a test configures itself.
mod program;
/// A Redis.
mod redis;

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use self::{
    crowdsec::Crowdsec,
    exabgp::Exabgp,
    iprange::iprange,
    medallion::Medallion,
    program::Program,
    proxy::{Change, Kind, Proxy},
    redis::Redis,
};
use crate::{namespace::Namespace, patience, process::Process};

/// Names the directory with the peers, if it is not `peers` in the target directory.
pub const VARIABLE: &str = "WEIR_PEERS";
/// How long a peer may take to start: those in Python take a while on a busy machine.
const START_SECONDS: u64 = 30;
const POLL: Duration = Duration::from_millis(20);

/// Says that a test is not run for want of a program, and how to get it.
pub fn missing(test: &str, program: &str) {
    let mut error = std::io::stderr().lock();
    _ = writeln!(error, "NOT RUN: {test}: there is no `{program}`; `cargo xtask setup --peers` fetches it");
}

/// Returns the directory with the peers, whether or not it is there.
fn directory() -> Option<PathBuf> {
    if let Some(path) = env::var_os(VARIABLE) {
        return Some(path.into());
    }
    let program = env::current_exe().ok()?;
    program.ancestors().map(|directory| directory.join("peers")).find(|path| path.is_dir())
}

/// Returns a program from a package of Debian, of the machine or unpacked.
fn from_debian(name: &str) -> Option<PathBuf> {
    let mut unpacked = directory().into_iter().flat_map(|directory| {
        ["debian/usr/bin", "debian/usr/sbin"].map(|folder| directory.join(folder).join(name))
    });
    unpacked.find(|path| path.is_file()).or_else(|| in_path(name))
}

/// Returns a file of a package of Debian by its path below the root, unpacked or of the machine.
#[must_use]
pub fn unpacked(path: &str) -> Option<PathBuf> {
    let mut places = directory().map(|peers| peers.join("debian")).into_iter().chain([PathBuf::from("/")]);
    places.find_map(|place| Some(place.join(path)).filter(|path| path.is_file()))
}

/// Returns where the libraries of unpacked packages are, as `LD_LIBRARY_PATH` has it.
fn libraries() -> Option<String> {
    let debian = directory()?.join("debian");
    let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"];
    Some(folders.map(|folder| debian.join(folder).display().to_string()).join(":"))
}

/// Lays a folder of unpacked packages over that of the machine, as processes of a namespace see it, so that
/// programs find there what they look for by its whole path: `usr/share`, `etc`.
///
/// # Errors
/// If the kernel refuses.
pub fn lay_over(namespace: &Namespace, folder: &str) -> Result<()> {
    let Some(unpacked) = directory().map(|peers| peers.join("debian").join(folder)) else { return Ok(()) };
    if !unpacked.is_dir() {
        return Ok(());
    }
    let target = format!("/{folder}");
    namespace.run(|| {
        let options = format!("lowerdir={}:{target}", unpacked.display());
        let flags = nix::mount::MsFlags::MS_RDONLY;
        nix::mount::mount(Some("overlay"), target.as_str(), Some("overlay"), flags, Some(options.as_str()))
            .with_context(|| format!("lay files over {target}"))
    })
}

/// Returns a program from a package of PyPI.
fn from_python(name: &str) -> Option<PathBuf> {
    let program = directory()?.join("python/bin").join(name);
    program.is_file().then_some(program)
}

/// Returns a program that a package of PyPI keeps among its own files, such as `envoy/_bin/envoy`.
fn from_site(path: &str) -> Option<PathBuf> {
    let libraries = directory()?.join("python/lib").read_dir().ok()?.flatten();
    let programs = libraries.map(|library| library.path().join("site-packages").join(path));
    programs.into_iter().find(|program| program.is_file())
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Starts a program in a namespace with its output in a file of a directory.
fn spawn<A: AsRef<OsStr>>(
    namespace: &Namespace,
    program: &Path,
    arguments: &[A],
    variables: &[(&str, &str)],
    log: &Path,
) -> Result<Process> {
    let output = File::options().append(true).create(true).open(log).context("open the log of a peer")?;
    let mut command = namespace.command(program);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    if let Some(libraries) = libraries() {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.stdout(output.try_clone().context("open the log of a peer")?).stderr(output);
    if let Some(directory) = log.parent() {
        command.current_dir(directory);
    }
    Process::spawn(command)
}

/// Waits until somebody listens at an address of a namespace.
fn wait_for(namespace: &Namespace, address: SocketAddr, process: &mut Process, log: &Path) -> Result<()> {
    let deadline = Instant::now() + patience::seconds(START_SECONDS);
    while namespace.run(|| Ok(TcpStream::connect(address)?)).is_err() {
        if let Some(status) = process.ended() {
            bail!("it ended, {status}: {}", tail(log));
        }
        if Instant::now() > deadline {
            bail!("nobody listens at {address}: {}", tail(log));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Runs a command and returns what it prints.
fn output(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("run a program of a peer")?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    _ = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
