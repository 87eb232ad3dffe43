//! `weir policy apply` and `weir policy rollback`: clients of the control API.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use axum::http::StatusCode;
use clap::Args;
use hyper::Method;
use serde::Serialize;

use crate::{
    api::policies::{self, Applied, Manner},
    cli::{
        CliError, EXIT_FAILURE, EXIT_USAGE, Output,
        value::{note, number},
    },
    client::{Client, ClientError},
    config::Config,
    output::{self, Format},
    versions::{Version, file},
};

/// How a policy is put in force.
#[derive(Args, Debug)]
struct How {
    /// Why; `weir policy history` shows it.
    #[arg(long, default_value_t, hide_default_value = true, value_name = "TEXT", value_parser = note)]
    note: String,
    /// Only say whether the agent would take it; nothing is changed.
    #[arg(long)]
    dry_run: bool,
    /// Leave the configuration file alone: the next start, or SIGHUP, ends this.
    #[arg(long)]
    until_restart: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Apply {
    /// The configuration; a signature beside it, FILE.minisig, is sent along.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Rollback {
    /// The version; without it, the one before the present.
    #[arg(value_name = "VERSION", value_parser = number(0..=u64::MAX))]
    version: Option<u64>,
    #[command(flatten)]
    how: How,
}

impl Apply {
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        let apply = policies::Apply {
            text: Config::read(&self.file)?,
            file: Some(self.file.display().to_string()),
            signature: file::read_signature(&self.file),
            manner: self.how.manner(),
        };
        send(socket, "/v1/policies", &apply, &self.how.output)
    }
}

impl Rollback {
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        let rollback = policies::Rollback { version: self.version, manner: self.how.manner() };
        send(socket, "/v1/policies/rollback", &rollback, &self.how.output)
    }
}

impl How {
    fn manner(&self) -> Manner {
        let Self { note, dry_run, until_restart, output: _ } = self;
        Manner { note: note.clone(), dry_run: *dry_run, until_restart: *until_restart }
    }
}

fn send(socket: &Path, page: &str, body: &impl Serialize, output: &Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(socket)?.patient(policies::PATIENCE);
    let applied: Applied = match client.call(Method::POST, page, Some(body)) {
        Ok(applied) => applied,
        Err(ClientError::Refused(problem)) => {
            output::error(&problem);
            if output.output == Format::Json {
                output::print(Format::Json, &problem, |_| String::new());
            }
            let invalid = problem.status == StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(ExitCode::from(if invalid { EXIT_USAGE } else { EXIT_FAILURE }));
        }
        Err(error) => return Err(error.into()),
    };
    applied.warnings.iter().for_each(|warning| output::warning(warning));
    output::print(output.output, &applied, sentence);
    Ok(ExitCode::SUCCESS)
}

fn sentence(applied: &Applied) -> String {
    let version = applied.policy.as_ref().map_or_else(String::new, |version| {
        format!("version {} ({})", version.number, version.digest.short())
    });
    match applied {
        Applied { dry_run: true, changed: true, .. } => {
            format!(
                "the agent would take it in place of {version}; `weir policy diff` shows what it would change"
            )
        }
        Applied { dry_run: true, .. } => format!("nothing would change: it is {version}, which is in force"),
        Applied { changed: true, policy: Some(Version { returns_to: Some(number), .. }), .. } => {
            format!("{version} is in force; it says what version {number} said")
        }
        Applied { changed: true, .. } => format!("{version} is in force"),
        Applied { .. } => format!("nothing has changed: it is {version}, which was in force"),
    }
}
