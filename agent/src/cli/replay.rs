//! `weir replay`: what a policy would have done to a capture.

use std::{
    iter,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Instant, SystemTime},
};

use clap::{Args, ValueEnum};

use super::{CliError, ConfigFile, EXIT_FAILURE, Output, value::number};
use crate::{
    capture::{Capture, Damage},
    config::{Config, Enforce, Prefix},
    host,
    offline::{self, Compiled, Offline},
    output::{self, Bar},
    replay::{Naming, Replay as Run, Report, Sections, Summary, text},
    rules::{self, Rule},
};

/// Packets between two looks at the clock and the progress.
const BATCH: u64 = 1 << 16;
/// Instead of a file of rules: those of the state directory.
const STATE: &str = "state";

#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The capture: pcap or pcapng, compressed (gzip, zstd) or not; - is standard input.
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
    /// Compare with another configuration: how many packets would get another verdict, and why.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Judge as if the configurations said `enforce: enforce`; feeds and limits that are in shadow mode
    /// by themselves stay so.
    #[arg(long)]
    enforce: bool,
    /// Which tables to print.
    #[arg(long, value_enum, value_name = "WHAT")]
    by: Option<By>,
    /// How many sources to print; 0: leave sources out.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = number(0..=u32::MAX))]
    top: u32,
    /// Print pseudonyms instead of addresses; they are other ones in each run.
    #[arg(long)]
    pseudonymise: bool,
    /// An address or prefix of the host that captured: what it sent is left out. Repeatable.
    #[arg(long, value_name = "PREFIX")]
    own: Vec<Prefix>,
    /// The capture is of another host: addresses, gateways and resolvers of this one mean nothing.
    #[arg(long)]
    elsewhere: bool,
    /// Judge by bans and manual rules too, as if they had been in force all the time: those of the state
    /// directory, or of a file that `weir bans -o json` has printed.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = STATE)]
    rules: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Verdicts, lists and limits.
    Reason,
    /// Sources.
    Source,
}

impl Replay {
    pub(super) fn run(&self, state: &Path) -> Result<ExitCode, CliError> {
        let rules = self.rules(state)?;
        let (policy, shadow) = self.policy(&self.config.config, state)?;
        let against = self.against.as_ref().map(|path| Ok::<_, CliError>((path, self.policy(path, state)?)));
        let against = against.transpose()?;
        let policies = iter::once(&policy).chain(against.as_ref().map(|(_, (other, _))| other));
        let mut in_force = None;
        for policy in policies.filter(|_| self.rules.is_some()) {
            in_force = Some(rules::put_in(policy.memory(), &rules, SystemTime::now())?);
        }
        let mut capture = Capture::open(&self.capture)?;
        let own = self.own.iter().map(|Prefix(prefix)| *prefix).collect();
        let top = usize::try_from(self.top).unwrap_or(usize::MAX);
        let naming = Naming { top, pseudonyms: self.pseudonymise };
        let mut replay = Run::new(&policy, against.as_ref().map(|(_, (other, _))| other), own, naming);
        let started = Instant::now();
        let damage = judge(&mut capture, &mut replay).err();
        let summary = Summary {
            capture: &self.capture,
            damage: damage.clone(),
            config: &self.config.config,
            shadow,
            rules: in_force,
            against: against.as_ref().map(|(path, (_, shadow))| (path.as_path(), *shadow)),
            elapsed: started.elapsed(),
        };
        let report = Report::new(&mut replay, &capture, summary);
        let sections = match self.by {
            None => Sections::All,
            Some(By::Reason) => Sections::Reason,
            Some(By::Source) => Sections::Source,
        };
        output::print(self.output.output, &report, |report| text(report, sections));
        if let Some(damage) = &damage {
            output::error(&format!("{damage}; the report is of what stands before"));
        }
        let nothing_known = report.packets == 0 && !report.notes.unknown_links.is_empty();
        if nothing_known {
            output::error(&"no packet was judged: nothing is known of the link types of this capture");
        }
        Ok(if report.ok && !nothing_known { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
    }

    /// Returns the bans and manual rules that are asked for.
    fn rules(&self, state: &Path) -> Result<Vec<Rule>, CliError> {
        match &self.rules {
            None => Ok(Vec::new()),
            Some(path) if path.as_os_str() == STATE => Ok(rules::saved(state)),
            Some(path) => rules::read(path).map_err(|error| CliError::Rules { path: path.clone(), error }),
        }
    }

    /// Returns the policy of a configuration, and whether it is in shadow mode.
    fn policy(&self, path: &Path, state: &Path) -> Result<(Offline, bool), CliError> {
        let mut config = Config::load(path)?;
        if self.enforce {
            config.enforce = Enforce::Enforce;
        }
        let feeds = offline::lists(&config, state)?;
        for feed in &feeds {
            if let Some(refusal) = &feed.state.refusal {
                output::warning(&format!("feed {}: {}", feed.config.name, refusal.message));
            }
        }
        let protected = if self.elsewhere { host::everywhere(&config) } else { host::protected(&config) };
        let policy = Offline::new(&Compiled::new(&config, &feeds, &protected)?, config.tables.limiter_bits)?;
        Ok((policy, config.enforce.is_shadow()))
    }
}

/// Judges all packets of a capture.
fn judge(capture: &mut Capture, replay: &mut Run<'_>) -> Result<(), Damage> {
    let bar = Bar::bytes(capture.progress().1);
    while capture.read(BATCH, |packet| replay.take(packet))? {
        bar.at(capture.progress().0);
    }
    Ok(())
}
