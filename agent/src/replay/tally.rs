use serde::Serialize;
use weir_common::{
    class::NONE,
    counter::{Answer, Counter, Family, Outcome},
    limit,
    verdict::Reason,
};
use weir_ebpf::Case;

/// What becomes of a packet, as far as the capture lets it be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Fate {
    /// It passes.
    Pass,
    /// It is dropped.
    Drop,
    /// It passes, because the rule that would drop it is in shadow mode.
    WouldDrop,
    /// It was captured without the headers that decide.
    Unknown,
}

impl Fate {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Drop, Self::WouldDrop, Self::Unknown];

    /// Returns what becomes of a packet that was judged; `cut` says that not all of it was captured. A
    /// header that is missing then was there, and only a source that is refused whatever it sends is known
    /// to be.
    #[must_use]
    pub fn of(case: &Case, cut: bool) -> Self {
        if cut && matches!(case.reason, Reason::Truncated | Reason::TinyFragment) {
            return Self::Unknown;
        }
        match case.outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Drop => Self::Drop,
            Outcome::WouldDrop => Self::WouldDrop,
        }
    }

    /// Returns the name used in output; that of metrics, where they know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
            Self::Unknown => "unknown",
        }
    }
}

type ByReason = [Counter; Reason::ALL.len()];

/// Packets and bytes, counted where the kernel counts them.
#[derive(Debug)]
pub(super) struct Tally {
    counts: [[ByReason; Fate::ALL.len()]; Family::ALL.len()],
    /// By class, then by what the class did.
    classes: Vec<[Counter; Outcome::ALL.len()]>,
    limits: Vec<[Counter; Answer::ALL.len()]>,
    /// Packets of which not all was captured.
    pub(super) cut: u64,
}

impl Tally {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            counts: [[[Counter::default(); Reason::ALL.len()]; Fate::ALL.len()]; Family::ALL.len()],
            classes: vec![[Counter::default(); Outcome::ALL.len()]; classes + 1],
            limits: vec![[Counter::default(); Answer::ALL.len()]; limit::CAPACITY as usize],
            cut: 0,
        }
    }

    pub(super) fn count(&mut self, case: &Case, fate: Fate, cut: bool) {
        let bytes = u64::from(case.packet.length);
        add(&mut self.counts[case.packet.family() as usize][fate as usize][case.reason as usize], bytes);
        if case.class != NONE
            && let Some(class) = self.classes.get_mut(usize::from(case.class))
        {
            add(&mut class[case.class_outcome as usize], bytes);
        }
        if case.limit != 0
            && let Some(limit) = self.limits.get_mut(usize::from(case.limit))
        {
            add(&mut limit[case.answer as usize], bytes);
        }
        self.cut += u64::from(cut);
    }

    /// Returns how many packets were counted.
    pub(super) fn packets(&self) -> u64 {
        self.rows().map(|(_, _, _, count)| count.packets).sum()
    }

    /// Returns what was counted, row by row.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Family, Fate, Reason, Counter)> {
        Family::ALL.into_iter().zip(&self.counts).flat_map(|(family, fates)| {
            Fate::ALL.into_iter().zip(fates).flat_map(move |(fate, reasons)| {
                Reason::ALL
                    .into_iter()
                    .zip(reasons)
                    .map(move |(reason, count)| (family, fate, reason, *count))
            })
        })
    }

    /// Returns what classes did: class, and counts by [`Outcome`].
    pub(super) fn classes(&self) -> impl Iterator<Item = (u16, [Counter; Outcome::ALL.len()])> {
        (0..).zip(self.classes.iter().copied())
    }

    /// Returns what limit `number` said, by [`Answer`].
    pub(super) fn limit(&self, number: u8) -> [Counter; Answer::ALL.len()] {
        self.limits.get(usize::from(number)).copied().unwrap_or_default()
    }
}

pub(super) fn add(counter: &mut Counter, bytes: u64) {
    counter.packets += 1;
    counter.bytes += bytes;
}

/// Returns two counts as one.
pub(super) fn sum(one: Counter, other: Counter) -> Counter {
    Counter { packets: one.packets + other.packets, bytes: one.bytes + other.bytes }
}
