//! `weir check`: is the file right, and what is in the lists?

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use nix::net::if_::if_nametoindex;
use serde::Serialize;
use tokio::runtime;

use super::{CliError, EXIT_FAILURE, EXIT_USAGE, progress::Progress};
use crate::{
    app::AppError,
    config::{Config, ConfigError, FeedAction},
    feed::{
        Feed,
        overlap::{Overlap, Packs},
        store::Store,
        worker::Worker,
    },
    host,
    output::{self, Format, table},
    policy::{
        Policy,
        classes::Classes,
        compile::Demand,
        limits::LimitNumbers,
        merge,
        protect::{self, Conflicts},
        warnings,
    },
    record::FeedRecord,
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
    feeds: Vec<FeedRecord>,
    /// What lists that drop or slow down have in common with clouds, search bots and resolvers.
    overlaps: Vec<FeedOverlaps>,
    /// Entries of lists that meet what must not be cut off, and spare it.
    conflicts: Vec<Conflicts>,
    /// What will not do what it may be meant to do.
    warnings: Vec<String>,
    /// Slots that all lists together take.
    ipv4_entries: u64,
    /// Likewise.
    ipv6_entries: u64,
}

impl Checked {
    /// A file about whose lists nothing is known.
    fn of(path: &Path) -> Self {
        Self {
            ok: true,
            config: path.to_owned(),
            problems: None,
            feeds: Vec::new(),
            overlaps: Vec::new(),
            conflicts: Vec::new(),
            warnings: Vec::new(),
            ipv4_entries: 0,
            ipv6_entries: 0,
        }
    }
}

/// What a list has in common with packs.
#[derive(Debug, Serialize)]
pub(super) struct FeedOverlaps {
    feed: String,
    overlaps: Vec<Overlap>,
}

pub(super) fn check(path: &Path, lists: bool, state: &Path, format: Format) -> Result<ExitCode, CliError> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) if format == Format::Json => {
            let checked = Checked { ok: false, problems: Some(error), ..Checked::of(path) };
            output::print(format, &checked, check_text);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Err(error) => return Err(error.into()),
    };
    let mut warnings = warnings::of(&config, config.tables.limiter_bits);
    warnings.extend(elsewhere(&config));
    if !lists {
        let checked = Checked { warnings, ..Checked::of(path) };
        output::print(format, &checked, file_text);
        return Ok(ExitCode::SUCCESS);
    }
    let feeds = read(&config, state)?;
    let progress = Progress::new(3);
    progress.next("compiling all lists");
    let rows: Vec<_> = feeds.iter().map(FeedRecord::from).collect();
    let protected = host::protected(&config);
    let policy = Policy::new(&config, &feeds, &protected, &mut LimitNumbers::default());
    let merged = merge::merge(&policy.lists, &mut Classes::default()).map_err(AppError::from)?;
    let demand = Demand::of(&merged);
    progress.done();
    progress.next("comparing lists with clouds, search bots and resolvers");
    let overlaps = overlaps(&feeds);
    progress.done();
    progress.next("looking for what must not be cut off");
    let checked = Checked {
        ok: rows.iter().all(|row| row.state.refusal.is_none()),
        feeds: rows,
        overlaps,
        conflicts: protect::conflicts(&policy.lists, &protected),
        warnings,
        ipv4_entries: demand.v4,
        ipv6_entries: demand.v6,
        ..Checked::of(path)
    };
    drop(progress);
    output::print(format, &checked, check_text);
    Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// Says which interfaces this host has not. It may be no gateway, so that is no error.
fn elsewhere(config: &Config) -> impl Iterator<Item = String> {
    let names = config.interfaces.iter().map(|interface| interface.name.as_str());
    names.filter(|name| if_nametoindex(*name).is_err()).map(|name| {
        format!("this host has no interface {name}, and weir does not start without; `ip link` lists those that there are")
    })
}

/// `weir feeds overlap`: the overlaps of [`check`], for all lists.
pub(super) fn overlap(path: &Path, state: &Path, format: Format) -> Result<(), CliError> {
    let config = Config::load(path)?;
    let feeds = read(&config, state)?;
    for feed in &feeds {
        if let Some(refusal) = &feed.state.refusal {
            output::warning(&format!("feed {}: {}", feed.config.name, refusal.message));
        }
    }
    let overlaps = overlaps(&feeds);
    output::print(format, &overlaps, |overlaps| {
        let text = overlaps_text(overlaps);
        if text.is_empty() { "no list names an address of a pack\n".to_owned() } else { text }
    });
    Ok(())
}

fn overlaps(feeds: &[Feed]) -> Vec<FeedOverlaps> {
    let packs = Packs::all();
    let hurts = |feed: &&Feed| !matches!(feed.config.action, FeedAction::Allow | FeedAction::Partner);
    let of = |feed: &Feed| FeedOverlaps {
        feed: feed.config.name.clone(),
        overlaps: packs.overlaps(&feed.listing.entries),
    };
    feeds.iter().filter(hurts).map(of).filter(|overlaps| !overlaps.overlaps.is_empty()).collect()
}

fn overlaps_text(overlaps: &[FeedOverlaps]) -> String {
    let rows = overlaps.iter().flat_map(|feed| {
        feed.overlaps.iter().map(|overlap| {
            vec![
                feed.feed.clone(),
                overlap.pack.clone(),
                overlap.ipv4_addresses.to_string(),
                overlap.ipv6_networks.to_string(),
            ]
        })
    });
    if overlaps.is_empty() {
        return String::new();
    }
    format!("\n{}", table(&["FEED", "NAMES OF", "IPV4 ADDRESSES", "IPV6 /64S"], rows))
}

/// Reads all lists once, as the agent would at its start. Nothing is kept.
fn read(config: &Config, state: &Path) -> Result<Vec<Feed>, CliError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AppError::System { what: "start the runtime", error })?;
    let progress = Progress::new(config.feeds.len());
    let read = config.feeds.iter().map(|config| {
        progress.next(format!("reading feed {}", config.name));
        let mut worker = Worker::new(Arc::new(config.clone()), Store::new(state).read_only());
        runtime.block_on(worker.refresh());
        progress.done();
        worker.feed().clone()
    });
    Ok(read.collect())
}

fn file_text(checked: &Checked) -> String {
    let mut text = format!("{}: valid; lists were not read\n", checked.config.display());
    for warning in &checked.warnings {
        _ = writeln!(text, "\n{warning}");
    }
    text
}

fn check_text(checked: &Checked) -> String {
    let mut text = format!("{}: valid\n", checked.config.display());
    let rows = checked.feeds.iter().map(|feed| {
        vec![
            feed.name.clone(),
            feed.ipv4.to_string(),
            feed.ipv6.to_string(),
            feed.state.rejected.lines.to_string(),
            feed.state.rejected.too_wide.to_string(),
            feed.health(),
        ]
    });
    if !checked.feeds.is_empty() {
        let header = &["FEED", "IPV4", "IPV6", "REJECTED", "TOO WIDE", "STATE"];
        _ = write!(text, "\n{}", table(header, rows));
    }
    text.push_str(&overlaps_text(&checked.overlaps));
    text.push_str(&protect::text(&checked.conflicts));
    for warning in &checked.warnings {
        _ = writeln!(text, "\n{warning}");
    }
    _ = writeln!(text, "\n{} IPv4 and {} IPv6 table entries", checked.ipv4_entries, checked.ipv6_entries);
    text
}
