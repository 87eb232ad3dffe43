//! A policy over plain memory: what it would do, without a kernel.
//!
//! Packets are judged by the stages of the kernel program, over lines that were written as for the
//! kernel. Clocks are arguments, so that what limits say is what they said, or would have said, then.

use std::{fmt, io, path::Path, sync::Arc};

use ipnet::IpNet;
use tokio::runtime;
use weir_common::{
    class::ClassId,
    control::{self, Seed},
    heap::Heap,
    line::Memory as _,
    map::{Map, Sizes},
    packet::Frame,
    verdict::Reason,
};
use weir_ebpf::Case;

use crate::{
    config::Config,
    feed::{Feed, store::Store, worker::Worker},
    policy::{
        Origin, Policy, Protected,
        classes::{Classes, TooManyClasses},
        compile::{self, CompileError, Demand},
        limits::LimitNumbers,
        merge::{self, Merged},
    },
};

/// Where clocks begin: past the first hour, in which debt and remains of the past look alike.
pub const BEGINNING: u64 = 1 << 33;
/// The length of a tick in µs, as with 250 ticks a second.
const TICK: u64 = 4000;
/// The secret of the tables. Nobody aims at lines that live for one command.
const SEED: Seed = Seed(0x5765_6972, 0x6f66_666c_696e_6521);
const GENERATION: u32 = 1;

/// What a policy is compiled from, and what it is called: for a judge in memory and one in the kernel.
#[derive(Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// Its lists as one.
    pub merged: Merged,
    /// Its classes.
    pub classes: Classes,
}

/// A policy over plain memory.
#[derive(Debug)]
pub struct Offline {
    heap: Heap,
    names: Names,
}

/// Names behind the numbers of a policy.
#[derive(Clone, Debug)]
pub struct Names {
    classes: Classes,
    limits: Vec<(u8, String)>,
}

/// A verdict's reason, and the lists or the limit behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Why {
    /// The reason.
    pub reason: Reason,
    /// The lists that say so, or the limit. May be empty.
    pub names: Vec<String>,
}

/// Why a policy cannot be judged by.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The lists overlap in too many ways.
    #[error(transparent)]
    Classes(#[from] TooManyClasses),
    /// The lists are too large.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Lists cannot be read at all.
    #[error("start the runtime: {0}")]
    Runtime(io::Error),
}

/// Returns the lists of a configuration, as the agent would have them at its start, and keeps nothing:
/// those of local sources are read; of all others the last good ones of the state directory are taken,
/// and only where there is none their servers are asked.
///
/// # Errors
/// [`OfflineError::Runtime`]. A list that cannot be had is empty; its state says why.
pub fn lists(config: &Config, state: &Path) -> Result<Vec<Feed>, OfflineError> {
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(OfflineError::Runtime)?;
    let read = config.feeds.iter().map(|feed| {
        let mut worker = Worker::new(Arc::new(feed.clone()), Store::new(state).read_only());
        if worker.is_local() || worker.feed().state.last_success.is_none() {
            runtime.block_on(worker.refresh());
        }
        worker.feed().clone()
    });
    Ok(read.collect())
}

impl Compiled {
    /// Compiles a configuration and its lists. `protected` are sources that nothing may cut off.
    ///
    /// # Errors
    /// [`OfflineError::Classes`]
    pub fn new(
        config: &Config,
        feeds: &[Feed],
        protected: &[(Protected, IpNet)],
    ) -> Result<Self, OfflineError> {
        let policy = Policy::new(config, feeds, protected, &mut LimitNumbers::default());
        let mut classes = Classes::default();
        let merged = merge::merge(&policy.lists, &mut classes)?;
        Ok(Self { policy, merged, classes })
    }

    /// Returns table sizes in which it fits, with a limiter of 2^`limiter_bits` lines.
    #[must_use]
    pub fn sizes(&self, limiter_bits: u32) -> Sizes {
        compile::sizes(Demand::of(&self.merged), limiter_bits)
    }

    /// Returns the names behind its numbers.
    #[must_use]
    pub fn names(&self) -> Names {
        let limits = self.policy.limits.iter().map(|(number, limit)| (*number, limit.name.clone())).collect();
        Names { classes: self.classes.clone(), limits }
    }
}

impl Offline {
    /// Puts a policy into memory of its own.
    ///
    /// # Errors
    /// [`OfflineError::Compile`] where the lists do not fit the largest tables.
    pub fn new(compiled: &Compiled, limiter_bits: u32) -> Result<Self, OfflineError> {
        let mut sizes = compiled.sizes(limiter_bits);
        loop {
            let heap = Heap::started(sizes, BEGINNING);
            let Compiled { policy, merged, classes } = compiled;
            match compile::write(&heap, GENERATION, sizes, SEED, policy, merged, classes) {
                Ok(_) => {
                    if let Some(line) = heap.line(Map::Control, 0) {
                        control::publish(line, GENERATION);
                    }
                    return Ok(Self { heap, names: compiled.names() });
                }
                Err(full) => sizes = compile::doubled(sizes, &full).ok_or(full)?,
            }
        }
    }

    /// Judges a frame at time `now`, in µs of a clock that starts at [`BEGINNING`] and never goes back.
    pub fn judge(&self, now: u64, frame: &impl Frame, case: &mut Case) {
        self.heap.set_clock(now, TICK);
        weir_ebpf::judge(&self.heap, frame, case);
    }

    /// Returns the memory: for bans and manual rules, of which configurations know nothing.
    #[must_use]
    pub fn memory(&self) -> &Heap {
        &self.heap
    }

    /// Returns the names behind the numbers.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }
}

impl Names {
    /// Returns the lists behind a class.
    #[must_use]
    pub fn lists(&self, class: ClassId) -> &[Origin] {
        self.classes.get(class).map_or(&[], |spec| &spec.origins)
    }

    /// Returns the highest number of a class.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes.specs().len()
    }

    /// Returns the limits, with their numbers.
    #[must_use]
    pub fn limits(&self) -> &[(u8, String)] {
        &self.limits
    }

    /// Says why, with names.
    #[must_use]
    pub fn why(&self, reason: Reason, class: ClassId, limit: u8) -> Why {
        let names = match reason {
            Reason::Feed | Reason::Observe | Reason::Allow => self.lists(class).iter().map(name).collect(),
            Reason::Limit | Reason::Valve => {
                let named = self.limits.iter().find(|(number, _)| *number == limit);
                named.map(|(_, name)| name.clone()).into_iter().collect()
            }
            Reason::Clean
            | Reason::NotIp
            | Reason::Neighbour
            | Reason::Truncated
            | Reason::VlanDepth
            | Reason::HeaderLength
            | Reason::TotalLength
            | Reason::ExtensionChain
            | Reason::TinyFragment
            | Reason::Management
            | Reason::Ban => Vec::new(),
        };
        Why { reason, names }
    }
}

/// Returns what a list is called, without the word that says that it is a feed.
fn name(origin: &Origin) -> String {
    match origin {
        Origin::Feed(name) | Origin::Consensus(name) => name.clone(),
        Origin::Allow | Origin::Partners | Origin::Protected(_) | Origin::Balancer => {
            origin.to_string().replace(' ', "-")
        }
    }
}

/// Writes `feed:tor,bad`: the reason, and who says so.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_str())?;
        if !self.names.is_empty() {
            write!(f, ":{}", self.names.join(","))?;
        }
        Ok(())
    }
}
