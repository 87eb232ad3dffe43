//! The XDP program, loaded for a trial: over maps of its own, pinned nowhere and attached to nothing.
//! What is in force on this host goes on as it is.
//!
//! Time stands still: a tick has no length, by settings of these maps alone, so the clock of the limiter
//! is 0 for ever. Where time is to pass, what sources owe is made older by as much. So nothing depends on
//! how long a trial takes.

use std::{collections::BTreeMap, time::Duration};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use weir_common::{
    ABI_VERSION,
    class::ClassId,
    control::{self, Global},
    counter::{Answer, Outcome},
    line::Memory as _,
    map::{self, Map, Sizes},
    verdict::Reason,
};

use super::{DatapathError, Result, counters::Counters, load, memory::Mapped, probe, random_seed};
use crate::policy::{Policy, classes::Classes, compile, merge::Merged};

/// Bits of a bucket that are its time, in µs.
const TIME_MASK: u64 = (1 << 40) - 1;
const GENERATION: u32 = 1;
/// `XDP_DROP` and `XDP_PASS` (include/uapi/linux/bpf.h).
const ACTIONS: [(u32, bool); 2] = [(1, true), (2, false)];

/// The program and its maps. They end with it.
pub struct Trial {
    ebpf: aya::Ebpf,
    memory: Mapped,
    counters: Counters,
    sizes: Sizes,
    classes: ClassId,
    limits: Vec<u8>,
    /// What was counted before the next frame.
    before: Counts,
}

/// What became of a frame, as far as counters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What happened to it.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The class of its source; 0: none.
    pub class: ClassId,
    /// The limit that spoke against it, else the last that was asked; 0: none.
    pub limit: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    packets: BTreeMap<(Outcome8, u8), u64>,
    classes: Vec<u64>,
    limits: Vec<u64>,
}

/// An [`Outcome`] by its number, which can be sorted by.
type Outcome8 = u8;

impl Trial {
    /// Loads the program over empty maps of `sizes`.
    ///
    /// # Errors
    /// [`DatapathError`], where privileges are missing for example.
    pub fn new(sizes: Sizes) -> Result<Self> {
        probe::check()?;
        let mut ebpf = load::unpinned(sizes)?;
        let mut memory = Mapped::new();
        for map in Map::ALL {
            memory.add(map, load::map_data(&ebpf, map.name())?)?;
        }
        let global = Global {
            abi: ABI_VERSION,
            tick: 0,
            clock_offset: 0,
            limiter_bits: sizes.limiter_bits,
            seed: random_seed()?,
            events_per_second: 0,
        };
        global.store(memory.line(Map::Control, 0).ok_or(compile::CompileError::Memory)?);
        let counters = Counters::take(&mut ebpf)?;
        let (classes, limits, before) = (0, Vec::new(), Counts::default());
        Ok(Self { ebpf, memory, counters, sizes, classes, limits, before })
    }

    /// Puts a policy in force.
    ///
    /// # Errors
    /// [`DatapathError::Compile`] where it does not fit.
    pub fn publish(&mut self, policy: &Policy, merged: &Merged, classes: &Classes) -> Result<()> {
        let seed = random_seed()?;
        compile::write(&self.memory, GENERATION, self.sizes, seed, policy, merged, classes)?;
        control::publish(self.memory.line(Map::Control, 0).ok_or(compile::CompileError::Memory)?, GENERATION);
        self.classes = ClassId::try_from(classes.specs().len()).unwrap_or(ClassId::MAX);
        self.limits = policy.limits.iter().map(|(number, _)| *number).collect();
        self.before = self.counts()?;
        Ok(())
    }

    /// Returns the maps as lines.
    #[must_use]
    pub fn memory(&self) -> &Mapped {
        &self.memory
    }

    /// Begins anew: nobody owes anything.
    pub fn begin(&self) {
        self.for_buckets(|_| 0);
    }

    /// Has so much time pass, up to a day.
    pub fn let_pass(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if time != 0 {
            self.for_buckets(|bucket| bucket & !TIME_MASK | bucket.wrapping_sub(time) & TIME_MASK);
        }
    }

    fn for_buckets(&self, change: impl Fn(u64) -> u64) {
        for map in [Map::Limiter, Map::Valve] {
            for index in 0..map.lines(self.sizes) {
                let Some(line) = self.memory.line(map, index) else { continue };
                let words = line.load();
                if words != [0; 8] {
                    line.store(words.map(|word| if word == 0 { 0 } else { change(word) }));
                }
            }
        }
    }

    /// Has the program judge a frame.
    ///
    /// # Errors
    /// [`DatapathError`] where the kernel takes no such frame: it has at least 14 bytes.
    pub fn judge(&mut self, frame: &[u8]) -> Result<Counted> {
        let action = self.run(frame, 1)?;
        let before = self.count()?;
        let counted = self.before.since(&before).ok_or_else(|| contradiction("nothing was counted"))?;
        let dropped = ACTIONS.into_iter().find(|(known, _)| *known == action).map(|(_, dropped)| dropped);
        if dropped != Some(counted.outcome == Outcome::Drop) {
            return Err(contradiction(&format!("the program returned {action}, and counted {counted:?}")));
        }
        let place = usize::from(counted.limit).checked_sub(1);
        let limit = place.and_then(|place| self.limits.get(place)).copied().unwrap_or(0);
        Ok(Counted { limit, ..counted })
    }

    /// Has the program judge a frame `times` times at once. Returns how many of them were admitted: they
    /// passed, and not only because of shadow mode.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn admitted(&mut self, frame: &[u8], times: u32) -> Result<u64> {
        self.run(frame, times)?;
        let before = self.count()?;
        Ok(self.before.passed() - before.passed())
    }

    fn run(&self, frame: &[u8], repeat: u32) -> Result<u32> {
        let failed = |error: &dyn std::error::Error| DatapathError::Load(load::chain(error));
        let program = self.ebpf.program(map::PROGRAM);
        let program = program.ok_or_else(|| DatapathError::Load("the object has no program".to_owned()))?;
        let program: &Xdp =
            program.try_into().map_err(|error: aya::programs::ProgramError| failed(&error))?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        Ok(program.test_run(options).map_err(|error| failed(&error))?.return_value)
    }

    /// Counts anew. Returns what was counted before.
    fn count(&mut self) -> Result<Counts> {
        let counts = self.counts()?;
        Ok(std::mem::replace(&mut self.before, counts))
    }

    fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        for row in self.counters.packets(&[0])? {
            *counts.packets.entry((row.outcome as u8, row.reason as u8)).or_default() += row.count.packets;
        }
        for class in 1..=self.classes {
            let packets = Outcome::ALL.map(|outcome| self.counters.class(class, outcome));
            counts.classes.push(packets.into_iter().map(|count| Ok(count?.packets)).sum::<Result<u64>>()?);
        }
        for limit in &self.limits {
            let packets = Answer::ALL.map(|answer| self.counters.limit(*limit, answer));
            counts.limits.push(packets.into_iter().map(|count| Ok(count?.packets)).sum::<Result<u64>>()?);
        }
        Ok(counts)
    }
}

impl Counts {
    fn passed(&self) -> u64 {
        self.packets
            .iter()
            .filter(|((outcome, _), _)| *outcome == Outcome::Pass as u8)
            .map(|(_, count)| count)
            .sum()
    }

    /// Returns what one packet more has changed; its limit is by its place, from 1.
    fn since(&self, before: &Self) -> Option<Counted> {
        let raised = |(kind, count): &(&(Outcome8, u8), &u64)| {
            before.packets.get(kind).copied().unwrap_or(0) != **count
        };
        let (&(outcome, reason), _) = self.packets.iter().find(raised)?;
        let place =
            |now: &[u64], before: &[u64]| now.iter().zip(before).position(|(now, before)| now != before);
        let class = place(&self.classes, &before.classes).map_or(0, |at| at + 1);
        let limit = place(&self.limits, &before.limits).map_or(0, |at| at + 1);
        Some(Counted {
            outcome: Outcome::ALL.into_iter().find(|known| *known as u8 == outcome)?,
            reason: Reason::from_wire(reason)?,
            class: ClassId::try_from(class).ok()?,
            limit: u8::try_from(limit).ok()?,
        })
    }
}

fn contradiction(what: &str) -> DatapathError {
    DatapathError::Map { name: map::COUNTERS, error: what.to_owned() }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}
