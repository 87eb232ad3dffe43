//! `weir policy diff`: what another configuration would change.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use similar::TextDiff;
use tokio::runtime;

use crate::{
    app::AppError,
    cli::{CliError, ConfigFile, EXIT_DIFFERS, Output},
    config::Config,
    feed::{Feed, store::Store, worker::Worker},
    host,
    output::{self, table},
    policy::{
        Origin, Policy,
        classes::Classes,
        compare::{Amount, Comparison, Example, Share, Side, Transition, compare},
        limits::LimitNumbers,
        merge::{self, Merged},
    },
    versions::Versions,
};

/// How long the texts may be looked at for the shortest difference; then a longer one will do.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines around a difference.
const CONTEXT: usize = 3;

#[derive(Args, Debug)]
pub(in crate::cli) struct Diff {
    /// What to compare: numbers of versions, or files. Two: from the first to the second. One: from the
    /// version in force to it. None: from the version in force to the configuration file.
    #[arg(value_name = "FILE|VERSION", num_args = 0..=2)]
    what: Vec<Place>,
    #[command(flatten)]
    config: ConfigFile,
    /// Exit with 2 if there is a difference.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    output: Output,
}

/// Where a configuration is.
#[derive(Clone, Debug)]
enum Place {
    Version(u64),
    File(PathBuf),
}

impl FromStr for Place {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Version))
    }
}

/// A configuration and its lists.
struct Candidate {
    name: String,
    text: String,
    config: Config,
    feeds: Vec<Feed>,
}

/// What is different.
#[derive(Debug, Serialize)]
struct Difference {
    from: String,
    to: String,
    /// Nothing is.
    same: bool,
    /// The texts, as a unified diff.
    text: String,
    #[serde(flatten)]
    comparison: Comparison,
}

impl Diff {
    pub(super) fn run(self, state: &Path) -> Result<ExitCode, CliError> {
        let versions = Versions::list(state)?;
        let mut what = self.what.into_iter();
        let (from, to) = match (what.next(), what.next()) {
            (Some(from), Some(to)) => (Some(from), to),
            (Some(to), None) => (None, to),
            (None, _) => (None, Place::File(self.config.config)),
        };
        let from = match from {
            Some(from) => from,
            None => Place::Version(versions.present()?.number),
        };
        let mut from = Candidate::read(&versions, from)?;
        let mut to = Candidate::read(&versions, to)?;
        from.feeds = lists(&from.config, &[], state)?;
        to.feeds = lists(&to.config, &from.feeds, state)?;
        let difference = difference(&from, &to)?;
        let code = if self.exit_code && !difference.same { EXIT_DIFFERS } else { 0 };
        output::print(self.output.output, &difference, text);
        Ok(ExitCode::from(code))
    }
}

impl Candidate {
    fn read(versions: &Versions, place: Place) -> Result<Self, CliError> {
        let (name, path, text) = match place {
            Place::Version(number) => {
                let name = format!("version {number}");
                (name.clone(), name.into(), versions.load(number)?.text)
            }
            Place::File(path) => (path.display().to_string(), path.clone(), Config::read(&path)?),
        };
        let config = Config::parse(&path, &text)?;
        Ok(Self { name, text, config, feeds: Vec::new() })
    }
}

/// Returns the lists of a configuration: of feeds that are the same as those of `known`, the same; else
/// the last good ones of the agent, and where it has none what their sources say now.
fn lists(config: &Config, known: &[Feed], state: &Path) -> Result<Vec<Feed>, CliError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AppError::System { what: "start the runtime", error })?;
    let list = |config: &crate::config::Feed| {
        if let Some(feed) = known.iter().find(|feed| *feed.config == *config) {
            return feed.clone();
        }
        let mut worker = Worker::new(Arc::new(config.clone()), Store::new(state).read_only());
        if worker.feed().state.last_success.is_none() {
            runtime.block_on(worker.refresh());
        }
        if let Some(refusal) = &worker.feed().state.refusal {
            let name = &worker.feed().config.name;
            output::warning(&format!("feed {name}: {}; compared as it is without", refusal.message));
        }
        worker.feed().clone()
    };
    Ok(config.feeds.iter().map(list).collect())
}

fn difference(from: &Candidate, to: &Candidate) -> Result<Difference, CliError> {
    let mut classes = Classes::default();
    let mut merged = |candidate: &Candidate| -> Result<Merged, CliError> {
        let Candidate { config, feeds, .. } = candidate;
        let protected = host::protected(config);
        let policy = Policy::new(config, feeds, &protected, &mut LimitNumbers::default());
        Ok(merge::merge(&policy.lists, &mut classes).map_err(AppError::from)?)
    };
    let (before, after) = (merged(from)?, merged(to)?);
    let side = |merged, candidate: &Candidate| Side {
        merged,
        classes: &classes,
        shadow: candidate.config.enforce.is_shadow(),
    };
    let comparison = compare(side(&before, from), side(&after, to));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(from.text.as_str(), to.text.as_str());
    let text = diff.unified_diff().context_radius(CONTEXT).header(&from.name, &to.name).to_string();
    let same = from.text == to.text && comparison == Comparison::default();
    Ok(Difference { from: from.name.clone(), to: to.name.clone(), same, text, comparison })
}

fn text(difference: &Difference) -> String {
    let Difference { from, to, same, text, comparison } = difference;
    let mut out = format!("from {from} to {to}\n");
    if *same {
        out.push_str("\nno difference\n");
        return out;
    }
    _ = write!(
        out,
        "\n{}",
        if output::coloured(io::stdout().is_terminal()) { coloured(text) } else { text.clone() }
    );
    if comparison.transitions.is_empty() {
        out.push_str("\nno address has another fate by lists\n");
        return out;
    }
    let header = &["FROM", "TO", "IPV4 PREFIXES", "IPV4 ADDRESSES", "IPV6 PREFIXES", "IPV6 /64S"];
    let rows = comparison.transitions.iter().map(|transition| {
        let Transition { from, to, amount, .. } = transition;
        row(&[from.as_str(), to.as_str()], amount)
    });
    _ = write!(out, "\n{}", table(header, rows));
    for Transition { from, to, examples, .. } in &comparison.transitions {
        _ = writeln!(out, "\nlargest from {} to {}", from.as_str(), to.as_str());
        for Example { prefix, before, after } in examples {
            _ = writeln!(out, "  {prefix}  {}", whose(before, after));
        }
    }
    let header = &["LIST", "FROM", "TO", "IPV4 PREFIXES", "IPV4 ADDRESSES", "IPV6 PREFIXES", "IPV6 /64S"];
    let rows = comparison.lists.iter().map(|Share { list, from, to, amount }| {
        row(&[&list.to_string(), from.as_str(), to.as_str()], amount)
    });
    _ = write!(out, "\n{}", table(header, rows));
    out
}

fn row(front: &[&str], amount: &Amount) -> Vec<String> {
    let Amount { ipv4_prefixes, ipv4_addresses, ipv6_prefixes, ipv6_networks } = amount;
    let numbers = [ipv4_prefixes, ipv4_addresses, ipv6_prefixes, ipv6_networks];
    front.iter().map(|text| (*text).to_owned()).chain(numbers.iter().map(ToString::to_string)).collect()
}

/// Says which lists name a prefix.
fn whose(before: &[Origin], after: &[Origin]) -> String {
    let names = |lists: &[Origin]| {
        let names = lists.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if names.is_empty() { "no list".to_owned() } else { names }
    };
    if before == after { names(after) } else { format!("{} -> {}", names(before), names(after)) }
}

fn coloured(text: &str) -> String {
    let line = |line: &str| match line.as_bytes().first() {
        Some(b'+') => format!("\x1b[32m{line}\x1b[0m\n"),
        Some(b'-') => format!("\x1b[31m{line}\x1b[0m\n"),
        Some(b'@') => format!("\x1b[36m{line}\x1b[0m\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
