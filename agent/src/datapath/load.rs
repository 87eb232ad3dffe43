//! Loads the program, or adopts what an agent before has left.

//!
//! New maps, and all that stay, are pinned in a directory beside the one in force. Once everything is
//! loaded, that takes the other's place: where something fails before, nothing has changed.

use std::{error::Error, fs, io, iter, path::Path, sync::Arc};

use aya::{
    EbpfLoader, VerifierLogLevel, include_bytes_aligned,
    maps::{Map as AyaMap, MapData, MapInfo},
    programs::{SchedClassifier, Xdp},
};
use weir_common::{
    ABI_VERSION,
    control::{self, Global},
    counter,
    line::{Line, Memory},
    map::{self, GENERATIONS, Map, Sizes},
};

use super::{DatapathError, Pins, Result, clock, memory::Mapped, pins, random_seed};
use crate::policy::{generations::Generations, seal::Seals};

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

/// Both programs over their maps. Not pinned in the place of those before until [`Self::commit`].
pub(super) struct Loaded {
    pub(super) ebpf: aya::Ebpf,
    pub(super) memory: Arc<Mapped>,
    /// What this agent has written there.
    pub(super) generations: Generations,
    /// By what it sees that somebody else has written there.
    pub(super) seals: Seals,
    pub(super) sizes: Sizes,
    /// The policy maps, and so their counters, were there before.
    pub(super) adopted: bool,
    /// Why there is no TCX program. XDP is enough for an agent.
    pub(super) no_tcx: Option<String>,
}

/// Loads the programs over maps of at least `wanted`, keeping what an agent before has left.
pub(super) fn open(pins: &Pins, wanted: Sizes, events_per_second: u32) -> Result<Loaded> {
    let found = Found::look(pins);
    let sizes = found.sizes_or(wanted);
    let adopted = Map::ALL.into_iter().filter(|map| !map.is_state()).all(|map| fits(pins, map, sizes));
    let keep = |name: &str| match Map::ALL.into_iter().find(|map| map.name() == name) {
        // The policy maps go together or not at all: a program must never see the tables of one
        // policy with the generation of another.
        Some(map) if !map.is_state() => adopted,
        Some(map) => fits(pins, map, sizes) && found.global.is_some(),
        None => other_fits(pins, name),
    };
    load(pins, sizes, adopted, found.global, events_per_second, keep)
}

/// Loads the programs over larger policy maps. Everything else stays what it is.
pub(super) fn grow(pins: &Pins, memory: &Mapped, sizes: Sizes) -> Result<Loaded> {
    let global = Global::load(memory);
    let keep = |name: &str| !Map::ALL.into_iter().any(|map| map.name() == name && !map.is_state());
    load(pins, sizes, false, global, global.map_or(0, |global| global.events_per_second), keep)
}

fn load(
    pins: &Pins,
    sizes: Sizes,
    adopted: bool,
    before: Option<Global>,
    events_per_second: u32,
    keep: impl Fn(&str) -> bool,
) -> Result<Loaded> {
    stage(pins, keep)?;
    let mut ebpf = load_object(pins, sizes)?;
    let failed = |error: &dyn Error| DatapathError::Load(chain(error));
    let program: &mut Xdp = program(&mut ebpf, map::PROGRAM)?;
    program.load().map_err(|error| failed(&error))?;
    let program: &mut SchedClassifier = self::program(&mut ebpf, map::TCX_PROGRAM)?;
    let no_tcx = program.load().err().map(|error| chain(&error));
    let mut memory = Mapped::new();
    // Buckets belong to the kernel alone; mapping them would count their pages as ours.
    for map in Map::ALL.into_iter().filter(|map| !map.is_kernels()) {
        memory.add(map, map_data(&ebpf, map.name())?)?;
    }
    let tick = clock::tick();
    let clock_offset = clock::calibrate(&mut ebpf, tick)?;
    if !adopted {
        keep_interfaces(pins, &memory);
    }
    let seed = before.map_or_else(random_seed, |global| Ok(global.seed))?;
    let limiter_bits = sizes.limiter_bits;
    let global = Global { abi: ABI_VERSION, tick, clock_offset, limiter_bits, seed, events_per_second };
    global.store(control_line(&memory, 0)?);
    let (memory, generations) = (Arc::new(memory), Generations::default());
    let seals = Seals::new(sizes, random_seed()?.0);
    Ok(Loaded { ebpf, memory, generations, seals, sizes, adopted, no_tcx })
}

impl Loaded {
    /// Pins maps and programs in the place of those before.
    pub(super) fn commit(&mut self, pins: &Pins) -> Result<()> {
        pins::exchange(&pins.new_maps(), &pins.maps())?;
        let failed = |error: &dyn Error| DatapathError::Load(chain(error));
        let program: &mut Xdp = program(&mut self.ebpf, map::PROGRAM)?;
        replace(&pins.program(), |new| program.pin(new).map_err(|error| failed(&error)))?;
        if self.no_tcx.is_none() {
            let program: &mut SchedClassifier = self::program(&mut self.ebpf, map::TCX_PROGRAM)?;
            replace(&pins.tcx_program(), |new| program.pin(new).map_err(|error| failed(&error)))?;
        }
        Ok(())
    }
}

/// What an agent before has left.
struct Found {
    sizes: Option<Sizes>,
    /// Its settings, if its buckets are of use: they are those of its secret.
    global: Option<Global>,
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
        let global = || Global::load(&control_before(pins)?).filter(|global| global.limiter_bits != 0);
        Self { sizes: sizes(), global: global() }
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
}

fn fits(pins: &Pins, map: Map, sizes: Sizes) -> bool {
    MapInfo::from_pin(pins.map(map.name())).is_ok_and(|info| {
        info.max_entries() == map.lines(sizes) && info.value_size() as usize == size_of::<Line>()
    })
}

fn other_fits(pins: &Pins, name: &str) -> bool {
    let Some((_, value_size, entries)) = OTHER_MAPS.into_iter().find(|(other, ..)| *other == name) else {
        return false;
    };
    MapInfo::from_pin(pins.map(name)).is_ok_and(|info| {
        info.max_entries() == entries && value_size != 0 && info.value_size() as usize == value_size
    })
}

/// Makes a new directory of maps, with second pins of those that stay.
fn stage(pins: &Pins, keep: impl Fn(&str) -> bool) -> Result<()> {
    let directory = pins.new_maps();
    pins::remove_tree(&directory)?;
    fs::create_dir(&directory).map_err(|error| DatapathError::Pin {
        operation: "create directory",
        path: directory.clone(),
        error,
    })?;
    for name in map_names().filter(|name| keep(name)) {
        let failed = |error: &dyn Error| DatapathError::Map { name, error: chain(error) };
        let map = MapData::from_pin(pins.map(name)).map_err(|error| failed(&error))?;
        map.pin(directory.join(name)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn map_names() -> impl Iterator<Item = &'static str> {
    Map::ALL.into_iter().map(Map::name).chain(OTHER_MAPS.into_iter().map(|(name, ..)| name))
}

/// Loads the XDP program over empty maps, and pins nothing.
pub(super) fn unpinned(sizes: Sizes) -> Result<aya::Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for map in Map::ALL {
        loader.map_max_entries(map.name(), map.lines(sizes));
    }
    let failed = |error: &dyn Error| DatapathError::Load(chain(error));
    let mut ebpf = loader.load(OBJECT).map_err(|error| failed(&error))?;
    let program: &mut Xdp = program(&mut ebpf, map::PROGRAM)?;
    program.load().map_err(|error| failed(&error))?;
    Ok(ebpf)
}

/// Makes the maps that are not staged, and pins them beside those that are.
fn load_object(pins: &Pins, sizes: Sizes) -> Result<aya::Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for map in Map::ALL {
        loader.map_max_entries(map.name(), map.lines(sizes));
    }
    for name in map_names() {
        loader.map_pin_path(name, pins.new_maps().join(name));
    }
    loader.load(OBJECT).map_err(|error| DatapathError::Load(chain(&error)))
}

fn program<'e, P>(ebpf: &'e mut aya::Ebpf, name: &str) -> Result<&'e mut P>
where
    &'e mut P: TryFrom<&'e mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| DatapathError::Load(format!("the object has no program {name}")))?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| DatapathError::Load(chain(&error)))
}

/// Pins something in place of what is at `path`, without a moment in which there is none.
fn replace(path: &Path, pin: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = path.with_file_name("prog-new");
    pins::remove(&new)?;
    pin(&new)?;
    pins::rename(&new, path)
}

/// Copies what stands before the policies, settings and slots of interfaces, from the maps in force:
/// the counters stay, and with them who is counted where.
fn keep_interfaces(pins: &Pins, memory: &Mapped) {
    let Some(before) = control_before(pins) else { return };
    for index in 0..control::POLICY_LINE {
        if let (Some(old), Some(new)) = (before.line(Map::Control, index), memory.line(Map::Control, index)) {
            new.store(old.load());
        }
    }
}

/// Returns the settings that are pinned, if they are of this layout.
fn control_before(pins: &Pins) -> Option<Mapped> {
    let mut memory = Mapped::new();
    memory.add(Map::Control, &MapData::from_pin(pins.map(Map::Control.name())).ok()?).ok()?;
    memory.line(Map::Control, control::LINES - 1).is_some().then_some(memory)
}

fn control_line(memory: &Mapped, index: u32) -> Result<&Line> {
    memory
        .line(Map::Control, index)
        .ok_or_else(|| DatapathError::Map { name: Map::Control.name(), error: "is too small".to_owned() })
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

/// Returns why a map that is pinned cannot be used, with the mend where rights are missing.
pub(super) fn unusable(name: &'static str, error: &dyn Error) -> DatapathError {
    let mut causes = iter::successors(error.source(), |cause| (*cause).source());
    let denied = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::PermissionDenied)
    };
    let mend = if causes.any(denied) { "; be root" } else { "" };
    DatapathError::Map { name, error: format!("{}{mend}", chain(error)) }
}

#[cfg(test)]
mod tests {
    use aya::{maps::MapError, sys::SyscallError};

    use super::*;

    #[test]
    fn who_may_not_read_a_map_is_told_the_mend() {
        let said = |number| {
            let io_error = io::Error::from_raw_os_error(number);
            let error = MapError::SyscallError(SyscallError { call: "BPF_OBJ_GET", io_error });
            unusable("CONTROL", &error).to_string()
        };
        assert!(said(13).ends_with("; be root") && said(1).ends_with("; be root"), "{}", said(13));
        assert!(!said(2).contains("root"), "{}", said(2));
    }
}
