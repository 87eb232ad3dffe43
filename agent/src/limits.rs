//! What limits hold, and who owes them: counters, and a look at every bucket. Read from the pins, so it
//! works whether an agent runs or not.

/// A look at all buckets.
mod scan;
/// Limits in words.
mod text;

use std::{net::IpAddr, path::Path, time::Duration};

use serde::Serialize;
use weir_common::{
    control::{Global, interface_slot},
    counter::{Answer, Counter, Outcome},
    limit::{PROFILE_NAMES, Scope},
    verdict::Reason,
};

use crate::{
    datapath::{DatapathError, Pins, counters::Counters, memory::Mapped, onlooker::Onlooker},
    record::{LimitRecord, Record},
};

pub use text::text;

/// How long the look may take. 512 MiB of buckets take about a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Limits and their debtors.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// The limits in force.
    pub limits: Vec<LimitView>,
    /// The table of buckets.
    pub table: Table,
    /// Buckets that sources share while their line is full.
    pub valve: Valve,
    /// Who has used up the largest share of a burst, first. IPv4 alone: an IPv6 source is a hash in the
    /// table, and known only if it was asked for by address.
    pub debtors: Vec<Debtor>,
}

/// A limit in force.
#[derive(Debug, Serialize)]
pub struct LimitView {
    /// Its name.
    pub limit: String,
    /// The service that it stands on; nothing: control packets of all services.
    pub service: Option<String>,
    /// What it counts.
    pub dimension: String,
    /// Whose packets are counted together: `source`, `prefix` or `service`.
    pub key: &'static str,
    /// First bits of an IPv4 address that make one source; 0: all are one.
    pub ipv4_prefix: u8,
    /// First bits of an IPv6 address that make one source.
    pub ipv6_prefix: u8,
    /// Rate and burst by profile.
    pub paces: Vec<Pace>,
    /// The soft band begins at this share of the burst; nothing: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_from: Option<f64>,
    /// It counts what it would drop.
    pub shadow: bool,
    /// Packets for which it was the last to be asked.
    pub packets: Answers,
    /// IPv4 sources that owe it something now.
    pub ipv4_owing: u64,
    /// Those of them that are over the limit, by the pace of the default profile.
    pub ipv4_over: u64,
}

/// Rate and burst of a profile.
#[derive(Debug, Serialize)]
pub struct Pace {
    /// The profile.
    pub profile: &'static str,
    /// Units a second.
    pub rate: f64,
    /// Units at once.
    pub burst: u64,
}

/// Packets by what a limit said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// Within the limit.
    pub within: u64,
    /// Within it, in the soft band.
    pub near: u64,
    /// Over it, and dropped.
    pub dropped: u64,
    /// Over it, and passed in shadow mode.
    pub would_drop: u64,
}

/// The table of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Bytes.
    pub bytes: u64,
    /// Buckets for which there is room.
    pub buckets: u64,
    /// Buckets in which something is owed.
    pub owing: u64,
    /// Those of them that IPv6 sources have.
    pub ipv6_owing: u64,
    /// Lines of eight buckets.
    pub lines: u64,
    /// Lines in which all are owed in: new sources there share a bucket.
    pub full_lines: u64,
    /// Share of the table that was looked at in time; counts are of this share.
    pub looked_at: f64,
}

/// Shared buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Valve {
    /// Shared buckets that there are.
    pub buckets: u32,
    /// In which something is owed.
    pub owing: u32,
    /// Packets that a shared bucket refused, dropped or only counted, since the maps were made.
    pub packets: u64,
}

/// A source that owes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Debtor {
    /// The address, or the network, or `all`.
    pub source: String,
    /// The limit.
    pub limit: String,
    /// Units that it has used of its burst.
    pub used: f64,
    /// Units at once.
    pub burst: u64,
    /// A packet now would be over.
    pub over: bool,
    /// Seconds of silence after which a packet is admitted again.
    pub admitted_in: f64,
    /// To which profile the limit holds it.
    pub profile: &'static str,
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// Nothing is loaded.
    #[error("weir is not loaded, so nothing is limited; start it with `weir run --config FILE`")]
    NotLoaded,
    /// The state directory does not say what is enforced.
    #[error("the state directory has no record of what is enforced, so limits have no names; see --state")]
    NoRecord,
    /// The pins cannot be read.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// Returns all limits, and the `top` largest debtors.
///
/// # Errors
/// [`LimitsError`]
pub fn read(pins: &Pins, state: &Path, top: usize) -> Result<Limits, LimitsError> {
    if !pins.exist() {
        return Err(LimitsError::NotLoaded);
    }
    let memory = Mapped::open(pins)?;
    let record = Record::load(state).ok_or(LimitsError::NoRecord)?;
    let global = Global::load(&memory).ok_or(LimitsError::NoRecord)?;
    let counters = Counters::open(pins)?;
    let world = Onlooker::new(&memory);
    let found = scan::scan(&world, &global, &record.limits, top, PATIENCE);
    let limits = record.limits.iter().map(|limit| {
        let owing = found.owing.get(usize::from(limit.number)).copied().unwrap_or_default();
        Ok(view(limit, answers(&counters, limit.number)?, owing))
    });
    Ok(Limits {
        limits: limits.collect::<Result<_, DatapathError>>()?,
        table: found.table,
        valve: Valve { packets: refused_by_valve(&counters, &memory, pins)?, ..found.valve },
        debtors: found.debtors,
    })
}

fn view(limit: &LimitRecord, packets: Answers, owing: scan::Owing) -> LimitView {
    let paces = PROFILE_NAMES.into_iter().zip(&limit.paces);
    LimitView {
        limit: limit.name.clone(),
        service: limit.service.clone(),
        dimension: limit.dimension.clone(),
        key: key(limit.scope()),
        ipv4_prefix: limit.ipv4_prefix,
        ipv6_prefix: limit.ipv6_prefix,
        paces: paces.map(|(profile, pace)| Pace { profile, rate: pace.rate, burst: pace.burst }).collect(),
        soft_from: (limit.soft > 0).then(|| (f64::from(limit.soft) / 2.56).round() / 100.0),
        shadow: limit.enforce.is_shadow(),
        packets,
        ipv4_owing: owing.sources,
        ipv4_over: owing.over,
    }
}

/// Returns whose packets are counted together.
#[must_use]
pub fn key(scope: Scope) -> &'static str {
    match scope {
        Scope { v4_bits: 0, .. } => "service",
        Scope { v4_bits: 32, v6_bits: 64 } => "source",
        Scope { .. } => "prefix",
    }
}

/// Returns what a limit has said to packets.
///
/// # Errors
/// [`DatapathError`] where the kernel's counters cannot be read.
pub fn answers(counters: &Counters, number: u8) -> Result<Answers, DatapathError> {
    let packets = |answer| counters.limit(number, answer).map(|Counter { packets, .. }| packets);
    Ok(Answers {
        within: packets(Answer::Within)?,
        near: packets(Answer::Near)?,
        dropped: packets(Answer::Drop)?,
        would_drop: packets(Answer::WouldDrop)?,
    })
}

fn refused_by_valve(counters: &Counters, memory: &Mapped, pins: &Pins) -> Result<u64, DatapathError> {
    let index = |name: String| nix::net::if_::if_nametoindex(name.as_str()).ok();
    let slots = pins.linked().into_iter().filter_map(index).map(|index| interface_slot(memory, index));
    let mut slots: Vec<u32> = slots.chain([0]).collect();
    slots.sort_unstable();
    slots.dedup();
    let rows = counters.packets(&slots)?;
    let refused = rows.iter().filter(|row| row.reason == Reason::Valve && row.outcome != Outcome::Pass);
    Ok(refused.map(|row| row.count.packets).sum())
}

/// Returns the name of a source of a limit.
fn name(limit: &LimitRecord, network: u32) -> String {
    match limit.ipv4_prefix {
        0 => "all".to_owned(),
        32 => IpAddr::V4(network.into()).to_string(),
        bits => format!("{}/{bits}", IpAddr::V4(network.into())),
    }
}
