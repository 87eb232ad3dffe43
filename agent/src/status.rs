//! What is attached and counted. Read from the pins, so it works whether an agent runs or not.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use weir_common::{control, line::Memory as _, map::Map};

use crate::{
    audit::files::Head,
    config::Mode,
    confine::Confinement,
    datapath::{
        DatapathError, Pins, attach, counter_slots, counters::Counters, memory::Mapped, probe, rules,
    },
    output::table,
    policy::protect::{self, Conflicts},
    record::{FeedRecord, Record, TableRecord},
};

/// The state of the host.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Program and maps are in the kernel.
    pub loaded: bool,
    /// An agent is at work.
    pub agent: bool,
    /// What holds it, as of the last publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// Other versions that have something pinned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_versions: Vec<String>,
    /// The kernel, and what weir does without on it.
    pub kernel: probe::Support,
    /// `enforce` or `shadow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<crate::config::Enforce>,
    /// Number of the publication in force.
    pub publication: u64,
    /// Interfaces with a link.
    pub interfaces: Vec<Interface>,
    /// Bans and manual rules in force.
    pub rules: usize,
    /// Feeds, as of the last publication.
    pub feeds: Vec<FeedRecord>,
    /// Entries of lists that have no effect, because they name what must not be cut off.
    pub conflicts: Vec<Conflicts>,
    /// Tables, likewise.
    pub tables: Vec<TableRecord>,
    /// The last line of the audit, and its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Head>,
    /// Packets since the maps were made.
    pub packets: Vec<Packets>,
}

/// An interface with a link.
#[derive(Debug, Serialize)]
pub struct Interface {
    /// Its name.
    pub interface: String,
    /// `native`, `generic` or `tcx`; nothing if the interface is gone.
    pub mode: Option<&'static str>,
}

/// Packets of one kind.
#[derive(Debug, Serialize)]
pub struct Packets {
    /// Interface, or `other`.
    pub interface: String,
    /// `ipv4`, `ipv6` or `other`.
    pub family: &'static str,
    /// `pass`, `drop` or `would_drop`.
    pub verdict: &'static str,
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub packets: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Status {
    /// Takes note that an agent `answers`, which has no lock any more once everything was unloaded.
    #[must_use]
    pub fn heard(self, answers: bool) -> Self {
        Self { agent: self.agent || answers, ..self }
    }
}

/// Reads the state of the host.
///
/// # Errors
/// [`DatapathError`] where pins are there but cannot be read.
pub fn read(pins: &Pins, state: &Path) -> Result<Status, DatapathError> {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let other_versions: Vec<_> = pins.others().iter().filter_map(name).collect();
    if !pins.exist() {
        return Ok(Status {
            loaded: false,
            agent: pins.locked(),
            confinement: None,
            other_versions,
            kernel: probe::look(),
            enforce: None,
            publication: 0,
            interfaces: Vec::new(),
            rules: 0,
            feeds: Vec::new(),
            conflicts: Vec::new(),
            tables: Vec::new(),
            audit: Head::load(state),
            packets: Vec::new(),
        });
    }
    let memory = Mapped::open(pins)?;
    let publication = memory.line(Map::Control, 0).map_or(0, control::publications);
    let linked = pins.linked();
    let slots = counter_slots(&linked, &memory);
    let numbers: Vec<u32> = slots.iter().map(|(slot, _)| *slot).collect();
    let name_of = |slot: u32| slots.iter().find(|(s, _)| *s == slot).map(|(_, name)| name.clone());
    let packets = Counters::open(pins)?
        .packets(&numbers)?
        .into_iter()
        .map(|row| Packets {
            interface: name_of(row.slot).unwrap_or_default(),
            family: row.family.as_str(),
            verdict: row.outcome.as_str(),
            reason: row.reason.as_str(),
            packets: row.count.packets,
            bytes: row.count.bytes,
        })
        .collect();
    // A record of another publication is of the time before: the agent could not write it.
    let record = Record::load(state).filter(|record| record.publication == publication);
    let agent = pins.locked();
    let confinement = record.as_ref().and_then(|record| record.confinement.clone()).filter(|_| agent);
    Ok(Status {
        loaded: true,
        agent,
        confinement,
        other_versions,
        kernel: probe::look(),
        enforce: record.as_ref().map(|record| record.enforce),
        publication,
        interfaces: linked
            .into_iter()
            .map(|interface| Interface {
                mode: attach::mode_of(pins, &interface).map(Mode::as_str),
                interface,
            })
            .collect(),
        rules: rules::count(&memory),
        feeds: record.as_ref().map(|record| record.feeds.clone()).unwrap_or_default(),
        conflicts: record.as_ref().map(|record| record.conflicts.clone()).unwrap_or_default(),
        tables: record.map(|record| record.tables).unwrap_or_default(),
        audit: Head::load(state),
        packets,
    })
}

/// Returns the kernel, and what follows from what it lacks, in a line.
fn kernel(support: &probe::Support) -> String {
    if support.lacks.is_empty() {
        return support.release.clone();
    }
    format!("{}; {}", support.release, support.lacks_text())
}

/// Returns the state in words.
#[must_use]
pub fn text(status: &Status) -> String {
    if !status.loaded && !status.other_versions.is_empty() {
        let versions = status.other_versions.join(", ");
        return format!(
            "the layout of another version ({versions}) is loaded and enforces; `weir run` takes over from it, \
             `weir unload` removes it\n"
        );
    }
    if !status.loaded {
        let (what, mend) = if status.agent {
            ("weir was unloaded: nothing is enforced", "the agent still runs; restart it")
        } else {
            ("weir is not loaded", "start it with `weir run --config FILE`")
        };
        return format!("{what}; {mend}\n");
    }
    let mut text = String::new();
    let agent = if status.agent { "running" } else { "not running; the kernel enforces on" };
    let enforce = match status.enforce {
        Some(crate::config::Enforce::Enforce) => "enforce",
        Some(crate::config::Enforce::Shadow) => "shadow: nothing is dropped",
        None => "unknown: no record of this publication",
    };
    _ = writeln!(text, "agent        {agent}");
    if let Some(confinement) = &status.confinement {
        _ = writeln!(text, "confined     {}", confinement.text());
    }
    _ = writeln!(text, "kernel       {}", kernel(&status.kernel));
    _ = writeln!(text, "mode         {enforce}");
    _ = writeln!(text, "publication  {}", status.publication);
    for interface in &status.interfaces {
        let mode = interface.mode.unwrap_or("gone");
        _ = writeln!(text, "interface    {} ({mode})", interface.interface);
    }
    _ = writeln!(text, "rules        {}", status.rules);
    if let Some(Head { link, .. }) = &status.audit {
        _ = writeln!(text, "audit        line {}, {}", link.seq, link.hash);
    }
    for table in &status.tables {
        _ = writeln!(text, "table        {}: {} of {} entries", table.name, table.entries, table.capacity);
    }
    let feeds = status
        .feeds
        .iter()
        .map(|feed| vec![feed.name.clone(), feed.ipv4.to_string(), feed.ipv6.to_string(), feed.health()]);
    if !status.feeds.is_empty() {
        _ = write!(text, "\n{}", table(&["FEED", "IPV4", "IPV6", "STATE"], feeds));
    }
    text.push_str(&protect::text(&status.conflicts));
    let packets = status.packets.iter().map(|row| {
        vec![
            row.interface.clone(),
            row.family.to_owned(),
            row.verdict.to_owned(),
            row.reason.to_owned(),
            row.packets.to_string(),
            row.bytes.to_string(),
        ]
    });
    if !status.packets.is_empty() {
        let header = &["INTERFACE", "FAMILY", "VERDICT", "REASON", "PACKETS", "BYTES"];
        _ = write!(text, "\n{}", table(header, packets));
    }
    text
}
