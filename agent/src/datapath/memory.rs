//! The maps as lines, over mmap: what the kernel reads is written in place, without a system call.

use std::{os::fd::AsFd, slice};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use weir_common::{
    line::{Line, Memory, Word},
    map::Map,
};

use super::{DatapathError, Pins, Result};

/// Maps of lines, mapped into this process.
#[derive(Debug)]
pub struct Mapped {
    maps: [Option<Mapping>; Map::ALL.len()],
}

#[derive(Debug)]
struct Mapping {
    raw: MmapRaw,
    lines: usize,
}

impl Mapped {
    /// Returns an address space without maps.
    #[must_use]
    pub fn new() -> Self {
        Self { maps: [const { None }; Map::ALL.len()] }
    }

    /// Opens all maps that are pinned, for reading what is in force.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where one is missing or is not ours.
    pub fn open(pins: &Pins) -> Result<Self> {
        Self::open_some(pins, &Map::ALL)
    }

    /// Opens some of the maps that are pinned. The others read as if they were not there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_some(pins: &Pins, maps: &[Map]) -> Result<Self> {
        let mut mapped = Self::new();
        for &map in maps {
            let data = MapData::from_pin(pins.map(map.name()));
            let data = data.map_err(|error| super::load::unusable(map.name(), &error))?;
            mapped.add(map, &data)?;
        }
        Ok(mapped)
    }

    /// Adds a map.
    ///
    /// # Errors
    /// [`DatapathError::Map`] where it cannot be mapped.
    pub fn add(&mut self, map: Map, data: &MapData) -> Result<()> {
        let failed = |error: String| DatapathError::Map { name: map.name(), error };
        let info = data.info().map_err(|error| super::load::unusable(map.name(), &error))?;
        let lines = info.max_entries() as usize;
        if info.value_size() as usize != size_of::<Line>() {
            return Err(failed(format!("values of {} bytes, not a line", info.value_size())));
        }
        let raw = MmapOptions::new()
            .len(lines * size_of::<Line>())
            .map_raw(&data.fd().as_fd())
            .map_err(|error| failed(format!("mmap: {error}")))?;
        self.maps[map as usize] = Some(Mapping { raw, lines });
        Ok(())
    }
}

impl Default for Mapped {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory for Mapped {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        let mapping = self.maps[map as usize].as_ref()?;
        #[expect(clippy::cast_ptr_alignment, reason = "a page is aligned to more than a line")]
        let start = mapping.raw.as_ptr().cast::<Line>();
        // SAFETY: the mapping is page aligned, `lines` lines long, and lives as long as `self`; a
        // line may change at any time, which is what `Word` is for.
        let lines = unsafe { slice::from_raw_parts(start, mapping.lines) };
        lines.get(index as usize)
    }

    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        word.compare_exchange(current, new)
    }
}
