use std::{collections::BTreeMap, path::Path, time::Instant};

use weir_common::{
    control,
    counter::{Counter, Outcome, Tally},
    line::Memory as _,
    map::Map,
    verdict::Reason,
};

use crate::{
    config::Mode,
    datapath::{DatapathError, Pins, attach, counter_slots, counters::Counters, memory::Mapped, rules},
    limits::{Answers, answers},
    record::Record,
};

/// A reading of all counters.
#[derive(Clone, Debug)]
pub struct Totals {
    /// When it was taken.
    pub at: Instant,
    /// An agent is at work.
    pub agent: bool,
    /// Number of the publication in force.
    pub publication: u64,
    /// Bans and manual rules in force.
    pub rules: usize,
    /// What is enforced, in words; nothing where the state directory does not know.
    pub record: Option<Record>,
    /// Interfaces with a link, and their modes.
    pub interfaces: Vec<(String, Option<&'static str>)>,
    /// Packets by interface, verdict and reason.
    pub packets: BTreeMap<(String, Outcome, Reason), Counter>,
    /// Packets by class, from 1 on, and verdict.
    pub classes: Vec<[u64; 3]>,
    /// Packets by limit, in the order of the record.
    pub limits: Vec<Answers>,
    /// What became of events.
    pub tally: Tally,
}

impl Totals {
    /// Reads the counters of what is pinned. Nothing where nothing is loaded.
    ///
    /// # Errors
    /// [`DatapathError`] where pins are there but cannot be read.
    pub fn read(pins: &Pins, state: &Path) -> Result<Option<Self>, DatapathError> {
        if !pins.exist() {
            return Ok(None);
        }
        let memory = Mapped::open_some(pins, &[Map::Control, Map::Overlay])?;
        let counters = Counters::open(pins)?;
        let publication = memory.line(Map::Control, 0).map_or(0, control::publications);
        // One of another publication has other names for a moment; its numbers are the same.
        let record = Record::load(state);
        let linked = pins.linked();
        let slots = counter_slots(&linked, &memory);
        let numbers: Vec<u32> = slots.iter().map(|(slot, _)| *slot).collect();
        let name = |slot| slots.iter().find(|(known, _)| *known == slot).map(|(_, name)| name.clone());
        let mut packets: BTreeMap<_, Counter> = BTreeMap::new();
        for row in counters.packets(&numbers)? {
            let key = (name(row.slot).unwrap_or_default(), row.outcome, row.reason);
            let sum = packets.entry(key).or_default();
            sum.packets += row.count.packets;
            sum.bytes += row.count.bytes;
        }
        let classes = record.as_ref().map_or(0, |record| record.classes.len());
        let class = |id: usize| -> Result<[u64; 3], DatapathError> {
            let id = u16::try_from(id + 1).unwrap_or(u16::MAX);
            let mut counts = [0; 3];
            for (count, outcome) in counts.iter_mut().zip(Outcome::ALL) {
                *count = counters.class(id, outcome)?.packets;
            }
            Ok(counts)
        };
        let limits = record.iter().flat_map(|record| &record.limits);
        Ok(Some(Self {
            at: Instant::now(),
            agent: pins.locked(),
            publication,
            rules: rules::count(&memory),
            interfaces: linked
                .into_iter()
                .map(|name| (name.clone(), attach::mode_of(pins, &name).map(Mode::as_str)))
                .collect(),
            packets,
            classes: (0..classes).map(class).collect::<Result<_, _>>()?,
            limits: limits.map(|limit| answers(&counters, limit.number)).collect::<Result<_, _>>()?,
            tally: counters.tally()?,
            record,
        }))
    }
}
