//! The command line.

/// `weir check`.
mod check;
/// `weir ban`, `unban`, `bans`, `allow` and `throttle`.
mod rules;
/// `weir feeds`.
mod feeds;
/// `weir l7`.
mod l7;
/// `weir unload`.
mod unload;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app::{self, AppError, Places},
    client::ClientError,
    config::{ConfigError, Port},
    datapath::{DatapathError, Pins},
    explain,
    output::{self, Format},
    status, telemetry,
};

const SOCKET: &str = "/run/weir/weir.sock";
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
    /// Control socket of the agent; with `run`, instead of `listen.control`.
    /// [default: /run/weir/weir.sock]
    #[arg(long, global = true, env = "WEIR_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
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
    /// Drop packets from addresses, at once.
    Ban(rules::Ban),
    /// Lift whatever rule addresses have: a ban, or one of `allow` or `throttle`.
    Unban(rules::Unban),
    /// Show all bans and rules.
    Bans {
        #[command(flatten)]
        output: Output,
    },
    /// Let packets from addresses pass, whatever lists and limits say.
    Allow(rules::Allow),
    /// Hold addresses to the suspicious pace of limits.
    Throttle(rules::Throttle),
    /// Show feeds, accept a list that was held back, read one now.
    Feeds {
        #[command(subcommand)]
        command: feeds::Feeds,
    },
    /// Test rules on requests.
    L7 {
        #[command(subcommand)]
        command: l7::L7,
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
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Cases(#[from] l7::CasesError),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Cases(_) | Self::App(AppError::Config(_)) => EXIT_USAGE,
            Self::App(_) | Self::Datapath(_) | Self::Explain(_) | Self::Client(_) => EXIT_FAILURE,
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let pins = Pins::new(&cli.bpffs);
    let socket = cli.socket.as_deref().unwrap_or(Path::new(SOCKET));
    match cli.command {
        Command::Run { config, log_json } => {
            telemetry::init(log_json);
            app::run(Places { config: config.config, pins, state: cli.state, socket: cli.socket })?;
        }
        Command::Check { config, output } => return check::check(&config.config, &cli.state, output.output),
        Command::Status { output } => {
            output::print(output.output, &status::read(&pins, &cli.state)?, status::text);
        }
        Command::Explain { address, port, output } => {
            let explanation = explain::explain(&pins, &cli.state, address, port)?;
            output::print(output.output, &explanation, explain::text);
        }
        Command::Ban(ban) => return ban.run(socket),
        Command::Unban(unban) => return unban.run(socket),
        Command::Bans { output } => rules::list(socket, output.output)?,
        Command::Allow(allow) => return allow.run(socket),
        Command::Throttle(throttle) => return throttle.run(socket),
        Command::Feeds { command } => command.run(&pins, &cli.state, socket)?,
        Command::L7 { command } => return command.run(),
        Command::Unload { output } => unload::unload(&pins, &cli.state, output.output)?,
    }
    Ok(ExitCode::SUCCESS)
}
