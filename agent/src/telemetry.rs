//! Logs, metrics, and a page for people.

/// Lines for journald.
mod journal;
/// The metrics page, made anew from the kernel's counters at each scrape.
pub mod metrics;
/// What there is to be counted, and what has been.
pub mod registry;
/// The text formats of the metrics page.
pub mod exposition;
/// All metrics, in words.
pub mod catalogue;
/// The HTTP listener for metrics and health.
pub mod server;
/// The status page.
pub mod page;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt, prelude::*};
use weir_common::event::Event;

use crate::naming::Naming;

/// Starts logging to standard error: the level from `WEIR_LOG` (default `info`), as JSON lines where
/// `json` is set; for journald with priorities in place of the time, which it knows. Addresses of clients
/// are never logged above `debug`.
pub fn init(json: bool) {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let writer = io::stderr;
    if json {
        registry.with(fmt::layer().json().with_writer(writer)).init();
    } else if journal::takes_stderr() {
        registry
            .with(fmt::layer().event_format(journal::Line::default()).with_ansi(false).with_writer(writer))
            .init();
    } else {
        let colour = writer().is_terminal();
        registry.with(fmt::layer().with_target(false).with_ansi(colour).with_writer(writer)).init();
    }
}

/// Logs a packet: no news, and its source is somebody, so nothing above `debug`.
pub fn packet(event: &Event, naming: &Naming) {
    tracing::debug!(
        source = %naming.source(event.source()),
        reason = event.reason,
        outcome = event.outcome,
        port = event.destination_port,
        protocol = event.protocol,
        "packet"
    );
}
