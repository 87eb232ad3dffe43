//! `weir check`: is the file right, and what is in the lists?

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use super::{CliError, EXIT_FAILURE, EXIT_USAGE};
use crate::{
    app::AppError,
    config::{Config, ConfigError},
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
};

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

pub(super) fn check(path: &Path, format: Format) -> Result<ExitCode, CliError> {
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
