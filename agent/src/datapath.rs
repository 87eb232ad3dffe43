//! The only door to the kernel.
//!
//! Programs, maps and links are pinned, so the kernel enforces on whatever becomes of the agent. A
//! new agent adopts what it finds: it keeps the maps that fit, publishes its policy into them, and
//! replaces the program under each link, so that no packet passes unfiltered and no debt is lost.
//! The same happens when a list outgrows its table: larger maps are made, filled, and put under the
//! links.

/// What the kernel can do.
pub mod probe;
/// Where things are pinned, and the lock of the one agent.
pub mod pins;
/// What the process wants of its allocator.
pub mod allocator;
/// The maps as lines, over mmap.
pub mod memory;
/// Loads the program, or adopts what an agent before has left.
mod load;
/// The clock of the limiter, seen from userspace.
pub mod clock;
/// What the kernel tells of an interface.
mod query;
/// The name of an interface's driver.
mod driver;
/// Why a program cannot be attached, in plain words.
mod refusal;
/// bpf_link, through bpf(2).
mod link;
/// Where the packets of an interface are counted.
mod slot;
/// Links to interfaces.
pub mod attach;
/// The interfaces that are to have a link.
mod interfaces;
/// Tells when interfaces come and go.
pub mod watch;
/// The kernel's memory, looked at and not touched.
pub mod onlooker;
/// Waits until no packet is judged by what was in force before.
mod grace;
/// What somebody has changed behind the agent's back.
mod drift;
/// Bans and manual rules.
pub mod rules;
/// Counters, added up over CPUs.
pub mod counters;
/// Sampled packets, as they come.
pub mod events;
/// The program, loaded for a trial.
pub mod trial;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Instant};

pub use attach::{Attached, Change};
pub use interfaces::counter_slots;
pub use pins::Pins;
pub use query::look_around;
use weir_common::{
    control::{self, Seed},
    line::Memory as _,
    map::{Map, Sizes},
};

use self::{counters::Counters, events::Events, load::Loaded, memory::Mapped, pins::Lock};
use crate::{
    config,
    policy::{
        compile,
        generations::{Next, Way},
    },
};

/// The programs and their maps, loaded and pinned.
pub struct Datapath {
    loaded: Loaded,
    pins: Pins,
    /// What was attached last, for when the programs have to be loaded anew.
    interfaces: Vec<config::Interface>,
    /// Counter slots of interfaces, also of those that are gone: they may come back.
    slots: BTreeMap<String, u32>,
    /// Interfaces that could not be attached again: under which index, and when that was tried.
    refused: BTreeMap<String, (u32, Instant)>,
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
    /// The tables are too small and cannot grow.
    #[error("{full}; larger tables cannot be had: {error}")]
    Grow {
        /// What does not fit.
        full: Box<DatapathError>,
        /// Why it cannot be made to.
        error: Box<DatapathError>,
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
    /// Loads the programs with maps of at least `sizes`, or adopts the maps that are pinned. Nothing
    /// is attached yet, and what is attached goes on as it was.
    ///
    /// # Errors
    /// [`DatapathError`]
    pub fn open(pins: &Pins, lock: Lock, sizes: Sizes, events_per_second: u32) -> Result<Self> {
        probe::check()?;
        let mut loaded = load::open(pins, sizes, events_per_second)?;
        loaded.commit(pins)?;
        Ok(Self {
            loaded,
            pins: pins.clone(),
            interfaces: Vec::new(),
            slots: BTreeMap::new(),
            refused: BTreeMap::new(),
            _lock: lock,
        })
    }

    /// Returns the sizes of the maps.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.loaded.sizes
    }

    /// Returns true if the policy maps, and so their counters, were there before this agent.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.loaded.adopted
    }

    /// Returns the maps as lines.
    #[must_use]
    pub fn memory(&self) -> &Mapped {
        &self.loaded.memory
    }

    /// Returns the maps as lines, for others to read. They are other maps once the tables have grown.
    #[must_use]
    pub fn shared_memory(&self) -> Arc<Mapped> {
        Arc::clone(&self.loaded.memory)
    }

    /// Puts a policy in force: writes the generation that is not, or what has changed there, then
    /// flips. Makes larger tables first where it outgrows those in force. Where it fails the old policy
    /// stays. Returns the number of the publication, to which the next change can be one, and how it
    /// was written.
    ///
    /// # Errors
    /// [`DatapathError::Compile`] where it does not fit, [`DatapathError::Grow`] where room for it
    /// cannot be made.
    pub fn publish(&mut self, next: &Next<'_>) -> Result<(u64, Way)> {
        let sizes = compile::grown(self.sizes(), compile::Demand::of(next.merged));
        let mut refused = None;
        if sizes != self.sizes() {
            match self.grow(sizes, next) {
                Ok(published) => return Ok(published),
                Err(error) => refused = Some(error),
            }
        }
        // Tables hold more than they are meant for, at the price of speed.
        match (publish(&mut self.loaded, next), refused) {
            (Ok(published), Some(error)) => {
                tracing::warn!(%error, "the tables are fuller than they should be, and cannot grow");
                Ok(published)
            }
            (Err(DatapathError::Compile(full)), refused) => self.make_room(full, refused, next),
            (result, _) => result,
        }
    }

    /// Tries again with the table doubled that was full.
    fn make_room(
        &mut self,
        full: compile::CompileError,
        refused: Option<DatapathError>,
        next: &Next<'_>,
    ) -> Result<(u64, Way)> {
        let error = match (refused, compile::doubled(self.sizes(), &full)) {
            (Some(error), _) => error,
            (None, None) => return Err(full.into()),
            (None, Some(sizes)) => match self.grow(sizes, next) {
                Ok(published) => return Ok(published),
                Err(error) => error,
            },
        };
        Err(DatapathError::Grow { full: Box::new(full.into()), error: Box::new(error) })
    }

    /// Makes larger policy maps, puts the policy into them, and then programs over them under the
    /// links. Buckets and counters stay the same maps. Until its link is updated an interface is
    /// judged by the old program over the old maps.
    fn grow(&mut self, sizes: Sizes, next: &Next<'_>) -> Result<(u64, Way)> {
        let started = Instant::now();
        let made = load::grow(&self.pins, &self.loaded.memory, sizes)
            .and_then(|mut loaded| Ok((publish(&mut loaded, next)?, loaded)))
            .and_then(|(published, mut loaded)| loaded.commit(&self.pins).map(|()| (published, loaded)));
        let (published, loaded) = match made {
            Ok(made) => made,
            Err(error) => {
                pins::remove_tree(&self.pins.new_maps())?;
                return Err(error);
            }
        };
        self.loaded = loaded;
        tracing::info!(?sizes, seconds = started.elapsed().as_secs_f64(), "the tables have grown");
        // The new policy is what is enforced from here on; what cannot be updated now is mended later.
        for interface in self.interfaces.clone() {
            if let Some(Change::Refused(error)) = self.attacher()?.mend(&interface, None, &[]) {
                tracing::error!(error, "an interface still has the policy of before");
            }
        }
        self.loaded.seals.settings_written(&*self.loaded.memory);
        grace::wait();
        Ok(published)
    }

    /// Sets how many events a CPU may send in a second.
    pub fn set_events_per_second(&mut self, events_per_second: u32) {
        self.loaded.seals.keep_settings(&*self.loaded.memory);
        if let (Some(global), Some(line)) =
            (control::Global::load(self.memory()), self.memory().line(Map::Control, 0))
        {
            control::Global { events_per_second, ..global }.store(line);
        }
        self.loaded.seals.settings_written(&*self.loaded.memory);
    }

    /// Returns the counters. They stay readable for as long as they live.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where a map cannot be opened.
    pub fn counters(&self) -> Result<Counters> {
        Counters::open(&self.pins)
    }

    /// Opens the ring buffer.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where it cannot be mapped.
    pub fn events(&self) -> Result<Events> {
        Events::open(&self.pins)
    }
}

impl std::fmt::Debug for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datapath")
            .field("sizes", &self.sizes())
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// Writes the generation that is not in force, and flips.
fn publish(loaded: &mut Loaded, next: &Next<'_>) -> Result<(u64, Way)> {
    let Loaded { memory, generations, seals, sizes, .. } = loaded;
    let memory: &Mapped = memory;
    seals.keep_settings(memory);
    let generation = 1 - control::generation(memory);
    let way = generations.write(memory, generation, *sizes, random_seed()?, next)?;
    let line = memory.line(Map::Control, 0).ok_or(compile::CompileError::Memory)?;
    control::publish(line, generation);
    seals.written(memory, generation);
    grace::wait();
    let publication = control::publications(line);
    generations.published(publication, next.delta);
    Ok((publication, way))
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
