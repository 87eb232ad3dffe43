//! The command line.

use std::{
    fmt::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::{
    app::{self, AppError, Places},
    config::{Config, ConfigError, Port},
    datapath::{DatapathError, Pins},
    explain,
    feed::{self, Feed},
    host,
    output::{self, Format, table},
    policy::{
        Policy,
        classes::Classes,
        compile::Demand,
        limits::{self, LimitNumbers},
        merge,
        protect::{self, Conflicts},
    },
    record::Record,
    status, telemetry,
};

/// Bad configuration or usage: EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;
const EXIT_FAILURE: u8 = 1;

/// eBPF/XDP throttling agent for API gateway hosts.
///
/// Drops abusive traffic at the NIC, by IP reputation and by per-source token buckets. What is
/// enforced stays in the kernel when the agent ends, until `weir unload`.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 64 wrong usage or invalid configuration.")]
struct Cli {
    /// BPF filesystem below which everything is pinned.
    #[arg(long, global = true, env = "WEIR_BPFFS", default_value = "/sys/fs/bpf", value_name = "DIR")]
    bpffs: PathBuf,
    /// Directory in which the agent keeps what it knows.
    #[arg(long, global = true, env = "WEIR_STATE", default_value = "/var/lib/weir", value_name = "DIR")]
    state: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load, attach and enforce; SIGHUP rereads the configuration, SIGTERM ends the agent only.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Log JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Check a configuration and its lists without touching the kernel.
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
    /// Show what is attached, enforced and counted.
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Tell what the kernel does with an address, and why.
    Explain {
        /// The address.
        #[arg(value_name = "IP")]
        address: IpAddr,
        /// The port that a packet from there is for, like 443/tcp; it decides which limits hold.
        #[arg(long, value_name = "PORT")]
        port: Option<Port>,
        #[command(flatten)]
        output: Output,
    },
    /// Detach from all interfaces and remove everything from the kernel, at once.
    Unload {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// Configuration file.
    #[arg(short, long, env = "WEIR_CONFIG", default_value = "/etc/weir/weir.yaml", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct Output {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors; they go to standard output.
            _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    App(#[from] AppError),
    #[error("{0}")]
    Datapath(#[from] DatapathError),
    #[error("{0}")]
    Explain(#[from] explain::ExplainError),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::App(AppError::Config(_)) => EXIT_USAGE,
            Self::App(_) | Self::Datapath(_) | Self::Explain(_) => EXIT_FAILURE,
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let pins = Pins::new(&cli.bpffs);
    match cli.command {
        Command::Run { config, log_json } => {
            telemetry::init(log_json);
            app::run(Places { config: config.config, pins, state: cli.state })?;
        }
        Command::Check { config, output } => return check(&config.config, output.output),
        Command::Status { output } => {
            output::print(output.output, &status::read(&pins, &cli.state)?, status::text);
        }
        Command::Explain { address, port, output } => {
            let explanation = explain::explain(&pins, &cli.state, address, port)?;
            output::print(output.output, &explanation, explain::text);
        }
        Command::Unload { output } => unload(&pins, &cli.state, output.output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Checked {
    /// Configuration and all lists can be put in force.
    ok: bool,
    /// The configuration file.
    config: PathBuf,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<ConfigError>,
    /// Its lists.
    feeds: Vec<CheckedFeed>,
    /// Entries of lists that have no effect, because they name what must not be cut off.
    conflicts: Vec<Conflicts>,
    /// What will not do what it may be meant to do.
    warnings: Vec<String>,
    /// Slots that all lists together take.
    ipv4_entries: u64,
    /// Likewise.
    ipv6_entries: u64,
}

#[derive(Debug, Serialize)]
struct CheckedFeed {
    name: String,
    ipv4: usize,
    ipv6: usize,
    rejected: usize,
    too_wide: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

fn check(path: &Path, format: Format) -> Result<ExitCode, CliError> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) if format == Format::Json => {
            let checked = Checked {
                ok: false,
                config: path.to_owned(),
                problems: Some(error),
                feeds: Vec::new(),
                conflicts: Vec::new(),
                warnings: Vec::new(),
                ipv4_entries: 0,
                ipv6_entries: 0,
            };
            output::print(format, &checked, check_text);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Err(error) => return Err(error.into()),
    };
    let mut feeds = Vec::new();
    let mut rows = Vec::new();
    for config in config.feeds.iter().cloned() {
        let (list, refused) = match feed::read(&config) {
            Ok(list) => (list, None),
            Err(refusal) => (feed::Parsed::default(), Some(refusal.to_string())),
        };
        rows.push(CheckedFeed {
            name: config.name.clone(),
            ipv4: list.entries.v4.len(),
            ipv6: list.entries.v6.len(),
            rejected: list.rejected,
            too_wide: list.too_wide,
            refused,
        });
        feeds.push(Feed { entries: list.entries.into(), ..Feed::new(config) });
    }
    let protected = host::protected(&config.management);
    let policy = Policy::new(&config, &feeds, &protected, &mut LimitNumbers::default());
    let merged = merge::merge(&policy.lists, &mut Classes::default()).map_err(AppError::from)?;
    let demand = Demand::of(&merged);
    let checked = Checked {
        ok: rows.iter().all(|row| row.refused.is_none()),
        config: path.to_owned(),
        problems: None,
        feeds: rows,
        conflicts: protect::conflicts(&policy.lists, &protected),
        warnings: limits::crowded(&config.limits, config.tables.limiter_bits),
        ipv4_entries: demand.v4,
        ipv6_entries: demand.v6,
    };
    output::print(format, &checked, check_text);
    Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn check_text(checked: &Checked) -> String {
    let mut text = format!("{}: valid\n", checked.config.display());
    let rows = checked.feeds.iter().map(|feed| {
        vec![
            feed.name.clone(),
            feed.ipv4.to_string(),
            feed.ipv6.to_string(),
            feed.rejected.to_string(),
            feed.too_wide.to_string(),
            feed.refused.clone().unwrap_or_else(|| "ok".to_owned()),
        ]
    });
    if !checked.feeds.is_empty() {
        let header = &["FEED", "IPV4", "IPV6", "REJECTED", "TOO WIDE", "STATE"];
        _ = write!(text, "\n{}", table(header, rows));
    }
    text.push_str(&protect::text(&checked.conflicts));
    for warning in &checked.warnings {
        _ = writeln!(text, "\n{warning}");
    }
    _ = writeln!(text, "\n{} IPv4 and {} IPv6 table entries", checked.ipv4_entries, checked.ipv6_entries);
    text
}

/// What was removed.
#[derive(Debug, Serialize)]
struct Unloaded {
    /// Something was there.
    was_loaded: bool,
    /// Interfaces that are free now.
    detached: Vec<String>,
    /// An agent still runs; it attaches again only at its next start.
    agent_running: bool,
}

fn unload(pins: &Pins, state: &Path, format: Format) -> Result<(), CliError> {
    let agent_running = pins.locked();
    let was_loaded = pins.exist() || !pins.others().is_empty();
    let detached = pins.remove()?;
    Record::remove(state);
    output::print(format, &Unloaded { was_loaded, detached, agent_running }, |unloaded| {
        if !unloaded.was_loaded {
            return "nothing was loaded\n".to_owned();
        }
        let mut text = match unloaded.detached.as_slice() {
            [] => "unloaded\n".to_owned(),
            names => format!("unloaded; detached from {}\n", names.join(", ")),
        };
        if unloaded.agent_running {
            text.push_str("the agent still runs, without enforcing; stop or restart it\n");
        }
        text
    });
    Ok(())
}
