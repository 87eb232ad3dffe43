//! A host that boots: the files of this machine under a layer of its own, and systemd as its first process,
//! in namespaces. What is installed there is gone with it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{namespace::Namespace, patience, process::Process};

/// How long a boot, or a stop, may take.
const PATIENCE_SECONDS: u64 = 30;
const POLL: Duration = Duration::from_millis(20);
const SYSTEMD: &str = "/lib/systemd/systemd";
/// The search path of a login of root.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// In mounts of its own: makes a control group, boots in it, and removes it when the host has ended.
const OUTSIDE: &str = r#"set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/cgroup /mnt/upper /mnt/work /mnt/root
mount -t cgroup2 cgroup2 /mnt/cgroup
mkdir "/mnt/cgroup/$NAME"
sh -c 'echo $$ > "/mnt/cgroup/$NAME/cgroup.procs" && exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --uts --ipc --cgroup sh -c "$INSIDE"' || true
find "/mnt/cgroup/$NAME" -depth -type d -exec rmdir {} +
"#;

/// In all namespaces: lays this machine's files under a layer of its own, and starts systemd on them.
/// systemd mounts bpffs as it does on a host, for root only.
const INSIDE: &str = r#"set -e
umount /mnt/cgroup
root=/mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t bpf bpf $root/sys/fs/bpf -o mode=700
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=755 tmpfs $root/dev
for name in null zero full random urandom tty; do
  touch $root/dev/$name
  mount --bind /dev/$name $root/dev/$name
done
ln -s /proc/self/fd $root/dev/fd
# PrivateDevices= wants it.
ln -s pts/ptmx $root/dev/ptmx
# The kernel is that of the machine, and its settings are nobody's to change.
mount --bind $root/proc/sys $root/proc/sys
mount -o remount,bind,ro $root/proc/sys
# Machines that build images forbid services to start.
rm -f $root/usr/sbin/policy-rc.d
# Of the services of this machine none.
rm -rf $root/etc/systemd/system
mkdir $root/etc/systemd/system
for unit in systemd-modules-load.service systemd-sysctl.service systemd-journald-audit.socket systemd-remount-fs.service; do
  ln -s /dev/null $root/etc/systemd/system/$unit
done
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' > $root/etc/systemd/system/weir-tests.target
read -r id rest < /proc/self/stat
echo "$id" > "$DIRECTORY/id.new"
mv "$DIRECTORY/id.new" "$DIRECTORY/id"
cd $root
mkdir -p old
pivot_root . old
umount -l old
rmdir old
# As on hosts: what is mounted for a service, such as its credentials, is seen in the mounts that it has then.
mount --make-rshared /
exec env -i container=weir-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=weir-tests.target --log-target=console
"#;

/// Returns what of this machine a host cannot do without, if it is not there.
#[must_use]
pub fn lacks() -> Option<&'static str> {
    let cgroups = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !Path::new(SYSTEMD).exists() {
        return Some("systemd");
    }
    (!cgroups.contains("\tcgroup2")).then_some("cgroup2 in the kernel")
}

/// A running host. Dropped, it is powered off the hard way.
#[derive(Debug)]
pub struct Host {
    /// Of systemd, as this process sees it.
    id: u32,
    directory: TempDir,
    process: Process,
}

impl Host {
    /// Boots on the network of this namespace.
    ///
    /// # Errors
    /// If the machine [lacks] something, or systemd does not come up in time; with what it said.
    pub fn boot(network: &Namespace) -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("weir-host-").tempdir().context("make a directory")?;
        let console = fs::File::create(directory.path().join("console"))?;
        let mut command = network.command("unshare");
        command.args(["--mount", "sh", "-c", OUTSIDE]).env("INSIDE", INSIDE);
        let name = directory.path().file_name().context("a directory without a name")?;
        command.env("NAME", name).env("DIRECTORY", directory.path());
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        let mut host = Self { id: 0, directory, process: Process::spawn(command)? };
        host.id = host.wait_for("systemd has not been started", |host| {
            fs::read_to_string(host.directory.path().join("id")).ok()?.trim().parse().ok()
        })?;
        host.wait_for("it has not come up", |host| {
            let state = host.command("systemctl").args(["is-active", "weir-tests.target"]).output().ok()?;
            state.status.success().then_some(())
        })?;
        Ok(host)
    }

    fn wait_for<T>(&mut self, not: &str, done: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        loop {
            if let Some(result) = done(self) {
                return Ok(result);
            }
            if let Some(status) = self.process.ended() {
                bail!("{not}: {status}\n{}", self.console());
            }
            ensure!(Instant::now() < deadline, "{not} in time\n{}", self.console());
            thread::sleep(POLL);
        }
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("console")).unwrap_or_default()
    }

    /// Returns a command that runs on the host, as root after a login.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.id.to_string()).args(["--all", "--wdns=/", "--", "env", "-i"]);
        command.args([&format!("PATH={PATH}"), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", program]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command line of words on the host. How it ended is in the output.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn output(&self, line: &str) -> Result<Output> {
        let mut words = line.split_whitespace();
        let program = words.next().context("no command")?;
        self.command(program).args(words).output().with_context(|| format!("run `{line}`"))
    }

    /// Runs a command line of words on the host, and returns what it says on either way out.
    ///
    /// # Errors
    /// If it fails, with what it says, and with the end of the journal.
    pub fn run(&self, line: &str) -> Result<String> {
        let output = self.output(line)?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`{line}`: {}\n{said}\n{}", output.status, self.journal());
        Ok(said)
    }

    /// Returns the last lines of the journal.
    #[must_use]
    pub fn journal(&self) -> String {
        let output = self.output("journalctl --no-pager --lines 60 --output short-monotonic");
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// Returns where this process finds a file of the host, given by its path there.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.id)).join(path.trim_start_matches('/'))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Ok(id) = i32::try_from(self.id) else { return };
        if id > 0 && self.process.ended().is_none() {
            // With the first process of its namespace all others end, and then the shell clears away.
            _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            _ = self.process.wait(patience::seconds(PATIENCE_SECONDS));
        }
    }
}
