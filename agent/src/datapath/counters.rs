//! Counters, added up over CPUs.

use std::ops::Range;

use aya::{
    Ebpf,
    maps::{Array, Map as AyaMap, MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use weir_common::{
    class::ClassId,
    counter::{self, Answer, Counter, Family, Outcome, Tally},
    line::WORDS,
    map::{self, Map},
    verdict::Reason,
};

use super::{DatapathError, Pins, Result, load::unusable};

/// A value that the kernel may hand out as bytes.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Plain<T>(T);

// SAFETY: two 64-bit integers without padding, every bit pattern is valid.
unsafe impl aya::Pod for Plain<Counter> {}
// SAFETY: five 64-bit integers without padding, every bit pattern is valid.
unsafe impl aya::Pod for Plain<Tally> {}
// SAFETY: eight 64-bit integers without padding, every bit pattern is valid.
unsafe impl aya::Pod for Plain<[u64; WORDS]> {}

/// The counters of the kernel program.
#[expect(missing_debug_implementations, reason = "aya's maps have none")]
pub struct Counters {
    packets: PerCpuArray<MapData, Plain<Counter>>,
    classes: PerCpuArray<MapData, Plain<Counter>>,
    limits: PerCpuArray<MapData, Plain<Counter>>,
    tally: PerCpuArray<MapData, Plain<Tally>>,
    buckets: Array<MapData, Plain<[u64; WORDS]>>,
}

/// Packets of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counter slot of the interface.
    pub slot: u32,
    /// What they are.
    pub family: Family,
    /// How they left.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: Counter,
}

impl Counters {
    /// Opens the pinned counters.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where one is missing.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self {
            packets: open(pins, map::COUNTERS)?,
            classes: open(pins, map::CLASS_COUNTERS)?,
            limits: open(pins, map::LIMIT_COUNTERS)?,
            tally: open(pins, map::TALLY)?,
            buckets: buckets(pins)?,
        })
    }

    /// Takes the counters of programs that are pinned nowhere.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            packets: take(ebpf, map::COUNTERS)?,
            classes: take(ebpf, map::CLASS_COUNTERS)?,
            limits: take(ebpf, map::LIMIT_COUNTERS)?,
            tally: take(ebpf, map::TALLY)?,
            buckets: {
                let name = Map::Limiter.name();
                Array::try_from(taken(ebpf, name)?).map_err(|error| failed(name, &error))?
            },
        })
    }

    /// Returns all kinds of packets that came in on these slots. Kinds that never came are left out.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where a map cannot be read.
    pub fn packets(&self, slots: &[u32]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for &slot in slots {
            for family in Family::ALL {
                for outcome in Outcome::ALL {
                    for reason in Reason::ALL {
                        let index = counter::index(slot, family, outcome, reason);
                        let count = sum(&self.packets, map::COUNTERS, index)?;
                        if count.packets > 0 {
                            rows.push(Row { slot, family, outcome, reason, count });
                        }
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Returns packets whose source had class `id`, by what the class did to them.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn class(&self, id: ClassId, outcome: Outcome) -> Result<Counter> {
        sum(&self.classes, map::CLASS_COUNTERS, counter::class_index(id, outcome))
    }

    /// Sets the counters of all classes to 0: their numbers are about to mean something else.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn reset_classes(&mut self) -> Result<()> {
        reset(&mut self.classes, map::CLASS_COUNTERS, 0..counter::CLASS_COUNTERS)?;
        reset(&mut self.limits, map::LIMIT_COUNTERS, 0..counter::LIMIT_COUNTERS)
    }

    /// Sets the counters of a slot to 0: it is about to stand for another interface.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn reset_interface(&mut self, slot: u32) -> Result<()> {
        let kinds = counter::COUNTERS / counter::INTERFACES;
        reset(&mut self.packets, map::COUNTERS, slot * kinds..(slot + 1) * kinds)
    }

    /// Returns packets for which limit `id` was the last to be asked, with this answer.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn limit(&self, id: u8, answer: Answer) -> Result<Counter> {
        sum(&self.limits, map::LIMIT_COUNTERS, counter::limit_index(id, answer))
    }

    /// Returns how many lines of buckets there are.
    #[must_use]
    pub fn bucket_lines(&self) -> u32 {
        self.buckets.len()
    }

    /// Returns a line of buckets, by a call: mapped, all of them would count as memory of the agent.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn bucket_line(&self, index: u32) -> Result<[u64; WORDS]> {
        let Plain(words) =
            self.buckets.get(&index, 0).map_err(|error| failed(Map::Limiter.name(), &error))?;
        Ok(words)
    }

    /// Returns what became of events.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn tally(&self) -> Result<Tally> {
        let values = self.tally.get(&0, 0).map_err(|error| failed(map::TALLY, &error))?;
        Ok(values.iter().fold(Tally::default(), |sum, Plain(tally)| Tally {
            sequence: sum.sequence + tally.sequence,
            events_suppressed: sum.events_suppressed + tally.events_suppressed,
            events_lost: sum.events_lost + tally.events_lost,
            ..sum
        }))
    }
}

fn open<T>(pins: &Pins, name: &'static str) -> Result<PerCpuArray<MapData, Plain<T>>>
where
    Plain<T>: aya::Pod,
{
    let data = MapData::from_pin(pins.map(name)).map_err(|error| failed(name, &error))?;
    PerCpuArray::try_from(AyaMap::PerCpuArray(data)).map_err(|error| failed(name, &error))
}

fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, Plain<T>>>
where
    Plain<T>: aya::Pod,
{
    PerCpuArray::try_from(taken(ebpf, name)?).map_err(|error| failed(name, &error))
}

fn taken(ebpf: &mut Ebpf, name: &'static str) -> Result<AyaMap> {
    ebpf.take_map(name).ok_or(DatapathError::Map { name, error: "is missing".to_owned() })
}

fn buckets(pins: &Pins) -> Result<Array<MapData, Plain<[u64; WORDS]>>> {
    let name = Map::Limiter.name();
    let data = MapData::from_pin(pins.map(name)).map_err(|error| failed(name, &error))?;
    Array::try_from(AyaMap::Array(data)).map_err(|error| failed(name, &error))
}

fn sum(counters: &PerCpuArray<MapData, Plain<Counter>>, name: &'static str, index: u32) -> Result<Counter> {
    let values = counters.get(&index, 0).map_err(|error| failed(name, &error))?;
    Ok(values.iter().fold(Counter::default(), |sum, Plain(counter)| Counter {
        packets: sum.packets + counter.packets,
        bytes: sum.bytes + counter.bytes,
    }))
}

fn reset(
    counters: &mut PerCpuArray<MapData, Plain<Counter>>,
    name: &'static str,
    indices: Range<u32>,
) -> Result<()> {
    let cpus =
        nr_cpus().map_err(|(file, error)| DatapathError::Map { name, error: format!("{file}: {error}") })?;
    for index in indices {
        if sum(counters, name, index)? == Counter::default() {
            continue;
        }
        let zero = PerCpuValues::try_from(vec![Plain(Counter::default()); cpus])
            .map_err(|error| DatapathError::Map { name, error: error.to_string() })?;
        counters.set(index, zero, 0).map_err(|error| failed(name, &error))?;
    }
    Ok(())
}

fn failed(name: &'static str, error: &dyn std::error::Error) -> DatapathError {
    unusable(name, error)
}
