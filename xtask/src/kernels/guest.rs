//! The first process of a guest: makes it a system, runs the tests one after the other, and powers
//! off.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::Write as _,
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
};
use weir_tests::{machine, patience, process::Process};

use super::{
    report::{Outcome, Report},
    suite::Test,
};

/// This program.
pub(super) const INIT: &str = "/init";
/// The agent.
pub(super) const AGENT: &str = "/bin/weir";
/// Modules to load, in the order of their names.
pub(super) const MODULES: &str = "/modules";
/// Tests to run.
pub(super) const PLAN: &str = "/plan";
/// What has to be there.
pub(super) const FOLDERS: [&str; 8] = ["/bin", "/dev", MODULES, "/proc", "/run", "/sys", "/tests", "/tmp"];

/// What is mounted where, in this order.
const MOUNTS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("bpf", "/sys/fs/bpf"),
];
/// The serial port of the reports.
const REPORTS: &str = "/dev/ttyS1";
/// What the kernel calls itself.
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// What a test prints.
const OUTPUT: &str = "/run/output";
/// How long a test may take: the slowest takes 15 s, and 90 s on a machine with much else to do.
pub(super) const TEST_PATIENCE: Duration = Duration::from_mins(5);

/// How many times longer than here everything may take in a guest.
const SLOWNESS: &str = "6";

/// Returns where a test program is.
pub(super) fn test_program(binary: &str) -> String {
    format!("/tests/{binary}")
}

/// Writes tests as [`read_plan`] reads them.
pub(super) fn write_plan(tests: &[Test]) -> String {
    let lines: Vec<_> = tests.iter().map(|test| format!("{} {}", test.binary, test.name)).collect();
    lines.join("\n")
}

fn read_plan(plan: &str) -> Vec<Test> {
    let test = |(binary, name): (&str, &str)| Test { binary: binary.to_owned(), name: name.to_owned() };
    plan.lines().filter_map(|line| line.split_once(' ')).map(test).collect()
}

/// Does all of it, as the first process.
pub(super) fn run() -> Result<()> {
    ensure!(process::id() == 1, "this is for guests of `cargo xtask test kernels` only");
    let done = set_up().and_then(|mut reports| {
        run_tests(&mut reports).or_else(|error| reports.tell(&Report::Broken(format!("{error:#}"))))
    });
    if let Err(error) = done {
        // Nothing but the console is left to say it.
        eprintln!("guest: {error:#}");
    }
    power_off()
}

/// The serial port of the reports.
struct Reports(File);

impl Reports {
    fn tell(&mut self, report: &Report) -> Result<()> {
        self.0.write_all(format!("{report}\n").as_bytes()).context("report")
    }
}

fn set_up() -> Result<Reports> {
    let nothing = None::<&str>;
    for (kind, at) in MOUNTS {
        // Some lie in what has just been mounted.
        fs::create_dir_all(at).with_context(|| format!("make {at}"))?;
        mount(Some(kind), at, Some(kind), MsFlags::empty(), nothing)
            .with_context(|| format!("mount {kind} on {at}"))?;
    }
    let reports = File::options().write(true).open(REPORTS).with_context(|| format!("open {REPORTS}"))?;
    Ok(Reports(reports))
}

fn run_tests(reports: &mut Reports) -> Result<()> {
    load_modules()?;
    bring_loopback_up()?;
    let release = fs::read_to_string(RELEASE).with_context(|| format!("read {RELEASE}"))?;
    reports.tell(&Report::Booted(release.trim().to_owned()))?;
    let plan = fs::read_to_string(PLAN).with_context(|| format!("read {PLAN}"))?;
    for (number, test) in read_plan(&plan).iter().enumerate() {
        reports.tell(&Report::Started(number))?;
        eprintln!("guest: {}", test.title());
        let start = Instant::now();
        let outcome = run_test(test)?;
        let time = start.elapsed();
        let output = fs::read(OUTPUT).context("read what the test has printed")?;
        let output = String::from_utf8_lossy(&output);
        eprintln!("{output}");
        if outcome != Outcome::Passed {
            output.lines().try_for_each(|line| reports.tell(&Report::Printed(line.to_owned())))?;
        }
        reports.tell(&Report::Ended(number, outcome, time))?;
    }
    reports.tell(&Report::Done)
}

fn load_modules() -> Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(MODULES).with_context(|| format!("read {MODULES}"))? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        let module = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        finit_module(&module, c"", ModuleInitFlags::empty())
            .with_context(|| format!("load {}", path.display()))?;
    }
    Ok(())
}

/// Tests without a namespace of their own talk to themselves.
fn bring_loopback_up() -> Result<()> {
    let mut ip = Command::new("/bin/ip");
    let status = ip.args(["link", "set", "lo", "up"]).status().context("run ip")?;
    ensure!(status.success(), "the loopback interface does not come up: {status}");
    Ok(())
}

/// Runs a test as a process of its own: where one crashes, the next has a kernel all the same.
fn run_test(test: &Test) -> Result<Outcome> {
    let output = File::create(OUTPUT).with_context(|| format!("make {OUTPUT}"))?;
    let mut command = Command::new(test_program(&test.binary));
    command
        .args([&test.name, "--exact", "--nocapture"])
        .env("PATH", "/bin")
        .env("WEIR_BINARY", AGENT)
        .env(patience::VARIABLE, SLOWNESS)
        .env(machine::VARIABLE, "guest")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("share a file")?)
        .stderr(output);
    let mut process = Process::spawn(command)?;
    Ok(match process.wait(TEST_PATIENCE) {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(_) => Outcome::Failed,
        Err(_) => Outcome::Hung,
    })
}

fn power_off() -> Result<()> {
    // What is on its way to the serial port has to get there.
    thread::sleep(Duration::from_millis(100));
    let never: Infallible = reboot(RebootMode::RB_POWER_OFF).context("power off")?;
    match never {}
}
