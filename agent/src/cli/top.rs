//! `weir top`: what goes on now, in a terminal, or once as a table or JSON.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    net::IpAddr,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use hyper::Method;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, explain};
use crate::{
    api::rules::{Listing, Order},
    client::Client,
    config::Lasts,
    datapath::Pins,
    explain as explanation,
    output::{self, Format, table},
    rules::Action as RuleAction,
    top::{Action, Feed, Look, Sampler, Screen, Section, Snapshot, State, draw},
};

/// How long a key is waited for before it is looked whether to end.
const GLANCE: Duration = Duration::from_millis(100);
const NOTE: &str = "from weir top";
/// Rows of each section that are printed once.
const ROWS: usize = 20;

#[derive(Args, Debug)]
pub(super) struct Top {
    /// How often counters are read: 500ms, 1s, 1m.
    #[arg(short, long = "delay", default_value = "1s", value_name = "TIME", value_parser = delay)]
    delay: Duration,
    /// Print what goes on during one delay, and end.
    #[arg(long)]
    once: bool,
    /// With --once: how to print it.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", requires = "once")]
    output: Format,
}

fn delay(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text).or_else(|error| match text.parse::<f64>() {
        Ok(seconds @ 0.0..=3600.0) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err(error),
    }) {
        Ok(delay) if (Duration::from_millis(100)..=Duration::from_hours(1)).contains(&delay) => Ok(delay),
        Ok(_) | Err(_) => Err("write a time from 100ms to 1h".to_owned()),
    }
}

/// Where it is looked.
#[derive(Clone, Copy)]
struct Places<'p> {
    pins: &'p Pins,
    state: &'p Path,
    socket: &'p Path,
}

impl Top {
    pub(super) fn run(self, pins: &Pins, state: &Path, socket: &Path) -> Result<ExitCode, CliError> {
        let failed = |error| CliError::Terminal { error };
        if !(self.once || io::stdout().is_terminal() && io::stdin().is_terminal()) {
            return Err(CliError::NoTerminal);
        }
        let places = Places { pins, state, socket };
        let mut sampler = Sampler::new(pins, state, Feed::follow(socket).map_err(failed)?);
        sampler.sample()?;
        if self.once {
            thread::sleep(self.delay);
            let snapshot = sampler.sample()?.unwrap_or_default();
            output::print(self.output, &snapshot, text);
            return Ok(ExitCode::SUCCESS);
        }
        let ended = stop_signals().map_err(failed)?;
        let mut screen = Screen::open().map_err(failed)?;
        watch(&mut screen, &mut sampler, places, self.delay, &ended)
    }
}

/// Shows what goes on until the operator has seen enough.
fn watch(
    screen: &mut Screen,
    sampler: &mut Sampler,
    places: Places<'_>,
    delay: Duration,
    ended: &AtomicBool,
) -> Result<ExitCode, CliError> {
    let failed = |error| CliError::Terminal { error };
    let look = Look { colour: output::coloured(io::stdout().is_terminal()) };
    let mut state = State::default();
    let mut next = Instant::now() + delay.min(Duration::from_millis(300));
    while !ended.load(Relaxed) {
        screen.draw(|frame| draw(frame, &state, look)).map_err(failed)?;
        let wait = next.saturating_duration_since(Instant::now()).min(GLANCE);
        if event::poll(wait).map_err(failed)?
            && let Event::Key(key) = event::read().map_err(failed)?
        {
            match state.key(key) {
                Some(Action::Quit) => break,
                Some(action) => perform(&mut state, places, &action),
                None => {}
            }
        }
        if Instant::now() >= next {
            next = Instant::now() + delay;
            match sampler.sample() {
                Ok(Some(snapshot)) => state.set(snapshot),
                Ok(None) => {}
                // It may be loaded again.
                Err(error) => state.notice(error.to_string()),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what the operator wants, and says what has come of it.
fn perform(state: &mut State, places: Places<'_>, action: &Action) {
    match action {
        Action::Quit => {}
        Action::Ban { source, lasts } => {
            let notice = match ban(places.socket, *source, *lasts) {
                Ok(listing) => {
                    let warnings = listing.warnings.iter().fold(String::new(), |mut text, warning| {
                        _ = write!(text, "; {warning}");
                        text
                    });
                    format!("banned {source}{warnings}")
                }
                Err(error) => format!("not banned: {error}"),
            };
            state.notice(notice);
        }
        Action::Explain(source) => {
            let Places { pins, state: directory, socket } = places;
            match explain::explain(pins, directory, socket, *source, None) {
                Ok(it) => state.show(source.to_string(), explanation::text(&it)),
                Err(error) => state.notice(error.to_string()),
            }
        }
    }
}

fn ban(socket: &Path, source: IpAddr, lasts: Lasts) -> Result<Listing, CliError> {
    let order = Order {
        prefix: None,
        action: RuleAction::Ban,
        profile: None,
        shadow: false,
        proxy_only: false,
        seconds: lasts.into(),
        note: NOTE.to_owned(),
    };
    Ok(Client::connect(socket)?.call(Method::PUT, &format!("/v1/rules/{source}"), Some(&order))?)
}

/// Returns a flag that is set once the process is told to end. The terminal has to be given back first.
fn stop_signals() -> io::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let flag = Arc::clone(&ended);
    // They are taken from here on, not only once the thread has come so far.
    let (mut terminate, mut hangup, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        flag.store(true, Relaxed);
    })?;
    Ok(ended)
}

/// Returns a snapshot as tables.
fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    if let Some(why) = &snapshot.without_sources {
        _ = writeln!(text, "no sources: {why}\n");
    }
    for section in Section::ALL {
        let rows = crate::top::rows(snapshot, section);
        if rows.is_empty() {
            continue;
        }
        let header: Vec<&str> = section.columns().iter().map(|(title, _)| *title).collect();
        let cells = |row: &crate::top::Row| row.cells.iter().map(crate::top::Cell::text).collect::<Vec<_>>();
        _ = writeln!(text, "{}", table(&header, rows.iter().take(ROWS).map(cells)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_time_within_bounds() {
        for (text, milliseconds) in [("1s", 1000), ("500ms", 500), ("2", 2000), ("0.5", 500), ("1m", 60_000)]
        {
            assert_eq!(delay(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["0", "10ms", "2h", "-1", "NaN", "soon"] {
            assert!(delay(text).is_err(), "{text}");
        }
    }
}
