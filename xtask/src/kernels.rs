//! Boots other kernels and runs the tests of the kernel program there.
//!
//! The kernels are those of the distribution, the machine is emulated, and what runs in it are the
//! test programs that run here too. docs/kernels.md says what they show.

/// Files, as the kernel takes its first ones.
mod archive;
/// The first process of a guest.
mod guest;
/// What a guest has.
mod initramfs;
/// A machine that boots.
mod machine;
/// Parts of a kernel in files of their own.
mod modules;
/// What a guest tells.
mod report;
/// Which tests run.
mod suite;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    machine::Machine,
    report::{Outcome, Report},
    suite::{Programs, Test},
};
use crate::{
    pins::{KERNELS, Series},
    setup::{self, Need},
    sh,
};

/// Where images and logs are, from the root of the workspace.
const WORK: &str = "target/kernels";
/// What the tests need of a kernel besides what is built in.
const MODULES: [&str; 4] = ["veth", "bridge", "tun", "nfnetlink"];

/// Which kernels, which tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot this one only; may be given more than once.
    #[arg(long = "kernel", value_name = "VERSION", value_parser = version)]
    kernels: Vec<&'static str>,
    /// Run only tests with one of these words in their name, such as `verdict` or `lifecycle debts`.
    filter: Vec<String>,
}

fn version(text: &str) -> Result<&'static str, String> {
    let known = KERNELS.iter().map(|series| series.version);
    let names = known.clone().collect::<Vec<_>>().join(", ");
    known.into_iter().find(|version| *version == text).ok_or_else(|| format!("one of {names}"))
}

/// A row of the summary.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    kernel: &'static str,
    test: String,
    result: String,
    time: Duration,
}

/// How the test ended with which the machine did.
const DIED: &str = "died";
/// What a test is called that a dead machine never came to.
const NOT_RUN: &str = "not run";

/// Runs the tests in a guest, as its first process.
pub(crate) fn guest() -> Result<()> {
    guest::run()
}

/// Boots kernels one after the other and runs the tests in each.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels are those of Debian for amd64, this machine is another"
    );
    setup::ensure(&[Need::Build, Need::Run, Need::Kernels])?;
    let programs = suite::build()?;
    let tests = suite::select(&programs, &args.filter)?;
    let mut rows = Vec::new();
    let mut failures = 0;
    for series in KERNELS.iter().filter(|series| args.wants(series)) {
        let (ours, others): (Vec<_>, Vec<_>) =
            tests.iter().cloned().partition(|test| test.needs().is_none_or(|since| series.has(since)));
        let session = run_on(series, &programs, &ours)?;
        failures += session.failures();
        rows.extend(session.rows);
        rows.extend(others.iter().map(|test| row(series, test.title(), test.needs_text(), Duration::ZERO)));
    }
    print!("\n{}", table(&rows));
    if failures != 0 {
        bail!("{failures} of {} did not pass; the consoles are in {WORK}", rows.len());
    }
    Ok(())
}

impl Args {
    fn wants(&self, series: &Series) -> bool {
        self.kernels.is_empty() || self.kernels.contains(&series.version)
    }
}

fn row(series: &Series, test: String, result: impl Into<String>, time: Duration) -> Row {
    Row { kernel: series.version, test, result: result.into(), time }
}

/// Runs the tests on one kernel. A machine that dies fails the test that it was at, and leaves out
/// the rest.
fn run_on<'t>(series: &'static Series, programs: &Programs, tests: &'t [Test]) -> Result<Session<'t>> {
    let kernel = setup::kernel(series)?;
    let folder = sh::root().join(WORK).join(series.version);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let modules = modules::with_dependencies(&kernel, &MODULES)?;
    let initramfs = folder.join("initramfs.cpio");
    fs::write(&initramfs, initramfs::pack(programs, tests, &modules, &folder)?)
        .with_context(|| format!("write {}", initramfs.display()))?;
    eprintln!("kernels: booting {}", kernel.release());
    let mut machine = Machine::boot(&kernel, &initramfs, &folder.join("console.log"))?;
    let mut session = Session { series, tests, rows: Vec::new(), start: Instant::now(), since: None };
    if let Err(error) = session.follow(&mut machine) {
        eprintln!("kernels: {error:#}");
        session.end_early();
    }
    Ok(session)
}

/// What came of a boot, so far.
struct Session<'t> {
    series: &'static Series,
    tests: &'t [Test],
    /// The boot, then the tests in order.
    rows: Vec<Row>,
    start: Instant,
    /// When the test that runs was started.
    since: Option<Instant>,
}

impl Session<'_> {
    /// Shows what a guest tells, and keeps every result.
    fn follow(&mut self, machine: &mut Machine) -> Result<()> {
        loop {
            match machine.report()? {
                Report::Booted(release) => {
                    eprintln!("kernels: {release} is up");
                    self.note("boot".to_owned(), Outcome::Passed.as_str(), self.start.elapsed());
                }
                Report::Started(number) => {
                    eprintln!("kernels: {}", self.title(number)?);
                    self.since = Some(Instant::now());
                }
                Report::Printed(line) => eprintln!("    {line}"),
                Report::Ended(number, outcome, time) => {
                    let title = self.title(number)?;
                    if outcome != Outcome::Passed {
                        eprintln!("kernels: {title} {}", outcome.as_str());
                    }
                    self.note(title, outcome.as_str(), time);
                    self.since = None;
                }
                Report::Broken(why) => bail!("the guest cannot go on: {why}"),
                Report::Done => return Ok(()),
            }
        }
    }

    /// Notes what a machine has left open that did not live to the end.
    fn end_early(&mut self) {
        if self.rows.is_empty() {
            self.note("boot".to_owned(), DIED, self.start.elapsed());
        }
        if let (Some(since), Ok(title)) = (self.since, self.title(self.rows.len() - 1)) {
            self.note(title, DIED, since.elapsed());
        }
        for test in &self.tests[self.rows.len() - 1..] {
            self.rows.push(row(self.series, test.title(), NOT_RUN, Duration::ZERO));
        }
    }

    fn note(&mut self, test: String, result: &str, time: Duration) {
        self.rows.push(row(self.series, test, result, time));
    }

    fn title(&self, number: usize) -> Result<String> {
        self.tests.get(number).map(Test::title).with_context(|| format!("the guest tells of test {number}"))
    }

    fn failures(&self) -> usize {
        self.rows.iter().filter(|row| row.result != Outcome::Passed.as_str()).count()
    }
}

/// Returns the summary with its columns aligned.
fn table(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str, title: &str| {
        rows.iter().map(|row| column(row).len()).max().unwrap_or(0).max(title.len())
    };
    let kernel = width(|row| row.kernel, "kernel");
    let test = width(|row| &row.test, "test");
    let result = width(|row| &row.result, "result");
    let line = |[a, b, c, d]: [&str; 4]| format!("{a:kernel$}  {b:test$}  {c:result$}  {d:>7}\n");
    let head = line(["kernel", "test", "result", "seconds"]);
    let seconds = |row: &Row| format!("{:.1}", row.time.as_secs_f64());
    let lines = rows.iter().map(|row| line([row.kernel, &row.test, &row.result, &seconds(row)]));
    std::iter::once(head).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_summary_are_aligned() {
        let rows = [
            row(&KERNELS[0], "boot".to_owned(), "passed", Duration::from_secs(7)),
            row(&KERNELS[1], "verdict kernel".to_owned(), NOT_RUN, Duration::ZERO),
        ];
        let want = "kernel  test            result   seconds\n\
                    6.1     boot            passed       7.0\n\
                    6.12    verdict kernel  not run      0.0\n";
        assert_eq!(table(&rows), want);
    }

    #[test]
    fn a_machine_that_dies_leaves_no_test_out_of_the_summary() {
        let test = |name: &str| Test { binary: "agent".to_owned(), name: name.to_owned() };
        let tests = ["one", "two", "three"].map(test);
        let session = |rows: &[&str], since| {
            let mut session = Session {
                series: &KERNELS[0],
                tests: &tests,
                rows: Vec::new(),
                start: Instant::now(),
                since,
            };
            for title in rows {
                session.note((*title).to_owned(), "passed", Duration::ZERO);
            }
            session.end_early();
            assert_eq!(session.rows.len(), 4);
            session.rows.iter().map(|row| row.result.clone()).collect::<Vec<_>>()
        };
        assert_eq!(session(&[], None), [DIED, NOT_RUN, NOT_RUN, NOT_RUN]);
        assert_eq!(session(&["boot"], None), ["passed", NOT_RUN, NOT_RUN, NOT_RUN]);
        let running = Some(Instant::now());
        assert_eq!(session(&["boot", "agent one"], running), ["passed", "passed", DIED, NOT_RUN]);
    }

    #[test]
    fn kernels_are_chosen_by_version() {
        assert_eq!(version("6.12"), Ok("6.12"));
        assert!(version("5.4").unwrap_err().contains("6.1, 6.12"));
    }
}
