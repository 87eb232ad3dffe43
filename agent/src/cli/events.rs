//! `weir events`: sampled packets, the last that the agent keeps, or as they come.

use std::{
    io::{self, IsTerminal as _},
    ops::ControlFlow,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, builder::PossibleValuesParser};
use hyper::Method;
use weir_common::verdict::Reason;

use super::{CliError, Output, value::number};
use crate::{
    api::events::Listing,
    client::{Client, ClientError},
    config::Prefix,
    events::{Line, View},
    output::{self, Format, table},
};

/// The body of a request that has none.
const NOTHING: Option<&()> = None;
/// Longer than the agent is silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long an agent may be away, for its restart, until its events are no longer waited for.
const AWAY: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(500);
/// Between a stream that has ended and the next.
const PAUSE: Duration = Duration::from_millis(50);
const HEADER: &[&str] = &["TIME", "INTERFACE", "SOURCE", "TO", "VERDICT", "REASON", "BY"];

#[derive(Args, Debug)]
pub(super) struct Events {
    /// Go on with events as they come; the kernel tells of more packets meanwhile.
    #[arg(short, long)]
    follow: bool,
    /// Those with this reason only.
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    reason: Option<String>,
    /// Those from this address or prefix only.
    #[arg(long, value_name = "PREFIX")]
    source: Option<Prefix>,
    /// How many of the last events; with --follow, how many before those that come.
    /// [default: 100, with --follow 10]
    #[arg(long, value_name = "N", value_parser = number(0..=4096_u16))]
    limit: Option<u16>,
    #[command(flatten)]
    output: Output,
}

impl Events {
    pub(super) fn run(self, socket: &Path) -> Result<ExitCode, CliError> {
        let format = self.output.output;
        if self.follow {
            follow(socket, &self)?;
            return Ok(ExitCode::SUCCESS);
        }
        let listing: Listing = Client::connect(socket)?.call(Method::GET, &self.path(None), NOTHING)?;
        output::print(format, &listing, |listing| {
            if listing.events.is_empty() {
                return "no events\n".to_owned();
            }
            table(HEADER, listing.events.iter().map(row))
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the page to ask for, after event number `after`.
    fn path(&self, after: Option<u64>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if self.follow {
            query.append_pair("follow", "true");
        }
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        if let Some(reason) = &self.reason {
            query.append_pair("reason", reason);
        }
        if let Some(Prefix(source)) = self.source {
            query.append_pair("source", &source.to_string());
        }
        format!("/v1/events?{}", query.finish())
    }
}

/// Follows events until nobody reads them any more. A stream ends now and then and is gone on with; an agent
/// that restarts is waited for.
fn follow(socket: &Path, events: &Events) -> Result<(), CliError> {
    let format = events.output.output;
    let mut tell = Tell { format, header: io::stdout().is_terminal(), last: None, read: true };
    let mut heard = None::<Instant>;
    while tell.read {
        let streamed = Client::connect(socket).and_then(|mut client| {
            client.lines(&events.path(tell.last), SILENCE, |line| {
                heard = Some(Instant::now());
                tell.line(line)
            })
        });
        match streamed {
            // It was long enough, or the agent is about to end.
            Ok(()) => thread::sleep(PAUSE),
            Err(error @ ClientError::Refused(_)) => return Err(error.into()),
            Err(error) => {
                // Who has never answered is not waited for.
                if heard.is_none_or(|heard| heard.elapsed() > AWAY) {
                    return Err(error.into());
                }
                thread::sleep(RETRY);
            }
        }
    }
    Ok(())
}

/// Where lines go.
struct Tell {
    format: Format,
    /// The header is still to be told.
    header: bool,
    /// The last event.
    last: Option<u64>,
    /// Somebody reads.
    read: bool,
}

impl Tell {
    fn line(&mut self, line: &str) -> ControlFlow<()> {
        // An empty one says that there is nothing new.
        let Ok(parsed) = serde_json::from_str::<Line>(line) else { return ControlFlow::Continue(()) };
        let told = match &parsed {
            Line::Event(view) => {
                self.last = Some(view.number);
                self.event(view, line)
            }
            Line::Lost { lost } if self.format == Format::Table => {
                output::warning(&format!("{} came too fast to be told", output::counted(*lost, "event")));
                Ok(())
            }
            Line::Lost { .. } => output::flow(line),
            Line::Next { next } => {
                self.last = Some(*next);
                Ok(())
            }
        };
        self.read = told.is_ok();
        if self.read { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn event(&mut self, view: &View, line: &str) -> io::Result<()> {
        if self.format == Format::Json {
            return output::flow(line);
        }
        if std::mem::take(&mut self.header) {
            output::flow(&columns(&HEADER.iter().map(ToString::to_string).collect::<Vec<_>>()))?;
        }
        output::flow(&columns(&row(view)))
    }
}

/// Aligns what comes line by line: columns as wide as most need.
fn columns(row: &[String]) -> String {
    const WIDTHS: [usize; 7] = [24, 10, 15, 9, 10, 8, 0];
    let cells = row.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn row(view: &View) -> Vec<String> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(view.at_milliseconds.min(253_402_300_799_000));
    let to = if view.destination_port == 0 {
        view.protocol.clone()
    } else {
        format!("{}/{}", view.destination_port, view.protocol)
    };
    let mut by = view.lists.clone();
    if let (Some(limit), Some(answer)) = (&view.limit, &view.answer) {
        by.push(format!("limit {limit}: {answer}"));
    }
    vec![
        humantime::format_rfc3339_millis(at).to_string(),
        view.interface.clone(),
        view.source.to_string(),
        to,
        view.verdict.clone(),
        view.reason.clone(),
        by.join(", "),
    ]
}
