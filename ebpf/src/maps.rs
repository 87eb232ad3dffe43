//! All maps, nothing else. Names and sizes come from `weir_common::map`; docs/datapath.md says who
//! writes and who reads each. The sizes here are the smallest; the agent sets those of its
//! configuration before it loads the program.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use weir_common::{
    counter,
    counter::{Counter, Tally},
    line::Line,
    map::{EVENTS_BYTES, Map, Sizes},
};

use crate::kernel::Scratch;

const MMAPABLE: u32 = aya_ebpf::bindings::BPF_F_MMAPABLE;

macro_rules! lines {
    ($($name:ident = $map:ident;)*) => {
        $(
            #[map]
            pub(crate) static $name: Array<Line> = Array::with_max_entries(Map::$map.lines(Sizes::MIN), MMAPABLE);
        )*
    };
}

lines! {
    CONTROL = Control;
    V4_ROOT = V4Root;
    V4_WIDE = V4Wide;
    V4_LINES = V4Lines;
    V4_SPILL = V4Spill;
    V6_FILTER = V6Filter;
    V6_LINES = V6Lines;
    CLASSES = Classes;
    OVERLAY = Overlay;
    SERVICES = Services;
    LIMITS = Limits;
    LIMITER = Limiter;
    VALVE = Valve;
}

#[map]
pub(crate) static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(counter::COUNTERS, 0);

#[map]
pub(crate) static CLASS_COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::with_max_entries(counter::CLASS_COUNTERS, 0);

#[map]
pub(crate) static LIMIT_COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::with_max_entries(counter::LIMIT_COUNTERS, 0);

#[map]
pub(crate) static TALLY: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
