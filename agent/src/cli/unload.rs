//! `weir unload`: out of the kernel, at once.

use std::path::Path;

use serde::Serialize;

use super::CliError;
use crate::{
    audit::{self, Actor, What},
    datapath::{DatapathError, Pins},
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
    /// Why the audit does not tell of it, where it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

pub(super) fn unload(pins: &Pins, state: &Path, format: Format) -> Result<(), CliError> {
    // Held until the end: an agent that starts meanwhile would write to the audit too.
    let lock = pins.lock();
    let agent_running = matches!(lock, Err(DatapathError::Locked { .. }));
    let was_loaded = pins.exist() || !pins.others().is_empty();
    let detached = pins.remove()?;
    Record::remove(state);
    // An agent that runs tells of it by itself.
    let tells = was_loaded && !agent_running;
    let warning = if tells { tell(state, &detached) } else { None };
    output::print(format, &Unloaded { was_loaded, detached, agent_running, warning }, |unloaded| {
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
        if let Some(warning) = &unloaded.warning {
            text.push_str(warning);
            text.push('\n');
        }
        text
    });
    Ok(())
}

fn tell(state: &Path, detached: &[String]) -> Option<String> {
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let actor = Actor::Peer { uid: nix::unistd::getuid().as_raw(), pid };
    let error = audit::write_alone(state, actor, What::Unloaded { detached: detached.to_vec() }).err()?;
    Some(format!("the audit in {} does not tell of it: {error}", state.display()))
}
