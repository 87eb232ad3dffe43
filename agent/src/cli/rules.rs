//! `weir ban`, `unban`, `bans`, `allow` and `throttle`: clients of the control API.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use clap::Args;
use hyper::Method;

use super::{CliError, EXIT_FAILURE, Output, value::note};
use crate::{
    api::rules::{BATCH_MAX, Listing, Order, Orders, View},
    client::{Client, ClientError},
    config::{Lasts, Prefix},
    output::{self, Format, table},
    record,
    rules::{Action, Profile, canonical},
};

const RULES: &str = "/v1/rules";
/// The body of a request that has none.
const NOTHING: Option<&()> = None;

/// What all rules are made of.
#[derive(Args, Debug)]
struct Common {
    /// Addresses or prefixes.
    #[arg(value_name = "PREFIX", required = true)]
    prefixes: Vec<Prefix>,
    /// How long: 30s, 10m, 1h, 7d, or forever.
    #[arg(long = "for", default_value = "1h", value_name = "TIME")]
    lasts: Lasts,
    /// Why; `weir bans` shows it.
    #[arg(long, default_value_t, hide_default_value = true, value_name = "TEXT", value_parser = note)]
    note: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(super) struct Ban {
    #[command(flatten)]
    common: Common,
    /// Count what it would drop, and let it pass.
    #[arg(long)]
    shadow: bool,
    /// Have proxies refuse its requests, and leave its packets alone: for clients behind a CDN.
    #[arg(long)]
    proxy_only: bool,
}

#[derive(Args, Debug)]
pub(super) struct Allow {
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Throttle {
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Unban {
    /// Addresses or prefixes, as they were banned.
    #[arg(value_name = "PREFIX", required = true)]
    prefixes: Vec<Prefix>,
    #[command(flatten)]
    output: Output,
}

impl Ban {
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        set(socket, self.common, Action::Ban, Mode { shadow: self.shadow, proxy_only: self.proxy_only })
    }
}

impl Allow {
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        set(socket, self.common, Action::Allow, Mode::default())
    }
}

impl Throttle {
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        set(socket, self.common, Action::Throttle, Mode::default())
    }
}

/// How a rule is held.
#[derive(Clone, Copy, Default)]
struct Mode {
    shadow: bool,
    proxy_only: bool,
}

/// Sets rules for all prefixes, as many at a time as the agent takes. What was done before a refusal
/// stays done, and is told.
fn set(socket: &Path, common: Common, action: Action, mode: Mode) -> Result<ExitCode, CliError> {
    let Common { prefixes, lasts, note, output } = common;
    let order = |Prefix(prefix): &Prefix| Order {
        prefix: Some(prefix.to_string()),
        action,
        profile: (action == Action::Throttle).then_some(Profile::Suspicious),
        shadow: mode.shadow,
        proxy_only: mode.proxy_only,
        seconds: lasts.into(),
        note: note.clone(),
    };
    let mut client = Client::connect(socket)?;
    let mut done = Done::default();
    for prefixes in prefixes.chunks(BATCH_MAX) {
        let orders = Orders { rules: prefixes.iter().map(order).collect() };
        if !done.add(client.call(Method::POST, RULES, Some(&orders)))? {
            break;
        }
    }
    Ok(done.tell(output.output))
}

impl Unban {
    /// Lifts all that can be lifted, and tells of the rest.
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        let mut client = Client::connect(socket)?;
        let mut done = Done::default();
        for Prefix(prefix) in self.prefixes {
            if done.add(client.call(Method::DELETE, &format!("{RULES}/{prefix}"), NOTHING))? {
                done.lifted.push(canonical(prefix).to_string());
            }
        }
        Ok(done.tell(self.output.output))
    }
}

/// What several requests have done.
#[derive(Default)]
struct Done {
    listing: Option<Listing>,
    lifted: Vec<String>,
    refused: bool,
}

impl Done {
    /// Adds an answer. Returns false, and says why, if it is a refusal.
    fn add(&mut self, answer: Result<Listing, ClientError>) -> Result<bool, CliError> {
        match answer {
            Ok(Listing { rules, warnings }) => {
                let all = self.listing.get_or_insert(Listing { rules: Vec::new(), warnings: Vec::new() });
                all.rules.extend(rules);
                all.warnings.extend(warnings);
                Ok(true)
            }
            Err(ClientError::Refused(problem)) => {
                output::error(&problem);
                self.refused = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tell(self, format: Format) -> ExitCode {
        let Self { listing, lifted, refused } = self;
        if let Some(mut listing) = listing {
            listing.warnings.dedup();
            listing.warnings.iter().for_each(|warning| output::warning(warning));
            output::print(format, &listing, |listing| {
                if lifted.is_empty() { lines(&listing.rules, sentence) } else { lines(&lifted, lift) }
            });
        }
        if refused { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS }
    }
}

fn lines<T>(items: &[T], line: impl Fn(&T) -> String) -> String {
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn lift(prefix: &String) -> String {
    format!("{prefix}  lifted")
}

fn sentence(view: &View) -> String {
    let rule = &view.rule;
    let until = match rule.until {
        Some(until) => format!("until {} ({})", date(until), left(view)),
        None => "until it is lifted".to_owned(),
    };
    format!("{}  {} {until}", rule.prefix, what(view))
}

/// `weir bans`.
pub(super) fn list(socket: &Path, format: Format) -> Result<(), CliError> {
    let listing: Listing = Client::connect(socket)?.call(Method::GET, RULES, NOTHING)?;
    output::print(format, &listing, |listing| {
        if listing.rules.is_empty() {
            return "no bans, no rules\n".to_owned();
        }
        let rows = listing.rules.iter().map(|view| {
            let rule = &view.rule;
            let until = rule.until.map_or("-".to_owned(), date);
            let by = rule.by.to_string();
            vec![
                rule.prefix.to_string(),
                what(view),
                by,
                date(rule.since),
                until,
                left(view),
                rule.note.clone(),
            ]
        });
        table(&["PREFIX", "WHAT", "BY", "SINCE", "UNTIL", "LEFT", "NOTE"], rows)
    });
    Ok(())
}

fn what(view: &View) -> String {
    let mut text = view.rule.action.as_str().to_owned();
    if view.rule.shadow {
        text.push_str(" (shadow)");
    }
    if view.rule.proxy_only {
        text.push_str(" (proxies)");
    }
    if let Some(profile) = view.rule.profile.filter(|profile| *profile != Profile::Suspicious) {
        _ = write!(text, " ({})", profile.as_str());
    }
    text
}

fn left(view: &View) -> String {
    view.seconds_left.map_or("forever".to_owned(), output::whole)
}

fn date(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(record::time(seconds)).to_string()
}
