//! What is measured, case by case.

/// The reputation lookup alone.
mod table;
/// Whole programs.
mod verdict;
/// Live frames.
mod live;

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::finding::Finding;

/// A group of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// The reputation lookup alone, beside the kernel's trie.
    Table,
    /// Whole programs, beside the textbook program.
    Verdict,
    /// Live frames into a veth, beside filters of the distribution.
    Live,
    /// All of these.
    All,
}

/// How thoroughly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Rounds of each case.
    pub(crate) rounds: u32,
    /// Packets of a run.
    pub(crate) packets: u32,
    /// Prefixes of the lists.
    pub(crate) prefixes: u64,
    /// In a hurry.
    pub(crate) quick: bool,
}

impl Settings {
    pub(crate) fn new(quick: bool, rounds: Option<u32>) -> Self {
        let default = if quick { 3 } else { 16 };
        Self {
            rounds: rounds.unwrap_or(default),
            packets: if quick { 50_000 } else { 200_000 },
            prefixes: if quick { 1 << 17 } else { 1 << 20 },
            quick,
        }
    }
}

/// Puts this process on one CPU: the caches that are measured are those of one.
pub(crate) fn stay_on_one_cpu() -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpus().saturating_sub(1)).context("choose a CPU")?;
    sched_setaffinity(Pid::from_raw(0), &set).context("stay on one CPU")
}

/// Returns how many CPUs this machine has, before this process was put on one of them.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Case {
    const EACH: [Self; 3] = [Self::Table, Self::Verdict, Self::Live];

    /// Returns what to run for what was asked.
    pub(crate) fn chosen(asked: &[Self]) -> Vec<Self> {
        Self::EACH.into_iter().filter(|case| asked.contains(case) || asked.contains(&Self::All)).collect()
    }

    /// Returns what is being done, for people who wait.
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::Table => "table: one lookup among a million prefixes",
            Self::Verdict => "verdict: whole programs",
            Self::Live => "live: frames into a veth, beside filters of the distribution",
            Self::All => "all",
        }
    }

    /// Measures it. The calling thread is in a namespace with an empty bpffs.
    pub(crate) fn run(self, settings: &Settings) -> Result<Vec<Finding>> {
        match self {
            Self::Table => table::run(settings),
            Self::Verdict => verdict::run(settings),
            Self::Live => live::run(settings),
            Self::All => Ok(Vec::new()),
        }
    }
}
