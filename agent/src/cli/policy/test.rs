/// Cases, as a file has them.
mod cases;
/// Packets, as people write them.
mod packet;
/// The two judges: the kernel's code over plain memory, and the kernel.
mod judge;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use cases::fuzz;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use serde::Serialize;
use weir_common::counter::Outcome;

use self::{
    cases::{Case, Step, Suite},
    judge::{Judge, Kernel, Native},
};
use crate::{
    cli::{CliError, EXIT_FAILURE, Output},
    config::{self, Config},
    feed::{Entries, Feed, Listing},
    host,
    offline::{self, Compiled, Why},
    output,
};

/// Where a configuration is, if neither the command line nor the file of cases says.
const CONFIG: &str = "/etc/weir/weir.yaml";
#[derive(Args, Debug)]
pub(in crate::cli) struct Test {
    /// File with cases; config/policy-cases.yaml is an example.
    #[arg(value_name = "FILE")]
    cases: PathBuf,
    /// Configuration file. [default: what the cases name, else WEIR_CONFIG, else /etc/weir/weir.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let the program in the kernel judge, loaded for that and attached to nothing. Needs CAP_BPF and
    /// CAP_NET_ADMIN.
    #[arg(long)]
    kernel: bool,
    #[command(flatten)]
    output: Output,
}

/// What came of all cases.
#[derive(Debug, Serialize)]
struct Tested {
    /// All came as expected.
    ok: bool,
    /// The file.
    file: PathBuf,
    /// The configuration.
    config: PathBuf,
    /// Who judged: `native` or `kernel`.
    judge: &'static str,
    /// The cases, a row for each step.
    cases: Vec<Row>,
}

/// What came of a step of a case.
#[derive(Debug, Serialize)]
struct Row {
    /// The case.
    name: String,
    /// Which of its steps, from 1, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    /// The line where it stands.
    line: u64,
    /// It came as expected.
    ok: bool,
    /// What became of the packet; of the last, if it came more than once.
    verdict: &'static str,
    /// Why, and which list or limit says so.
    reason: String,
    /// How often the packet came.
    packets: u64,
    /// How often it passed, and not only because of shadow mode.
    admitted: u64,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected: Vec<String>,
}

impl Test {
    pub(super) fn run(&self, state: &Path) -> Result<ExitCode, CliError> {
        let suite = cases::load(&self.cases)?;
        let named = self.config.clone().or_else(|| suite.config.clone());
        let named = named.or_else(|| env::var_os("WEIR_CONFIG").map(PathBuf::from));
        let path = named.unwrap_or_else(|| CONFIG.into());
        let config = Config::load(&path)?;
        let compiled = compile(&config, &suite, state)?;
        let tested = self.judge(&suite, &compiled, path)?;
        output::print(self.output.output, &tested, text);
        Ok(if tested.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
    }

    fn judge(&self, suite: &Suite, compiled: &Compiled, config: PathBuf) -> Result<Tested, CliError> {
        let cases = if self.kernel {
            rows(&mut Kernel::new(compiled)?, suite, compiled)?
        } else {
            rows(&mut Native::new(compiled)?, suite, compiled)?
        };
        Ok(Tested {
            ok: cases.iter().all(|row| row.ok),
            file: self.cases.clone(),
            config,
            judge: if self.kernel { "kernel" } else { "native" },
            cases,
        })
    }
}

/// Compiles a configuration with the lists that the cases bring, and what else there is of its own. Of
/// what this host protects nothing counts but what every host does: cases come out alike everywhere.
fn compile(config: &Config, suite: &Suite, state: &Path) -> Result<Compiled, CliError> {
    suite.check(config)?;
    let others = Config {
        feeds: config.feeds.iter().filter(|feed| !suite.lists.contains_key(&feed.name)).cloned().collect(),
        ..config.clone()
    };
    let mut read: BTreeMap<String, Feed> =
        offline::lists(&others, state)?.into_iter().map(|feed| (feed.config.name.clone(), feed)).collect();
    for feed in read.values() {
        if let Some(refusal) = &feed.state.refusal {
            output::warning(&format!("feed {}: {}", feed.config.name, refusal.message));
        }
    }
    let feed = |feed: &config::Feed| match suite.lists.get(&feed.name) {
        Some(prefixes) => {
            let entries: Entries = prefixes.iter().copied().collect();
            let listing = Listing { entries: Arc::new(entries), ..Listing::default() };
            Feed { listing, ..Feed::new(feed.clone()) }
        }
        None => read.remove(&feed.name).unwrap_or_else(|| Feed::new(feed.clone())),
    };
    let feeds: Vec<Feed> = config.feeds.iter().map(feed).collect();
    Ok(Compiled::new(config, &feeds, &host::everywhere(config))?)
}

fn rows(judge: &mut impl Judge, suite: &Suite, compiled: &Compiled) -> Result<Vec<Row>, CliError> {
    let names = compiled.names();
    let mut rows = Vec::new();
    for case in &suite.cases {
        judge.begin(case.rule())?;
        for (index, step) in case.steps.iter().enumerate() {
            let (judged, admitted) = run(judge, step)?;
            let why = names.why(judged.reason, judged.class, judged.limit);
            rows.push(row(case, index, &why, judged.outcome, admitted));
        }
    }
    Ok(rows)
}

/// Judges the packets of a step. Returns what became of the last, and how many were admitted.
fn run(judge: &mut impl Judge, step: &Step) -> Result<(judge::Judged, u64), CliError> {
    let before = step.repeat.get() - 1;
    let mut admitted = 0;
    if step.every.is_zero() && before > 0 {
        judge.wait_until(step.at)?;
        admitted += judge.admitted(&step.frame, before)?;
    } else {
        for i in 0..before {
            judge.wait_until(step.at + step.every * i)?;
            admitted += u64::from(judge.judge(&step.frame)?.outcome == Outcome::Pass);
        }
    }
    judge.wait_until(step.at + step.every * before)?;
    let last = judge.judge(&step.frame)?;
    Ok((last, admitted + u64::from(last.outcome == Outcome::Pass)))
}

fn row(case: &Case, index: usize, why: &Why, outcome: Outcome, admitted: u64) -> Row {
    let step = &case.steps[index];
    let expected = step.expect.differences(outcome, why, admitted);
    Row {
        name: case.name.clone(),
        step: (case.steps.len() > 1).then_some(index + 1),
        line: step.line,
        ok: expected.is_empty(),
        verdict: outcome.as_str(),
        reason: why.to_string(),
        packets: u64::from(step.repeat.get()),
        admitted,
        expected,
    }
}

fn text(tested: &Tested) -> String {
    let rows = tested.cases.iter().map(|row| {
        vec![
            row.step.map_or_else(|| row.name.clone(), |step| format!("{} ({step})", row.name)),
            row.verdict.to_owned(),
            row.reason.clone(),
            if row.packets > 1 { format!("{} of {}", row.admitted, row.packets) } else { String::new() },
            if row.ok { "ok".to_owned() } else { format!("expected {}", row.expected.join(", ")) },
        ]
    });
    let mut text = output::table(&["CASE", "VERDICT", "REASON", "ADMITTED", "RESULT"], rows);
    let failed: Vec<&Row> = tested.cases.iter().filter(|row| !row.ok).collect();
    for row in &failed {
        let times = if row.packets > 1 {
            format!(", {} of {} admitted", row.admitted, row.packets)
        } else {
            String::new()
        };
        _ = write!(
            text,
            "\n{}:{}: {}: expected {}; got verdict {}, reason {}{times}",
            tested.file.display(),
            row.line,
            row.name,
            row.expected.join(", "),
            row.verdict,
            row.reason,
        );
    }
    if !failed.is_empty() {
        text.push('\n');
    }
    let names = |rows: &mut dyn Iterator<Item = &Row>| {
        let names: std::collections::BTreeSet<&str> = rows.map(|row| row.name.as_str()).collect();
        names.len()
    };
    let all = output::counted(names(&mut tested.cases.iter()), "case");
    format!("{text}\n{all}, {} not as expected\n", names(&mut failed.into_iter()))
}
