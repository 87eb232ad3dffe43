//! The command line.

/// `weir audit`.
mod audit;
/// `weir check`.
mod check;
/// `weir explain`.
mod explain;
/// `weir top`.
mod top;
/// `weir events`.
mod events;
/// `weir ban`, `unban`, `bans`, `allow` and `throttle`.
mod rules;
/// `weir feeds`.
mod feeds;
/// `weir l7`.
mod l7;
/// `weir policy`.
mod policy;
/// `weir replay`.
mod replay;
/// `weir unload`.
mod unload;
/// `weir schema`, `completions` and `man`.
mod pages;
/// Examples in the help of commands.
mod examples;
/// What long work has come to.
mod progress;
/// Numbers and notes, as people write them.
mod value;
/// Why a command failed.
mod error;
/// What documents say.
#[cfg(test)]
mod docs;

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use error::CliError;
pub use pages::reference;

use crate::{
    app::{self, Places},
    config::{Port, Prefix},
    datapath::Pins,
    limits,
    output::{self, Format},
    proxy::push,
    status,
    telemetry::{self, catalogue},
    versions::signature::Key,
};

const SOCKET: &str = "/run/weir/weir.sock";
/// Bad configuration or usage: EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;
const EXIT_FAILURE: u8 = 1;
/// Of `policy diff --exit-code`.
const EXIT_DIFFERS: u8 = 2;

/// eBPF/XDP throttling agent for API gateway hosts.
///
/// Drops abusive traffic at the NIC, by IP reputation and by per-source token buckets. What is
/// enforced stays in the kernel when the agent ends, until `weir unload`.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 `policy diff --exit-code` found a difference, 64 wrong usage or invalid configuration.",
    after_long_help = examples::WEIR
)]
struct Cli {
    /// BPF filesystem below which everything is pinned.
    #[arg(
        long,
        global = true,
        env = "WEIR_BPFFS",
        hide_env_values = true,
        default_value = "/sys/fs/bpf",
        value_name = "DIR"
    )]
    bpffs: PathBuf,
    /// Directory in which the agent keeps what it knows.
    #[arg(
        long,
        global = true,
        env = "WEIR_STATE",
        hide_env_values = true,
        default_value = "/var/lib/weir",
        value_name = "DIR"
    )]
    state: PathBuf,
    /// Control socket of the agent; with `run`, instead of `listen.control`.
    /// [default: /run/weir/weir.sock]
    #[arg(long, global = true, env = "WEIR_SOCKET", hide_env_values = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load, attach and enforce; SIGHUP rereads the configuration, SIGTERM ends the agent only.
    #[command(after_long_help = examples::RUN)]
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Put nothing in force that this key of minisign has not signed: a public key, or the file with it.
        #[arg(long, env = "WEIR_POLICY_KEY", hide_env_values = true, value_name = "KEY|FILE")]
        policy_key: Option<Key>,
        /// Take up the configuration file whenever it is replaced, as at SIGHUP: for volumes of Kubernetes.
        #[arg(long)]
        watch: bool,
        /// Log JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Check a configuration and its lists without touching the kernel.
    #[command(after_long_help = examples::CHECK)]
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Check the file only, and read no lists: what `systemctl reload weir` does first.
        #[arg(long)]
        no_lists: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show what is attached, enforced and counted.
    #[command(after_long_help = examples::STATUS)]
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Tell what the kernel does with an address, or with those of a prefix, and why.
    #[command(after_long_help = examples::EXPLAIN)]
    Explain {
        /// The address; of a prefix it is told what its addresses get, and which lists and rules meet it.
        #[arg(value_name = "IP|PREFIX")]
        prefix: Prefix,
        /// The port that a packet from there is for, like 443/tcp; it decides which limits hold.
        #[arg(long, value_name = "PORT")]
        port: Option<Port>,
        #[command(flatten)]
        output: Output,
    },
    /// Show what goes on now: rates, sources, feeds, limits and interfaces.
    #[command(after_long_help = examples::TOP)]
    Top(top::Top),
    /// Show sampled packets, the last ones or as they come.
    #[command(after_long_help = examples::EVENTS)]
    Events(events::Events),
    /// Show limits, what they have done, and who owes them most.
    #[command(after_long_help = examples::LIMITS)]
    Limits {
        /// How many debtors.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = value::number(0..=1000_u16))]
        top: u16,
        #[command(flatten)]
        output: Output,
    },
    /// Drop packets from addresses, at once.
    #[command(after_long_help = examples::BAN)]
    Ban(rules::Ban),
    /// Lift whatever rule addresses have: a ban, or one of `allow` or `throttle`.
    #[command(after_long_help = examples::UNBAN)]
    Unban(rules::Unban),
    /// Show all bans and rules.
    #[command(after_long_help = examples::BANS)]
    Bans {
        #[command(flatten)]
        output: Output,
    },
    /// Let packets from addresses pass, whatever lists and limits say.
    #[command(after_long_help = examples::ALLOW)]
    Allow(rules::Allow),
    /// Hold addresses to the suspicious pace of limits.
    #[command(after_long_help = examples::THROTTLE)]
    Throttle(rules::Throttle),
    /// Show feeds, accept a list that was held back, read one now.
    #[command(after_long_help = examples::FEEDS)]
    Feeds {
        #[command(subcommand)]
        command: feeds::Feeds,
    },
    /// Test, compare, apply and roll back configurations, and show what was in force.
    #[command(after_long_help = examples::POLICY)]
    Policy {
        #[command(subcommand)]
        command: policy::Policy,
    },
    /// Show what was changed, when and by whom, and check that nobody has changed the record of it.
    #[command(after_long_help = examples::AUDIT)]
    Audit {
        #[command(subcommand)]
        command: audit::Audit,
    },
    /// Test rules on requests.
    #[command(after_long_help = examples::L7)]
    L7 {
        #[command(subcommand)]
        command: l7::L7,
    },
    /// Tell what a policy would have done to recorded traffic.
    #[command(after_long_help = examples::REPLAY)]
    Replay(replay::Replay),
    /// Print all metrics, as docs/metrics.md has them.
    #[command(hide = true)]
    Catalogue {
        #[command(flatten)]
        output: Output,
    },
    /// Run a program for each line of the input: a process of `weir run`, which executes nothing itself.
    #[command(hide = true, name = push::COMMAND)]
    Reload {
        #[arg(required = true, last = true)]
        words: Vec<String>,
    },
    /// Detach from all interfaces and remove everything from the kernel, at once.
    #[command(after_long_help = examples::UNLOAD)]
    Unload {
        #[command(flatten)]
        output: Output,
    },
    /// Print the JSON Schema of the configuration, for editors.
    #[command(after_long_help = examples::SCHEMA)]
    Schema,
    /// Print what a shell needs to complete commands.
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL", value_enum)]
        shell: Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(after_long_help = examples::MAN)]
    Man {
        /// The directory to write them into.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// Configuration file.
    #[arg(
        short,
        long,
        env = "WEIR_CONFIG",
        hide_env_values = true,
        default_value = "/etc/weir/weir.yaml",
        value_name = "FILE"
    )]
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

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let pins = Pins::new(&cli.bpffs);
    let socket = cli.socket.as_deref().unwrap_or(Path::new(SOCKET));
    match cli.command {
        Command::Run { config, policy_key, watch, log_json } => {
            telemetry::init(log_json);
            let (config, state, socket) = (config.config, cli.state, cli.socket);
            app::run(Places { config, pins, state, socket, policy_key, watch })?;
        }
        Command::Check { config, no_lists, output } => {
            return check::check(&config.config, !no_lists, &cli.state, output.output);
        }
        Command::Status { output } => {
            let status = status::read(&pins, &cli.state)?;
            let answers = !status.loaded && UnixStream::connect(socket).is_ok();
            output::print(output.output, &status.heard(answers), status::text);
        }
        Command::Explain { prefix, port, output } => {
            explain::run(&pins, &cli.state, socket, (prefix, port), output.output)?;
        }
        Command::Top(top) => return top.run(&pins, &cli.state, socket),
        Command::Events(events) => return events.run(socket),
        Command::Limits { top, output } => {
            output::print(output.output, &limits::read(&pins, &cli.state, top.into())?, limits::text);
        }
        Command::Ban(ban) => return ban.run(socket),
        Command::Unban(unban) => return unban.run(socket),
        Command::Bans { output } => rules::list(socket, output.output)?,
        Command::Allow(allow) => return allow.run(socket),
        Command::Throttle(throttle) => return throttle.run(socket),
        Command::Feeds { command } => return command.run(&pins, &cli.state, socket),
        Command::Policy { command } => return command.run(&cli.state, socket),
        Command::Audit { command } => return command.run(&cli.state),
        Command::L7 { command } => return command.run(),
        Command::Schema => pages::schema(),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { directory } => pages::man(directory.as_deref())?,
        Command::Replay(replay) => return replay.run(&cli.state),
        Command::Catalogue { output } => {
            output::print(output.output, &catalogue::entries()?, |entries| catalogue::markdown(entries));
        }
        Command::Reload { words } => {
            push::serve_reloads(&words).map_err(|error| CliError::Reload { error })?;
        }
        Command::Unload { output } => unload::unload(&pins, &cli.state, output.output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is fuzzed of it.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    pub(crate) use super::{l7::fuzz as requests, policy::fuzz as packets};
}
