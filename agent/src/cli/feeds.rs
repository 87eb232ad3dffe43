//! `weir feeds`: how lists are, and what can be done about one.

/// `weir feeds receive`.
mod receive;

use std::{path::Path, process::ExitCode};

use clap::Subcommand;
use hyper::Method;
use serde::Serialize;

use super::{CliError, ConfigFile, EXIT_FAILURE, Output, check};
use crate::{
    api::feeds::View,
    client::Client,
    datapath::Pins,
    feed::catalogue::{self, Known},
    output::{self, Format, table},
    record::{self, FeedRecord},
    status,
};

/// The body of a request that has none.
const NOTHING: Option<&()> = None;

#[derive(Debug, Subcommand)]
pub(super) enum Feeds {
    /// Show all feeds in force.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Put the list of a feed in force that was held back.
    Accept {
        /// The feed.
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Read the list of a feed now. Fails if it cannot be had, or is held back.
    Refresh {
        /// The feed.
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Hand a `bgp` feed what exabgp says on standard input; to be its `process` with `encoder json`.
    Receive {
        /// The feed.
        name: String,
    },
    /// Show how many addresses of clouds, search bots and resolvers each list would hit.
    Overlap {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
    /// Show feeds that are known by name, for `known` in the configuration.
    Catalogue {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Serialize)]
struct All {
    feeds: Vec<FeedRecord>,
}

impl Feeds {
    pub(super) fn run(self, pins: &Pins, state: &Path, socket: &Path) -> Result<ExitCode, CliError> {
        match self {
            Self::List { output } => list(pins, state, output.output)?,
            Self::Accept { name, output } => return act(socket, &name, "accept", output.output),
            Self::Refresh { name, output } => return act(socket, &name, "refresh", output.output),
            Self::Receive { name } => receive::receive(socket, &name)?,
            Self::Overlap { config, output } => check::overlap(&config.config, state, output.output)?,
            Self::Catalogue { output } => {
                output::print(output.output, &catalogue::ALL, |all| catalogue_text(all));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(pins: &Pins, state: &Path, format: Format) -> Result<(), CliError> {
    let feeds = status::read(pins, state)?.feeds;
    output::print(format, &All { feeds }, |all| text(&all.feeds));
    Ok(())
}

/// Does something with a feed, and tells how it then is. It has failed if the list cannot be had or is held.
fn act(socket: &Path, name: &str, what: &str, format: Format) -> Result<ExitCode, CliError> {
    let path = format!("/v1/feeds/{name}/{what}");
    let view: View = Client::connect(socket)?.call(Method::POST, &path, NOTHING)?;
    output::print(format, &view, |view| text(std::slice::from_ref(&view.feed)));
    if view.feed.state.refusal.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    output::error(&format!("feed {name}: {}", view.feed.health()));
    Ok(ExitCode::from(EXIT_FAILURE))
}

fn text(feeds: &[FeedRecord]) -> String {
    if feeds.is_empty() {
        return "no feeds\n".to_owned();
    }
    let rows = feeds.iter().map(|feed| {
        let age = feed.last_success.and_then(|at| record::time(at).elapsed().ok());
        let age = age.map_or("never".to_owned(), |age| output::whole(age.as_secs()));
        vec![
            feed.name.clone(),
            feed.source.clone(),
            feed.ipv4.to_string(),
            feed.ipv6.to_string(),
            format!("+{} -{}", feed.state.added, feed.state.removed),
            age,
            feed.health(),
        ]
    });
    table(&["FEED", "SOURCE", "IPV4", "IPV6", "CHANGED", "AGE", "STATE"], rows)
}

fn catalogue_text(all: &[Known]) -> String {
    let rows = all.iter().map(|known| {
        let interval = output::whole(known.interval().as_secs());
        vec![
            known.name.to_owned(),
            known.category.to_owned(),
            interval,
            known.licence.to_owned(),
            known.about.to_owned(),
        ]
    });
    table(&["NAME", "CATEGORY", "EVERY", "LICENCE", "ABOUT"], rows)
}
