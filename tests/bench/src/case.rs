//! What is measured, case by case.

/// The reputation lookup alone.
mod table;
/// Whole programs.
mod verdict;
/// Live frames.
mod live;
/// Whether limits are what they say.
mod limiter;
/// From the text of a list to enforcement.
mod load;
/// Long lists, beside what people use for them.
mod feeds;
/// The agent while its host is flooded.
mod flood;
/// What gets through while agents and tables change.
mod upgrade;
/// How fast captures are judged.
mod replay;
/// A start after a reboot.
mod start;

/// How long a proxy waits for a decision.
mod l7;

use anyhow::Result;

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
    /// Whether limits are what they say, also beneath a flood.
    Limiter,
    /// From the text of a list to enforcement, beside ipset and nftables.
    Load,
    /// Long lists, beside iprange and ipset.
    Feeds,
    /// The agent while its host is flooded.
    Flood,
    /// What gets through while agents and tables change.
    Upgrade,
    /// How fast captures are judged.
    Replay,
    /// How long a start takes, without the server of the list.
    Start,
    /// How long a proxy waits for a decision, with and without a flood.
    L7,
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

impl Case {
    const EACH: [Self; 11] = [
        Self::Table,
        Self::Verdict,
        Self::Live,
        Self::Limiter,
        Self::Load,
        Self::Feeds,
        Self::Flood,
        Self::Upgrade,
        Self::Replay,
        Self::Start,
        Self::L7,
    ];

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
            Self::Limiter => "limiter: accuracy, and offenders beneath a flood",
            Self::Load => "load: from the text of a list to enforcement",
            Self::Feeds => "feeds: long lists, beside iprange and ipset",
            Self::Flood => "flood: the agent while its host is flooded",
            Self::Upgrade => "upgrade: what gets through while agents and tables change",
            Self::Replay => "replay: captures under a policy",
            Self::Start => "start: from a process to enforcement, by what is on disk",
            Self::L7 => "l7: questions of proxies at fixed rates, with and without a flood",
            Self::All => "all",
        }
    }

    /// Measures it. The calling thread is in a namespace with an empty bpffs.
    pub(crate) fn run(self, settings: &Settings) -> Result<Vec<Finding>> {
        match self {
            Self::Table => table::run(settings),
            Self::Verdict => verdict::run(settings),
            Self::Live => live::run(settings),
            Self::Limiter => limiter::run(settings),
            Self::Load => load::run(settings),
            Self::Feeds => feeds::run(settings),
            Self::Flood => flood::run(settings),
            Self::Upgrade => upgrade::run(settings),
            Self::Replay => replay::run(settings),
            Self::Start => start::run(settings),
            Self::L7 => l7::run(settings),
            Self::All => Ok(Vec::new()),
        }
    }
}
