//! The only door to the kernel.
//!
//! Program, maps and links are pinned, so the kernel enforces on whatever becomes of the agent. A
//! new agent adopts what it finds: it keeps the maps that fit, publishes its policy into them, and
//! replaces the program under each link, so that no packet passes unfiltered and no debt is lost.

/// What the kernel can do.
pub mod probe;
/// Where things are pinned, and the lock of the one agent.
pub mod pins;
/// The maps as lines, over mmap.
pub mod memory;
/// Loads the program, or adopts what an agent before has left.
mod load;
/// The clock of the limiter, seen from userspace.
pub mod clock;
/// Which XDP program an interface has, from the kernel.
mod query;
/// Links to interfaces.
pub mod attach;
/// Waits until no packet is judged by what was in force before.
mod grace;
/// Bans and manual rules.
pub mod rules;
/// Counters, added up over CPUs.
pub mod counters;
/// Sampled packets, as they come.
pub mod events;

use std::{io, path::PathBuf};

pub use attach::Attached;
use aya::Ebpf;
pub use pins::Pins;
use weir_common::{
    control::{self, Seed},
    line::Memory as _,
    map::{Map, Sizes},
};

use self::{counters::Counters, events::Events, memory::Mapped, pins::Lock};
use crate::{
    config,
    policy::{Policy, classes::Classes, compile, merge::Merged},
};

/// The program and its maps, loaded and pinned.
pub struct Datapath {
    ebpf: Ebpf,
    memory: Mapped,
    sizes: Sizes,
    adopted: bool,
    pins: Pins,
    // Held as long as this agent lives.
    _lock: Lock,
}

/// What went wrong at the door to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The kernel is not one that weir runs on.
    #[error("Linux {release} {reason}: weir needs {} or newer; see docs/kernels.md", probe::MINIMUM)]
    Kernel {
        /// What `uname -r` says.
        release: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pins cannot be used.
    #[error("{operation} {}: {error}", path.display())]
    Pin {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// bpffs is missing.
    #[error(
        "no BPF filesystem at {}: {error}; mount one: mount -t bpf bpf {}",
        path.display(), path.display()
    )]
    NoBpffs {
        /// Where it should be.
        path: PathBuf,
        /// Why it could not be mounted.
        error: io::Error,
    },
    /// Another agent is at work.
    #[error("another weir agent holds {}; one host, one agent", path.display())]
    Locked {
        /// The directory that it has locked.
        path: PathBuf,
    },
    /// The kernel refuses the program or a map.
    #[error("load the program: {0}")]
    Load(String),
    /// A map is not what it should be.
    #[error("map {name}: {error}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        error: String,
    },
    /// An interface cannot be protected.
    #[error("attach {interface}: {reason}")]
    Attach {
        /// Its name.
        interface: String,
        /// Every mode that was tried, and why it was refused.
        reason: String,
    },
    /// The policy does not become lines.
    #[error(transparent)]
    Compile(#[from] compile::CompileError),
    /// No randomness for the secrets of the tables.
    #[error("read /dev/urandom: {0}")]
    Random(io::Error),
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, DatapathError>;

/// Returns the kernel program as it was compiled.
#[must_use]
pub fn object() -> &'static [u8] {
    load::OBJECT
}

impl Datapath {
    /// Loads the program with maps of at least `sizes`, or adopts the maps that are pinned. Nothing
    /// is attached yet, and what is attached goes on as it was.
    ///
    /// # Errors
    /// [`DatapathError`]
    pub fn open(pins: &Pins, lock: Lock, sizes: Sizes, events_per_second: u32) -> Result<Self> {
        probe::check()?;
        load::open(pins, lock, sizes, events_per_second)
    }

    /// Returns the sizes of the maps.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Returns true if the policy maps, and so their counters, were there before this agent.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Returns the maps as lines.
    #[must_use]
    pub fn memory(&self) -> &Mapped {
        &self.memory
    }

    /// Puts a policy in force: writes the generation that is not, then flips. Where it fails the
    /// old one stays. Returns the number of the publication.
    ///
    /// # Errors
    /// [`DatapathError::Compile`] where it does not fit.
    pub fn publish(&mut self, policy: &Policy, merged: &Merged, classes: &Classes) -> Result<u64> {
        let next = 1 - control::generation(&self.memory);
        let seed = random_seed()?;
        compile::write(&self.memory, next, self.sizes, seed, policy, merged, classes)?;
        let line = self.memory.line(Map::Control, 0).ok_or(compile::CompileError::Memory)?;
        control::publish(line, next);
        grace::wait();
        Ok(control::publications(line))
    }

    /// Attaches to these interfaces and no others; those that are attached get the new program
    /// without a gap.
    ///
    /// # Errors
    /// [`DatapathError::Attach`] names the interface and every refusal. Interfaces before it in the
    /// list stay attached.
    pub fn attach(&mut self, interfaces: &[config::Interface]) -> Result<Vec<Attached>> {
        attach::attach(&mut self.ebpf, &self.memory, &self.pins, interfaces)
    }

    /// Sets how many events a CPU may send in a second.
    pub fn set_events_per_second(&self, events_per_second: u32) {
        if let (Some(global), Some(line)) =
            (control::Global::load(&self.memory), self.memory.line(Map::Control, 0))
        {
            control::Global { events_per_second, ..global }.store(line);
        }
    }

    /// Returns the counters. They stay readable for as long as they live.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where a map cannot be opened.
    pub fn counters(&self) -> Result<Counters> {
        Counters::open(&self.pins)
    }

    /// Takes the ring buffer. Only the first call gets it.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where it cannot be mapped.
    pub fn take_events(&mut self) -> Result<Events> {
        Events::open(&mut self.ebpf)
    }
}

impl std::fmt::Debug for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datapath")
            .field("sizes", &self.sizes)
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// Draws a secret.
fn random_seed() -> Result<Seed> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom").map_err(DatapathError::Random)?;
    source.read_exact(&mut bytes).map_err(DatapathError::Random)?;
    let (low, high) = (u128::from_ne_bytes(bytes), u128::from_ne_bytes(bytes) >> 64);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    Ok(Seed(low as u64, high as u64))
}
