//! Loads the program, or adopts what an agent before has left.

use std::{error::Error, fs};

use aya::{
    EbpfLoader, VerifierLogLevel, include_bytes_aligned,
    maps::{Map as AyaMap, MapData, MapInfo},
    programs::Xdp,
};
use weir_common::{
    ABI_VERSION,
    control::{Global, Seed},
    counter,
    line::{Line, Memory as _},
    map::{self, GENERATIONS, Map, Sizes},
};

use super::{Datapath, DatapathError, Pins, Result, clock, memory::Mapped, pins, pins::Lock, random_seed};

pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir_xdp"));

/// Maps that are not made of lines: name, value size, entries. They are the same in every size.
const OTHER_MAPS: [(&str, usize, u32); 6] = [
    (map::COUNTERS, size_of::<counter::Counter>(), counter::COUNTERS),
    (map::CLASS_COUNTERS, size_of::<counter::Counter>(), counter::CLASS_COUNTERS),
    (map::LIMIT_COUNTERS, size_of::<counter::Counter>(), counter::LIMIT_COUNTERS),
    (map::TALLY, size_of::<counter::Tally>(), 1),
    (map::SCRATCH, 0, 1), // its layout is the kernel program's own affair
    (map::EVENTS, 0, map::EVENTS_BYTES),
];

pub(super) fn open(pins: &Pins, lock: Lock, wanted: Sizes, events_per_second: u32) -> Result<Datapath> {
    let found = Found::look(pins);
    let sizes = found.sizes_or(wanted);
    let adopted = found.prepare(pins, sizes)?;
    let mut ebpf = load_object(pins, sizes)?;
    let program: &mut Xdp = ebpf
        .program_mut(map::PROGRAM)
        .ok_or_else(|| DatapathError::Load("the object has no program".to_owned()))?
        .try_into()
        .map_err(|error| DatapathError::Load(chain(&error)))?;
    program.load().map_err(|error| DatapathError::Load(chain(&error)))?;
    pin_program(program, pins)?;
    let mut memory = Mapped::new();
    // Buckets belong to the kernel alone; mapping them would count their pages as ours.
    for map in Map::ALL.into_iter().filter(|map| !map.is_kernels()) {
        memory.add(map, map_data(&ebpf, map.name())?)?;
    }
    let tick = clock::tick();
    let clock_offset = clock::calibrate(&mut ebpf, tick)?;
    write_global(
        &memory,
        found.limiter_seed,
        Global {
            abi: ABI_VERSION,
            tick,
            clock_offset,
            limiter_bits: sizes.limiter_bits,
            seed: Seed::default(),
            events_per_second,
        },
    )?;
    Ok(Datapath { ebpf, memory, sizes, adopted, pins: pins.clone(), _lock: lock })
}

/// What an agent before has left.
struct Found {
    sizes: Option<Sizes>,
    limiter_seed: Option<Seed>,
}

impl Found {
    fn look(pins: &Pins) -> Self {
        let bits = |map: Map, generations: u32| {
            let info = MapInfo::from_pin(pins.map(map.name())).ok()?;
            (info.max_entries() / generations).checked_ilog2()
        };
        let sizes = || {
            Some(Sizes {
                v4_bits: bits(Map::V4Lines, GENERATIONS)?,
                v6_bits: bits(Map::V6Lines, GENERATIONS)?,
                limiter_bits: bits(Map::Limiter, 1)?,
            })
        };
        let global = || {
            let mut memory = Mapped::new();
            memory.add(Map::Control, &MapData::from_pin(pins.map(Map::Control.name())).ok()?).ok()?;
            Global::load(&memory)
        };
        Self { sizes: sizes(), limiter_seed: global().filter(|g| g.limiter_bits != 0).map(|g| g.seed) }
    }

    /// Tables that are there stay if they are large enough: then nothing has to be remade.
    fn sizes_or(&self, wanted: Sizes) -> Sizes {
        match self.sizes {
            Some(found) if found.v4_bits >= wanted.v4_bits && found.v6_bits >= wanted.v6_bits => {
                Sizes { limiter_bits: wanted.limiter_bits, ..found }
            }
            _ => wanted,
        }
    }

    /// Removes the pins of maps that do not fit `sizes`, so that new ones are made. The policy maps
    /// go together or not at all: a program must never see the tables of one policy with the
    /// generation of another. Returns true if they stay.
    fn prepare(&self, pins: &Pins, sizes: Sizes) -> Result<bool> {
        let fits = |map: Map| {
            MapInfo::from_pin(pins.map(map.name())).is_ok_and(|info| {
                info.max_entries() == map.lines(sizes) && info.value_size() as usize == size_of::<Line>()
            })
        };
        let policy = || Map::ALL.into_iter().filter(|map| !map.is_state());
        let adopted = policy().all(fits);
        if !adopted {
            policy().try_for_each(|map| pins::remove(&pins.map(map.name())))?;
        }
        for map in
            Map::ALL.into_iter().filter(|map| map.is_state() && (!fits(*map) || self.limiter_seed.is_none()))
        {
            pins::remove(&pins.map(map.name()))?;
        }
        for (name, value_size, entries) in OTHER_MAPS {
            let fits = MapInfo::from_pin(pins.map(name)).is_ok_and(|info| {
                info.max_entries() == entries && value_size != 0 && info.value_size() as usize == value_size
            });
            if !fits {
                pins::remove(&pins.map(name))?;
            }
        }
        Ok(adopted)
    }
}

fn load_object(pins: &Pins, sizes: Sizes) -> Result<aya::Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for map in Map::ALL {
        loader.map_max_entries(map.name(), map.lines(sizes));
        loader.map_pin_path(map.name(), pins.map(map.name()));
    }
    for (name, ..) in OTHER_MAPS {
        loader.map_pin_path(name, pins.map(name));
    }
    loader.load(OBJECT).map_err(|error| DatapathError::Load(chain(&error)))
}

/// Pins the program in place of the one before, without a moment in which there is none.
fn pin_program(program: &mut Xdp, pins: &Pins) -> Result<()> {
    let path = pins.program();
    let new = pins.new_program();
    pins::remove(&new)?;
    program.pin(&new).map_err(|error| DatapathError::Load(chain(&error)))?;
    fs::rename(&new, &path).map_err(|error| DatapathError::Pin { operation: "rename to", path, error })
}

fn write_global(memory: &Mapped, seed: Option<Seed>, global: Global) -> Result<()> {
    let line = memory
        .line(Map::Control, 0)
        .ok_or_else(|| DatapathError::Map { name: Map::Control.name(), error: "is missing".to_owned() })?;
    let seed = match seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    Global { seed, ..global }.store(line);
    Ok(())
}

pub(super) fn map_data<'e>(ebpf: &'e aya::Ebpf, name: &'static str) -> Result<&'e MapData> {
    match ebpf.map(name) {
        Some(AyaMap::Array(data)) => Ok(data),
        Some(_) => Err(DatapathError::Map { name, error: "is not an array".to_owned() }),
        None => Err(DatapathError::Map { name, error: "is missing".to_owned() }),
    }
}

/// Returns an error with all its causes, which aya keeps apart.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
