//! `weir unload`: out of the kernel, at once.

use std::path::Path;

use serde::Serialize;

use super::CliError;
use crate::{
    datapath::Pins,
    output::{self, Format},
    record::Record,
};

/// What was removed.
#[derive(Debug, Serialize)]
struct Unloaded {
    /// Something was there.
    was_loaded: bool,
    /// Interfaces that are free now.
    detached: Vec<String>,
    /// An agent still runs; it attaches again only at its next start.
    agent_running: bool,
}

pub(super) fn unload(pins: &Pins, state: &Path, format: Format) -> Result<(), CliError> {
    let agent_running = pins.locked();
    let was_loaded = pins.exist() || !pins.others().is_empty();
    let detached = pins.remove()?;
    Record::remove(state);
    output::print(format, &Unloaded { was_loaded, detached, agent_running }, |unloaded| {
        if !unloaded.was_loaded {
            return "nothing was loaded\n".to_owned();
        }
        let mut text = match unloaded.detached.as_slice() {
            [] => "unloaded\n".to_owned(),
            names => format!("unloaded; detached from {}\n", names.join(", ")),
        };
        if unloaded.agent_running {
            text.push_str("the agent still runs, without enforcing; stop or restart it\n");
        }
        text
    });
    Ok(())
}
