//! `weir policy history` and `weir policy show`: from the state directory, with or without an agent.

use std::{fmt::Write as _, path::Path};

use clap::Args;

use crate::{
    api::policies::{self, Shown},
    cli::{CliError, Output, value::number},
    output::{self, Format, table},
    record,
    versions::{Version, Versions},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct History {
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Show {
    /// The version; without it, the newest.
    #[arg(value_name = "VERSION", value_parser = number(0..=u64::MAX))]
    version: Option<u64>,
    #[command(flatten)]
    output: Output,
}

impl History {
    pub(super) fn run(&self, state: &Path) -> Result<(), CliError> {
        let history = policies::History::of(&Versions::list(state)?);
        output::print(self.output.output, &history, |history| {
            if history.policies.is_empty() {
                return format!("nothing was put in force yet, as far as {} knows\n", state.display());
            }
            let header = &["VERSION", "TIME", "BY", "HOW", "DIGEST", "SIGNED", "NOTE"];
            table(header, history.policies.iter().map(row))
        });
        Ok(())
    }
}

fn row(version: &Version) -> Vec<String> {
    let Version { number, time, by, how, returns_to, until_restart, digest, signed, note, .. } = version;
    let mut how = how.as_str().to_owned();
    if let Some(number) = returns_to {
        _ = write!(how, " to {number}");
    }
    if *until_restart {
        how.push_str(", until restart");
    }
    vec![
        number.to_string(),
        date(*time),
        by.by.clone(),
        how,
        digest.short(),
        signed.map_or("-".to_owned(), date),
        note.clone(),
    ]
}

fn date(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(record::time(seconds)).to_string()
}

impl Show {
    pub(super) fn run(&self, state: &Path) -> Result<(), CliError> {
        let versions = Versions::list(state)?;
        let number = match self.version {
            Some(number) => number,
            None => versions.present()?.number,
        };
        let shown = Shown::of(&versions, number)?;
        match self.output.output {
            // To the byte, so that it can be put into a file.
            Format::Table => output::raw(shown.text.as_bytes()),
            Format::Json => output::print(Format::Json, &shown, |_| String::new()),
        }
        Ok(())
    }
}
