//! The clock of the limiter, seen from userspace.
//!
//! The kernel program counts jiffies, which userspace cannot read. They advance with
//! `CLOCK_MONOTONIC` (kernel/time/tick-sched.c), so the two differ by a constant, measured once.

use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use nix::time::{ClockId, clock_getres, clock_gettime};
use weir_common::{control::Global, line::Memory, map::CLOCK_PROGRAM};

use super::{DatapathError, Result, load::chain};

const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;
/// Length of a jiffy where the kernel does not say: HZ=250.
const TICK_NS: u64 = 4_000_000;
/// Tries to read both clocks within one tick.
const TRIES: usize = 20;

/// Returns the length of a jiffy in 2^-16 µs. The coarse clock advances once a jiffy, so its
/// resolution is that length (kernel/time/posix-timers.c), whatever HZ the kernel was built with.
pub(super) fn tick() -> u64 {
    let ns = clock_getres(CLOCK).map_or(TICK_NS, nanoseconds);
    (ns << 16) / 1000
}

/// Returns what is to be added to the coarse clock in µs to get `jiffies * tick`.
pub(super) fn calibrate(ebpf: &mut Ebpf, tick: u64) -> Result<u64> {
    let failed = |error: &dyn std::error::Error| DatapathError::Load(chain(error));
    let program: &mut Xdp = ebpf
        .program_mut(CLOCK_PROGRAM)
        .ok_or_else(|| DatapathError::Load("the object has no clock".to_owned()))?
        .try_into()
        .map_err(|error| failed(&error))?;
    program.load().map_err(|error| failed(&error))?;
    let frame = [0; 64];
    let mut offset = 0;
    for _ in 0..TRIES {
        let before = coarse_us();
        let run = program
            .test_run(TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() })
            .map_err(|error| failed(&error))?;
        offset = jiffies_us(before, run.return_value, tick).wrapping_sub(before);
        if coarse_us() == before {
            break;
        }
    }
    program.unload().map_err(|error| failed(&error))?;
    Ok(offset)
}

/// Completes the low half of jiffies, which start 300 s before they pass 2^32
/// (include/linux/jiffies.h), and turns them into µs.
fn jiffies_us(coarse_us: u64, low: u32, tick: u64) -> u64 {
    let since_boot = (coarse_us << 16) / tick.max(1);
    // Jiffies since boot, give or take; those of the kernel are less than 2^31 away.
    let expected = (1u64 << 32).wrapping_add(since_boot);
    let high = expected.wrapping_sub(u64::from(low)).wrapping_add(1 << 31) >> 32;
    (high << 32 | u64::from(low)).wrapping_mul(tick) >> 16
}

/// Returns the time on the clock of the limiter, in µs.
pub fn now_us(memory: &impl Memory) -> u64 {
    let offset = Global::load(memory).map_or(0, |global| global.clock_offset);
    coarse_us().wrapping_add(offset)
}

fn coarse_us() -> u64 {
    clock_gettime(CLOCK).map_or(0, nanoseconds) / 1000
}

fn nanoseconds(time: nix::sys::time::TimeSpec) -> u64 {
    let (seconds, rest) = (time.tv_sec().cast_unsigned(), time.tv_nsec().cast_unsigned());
    seconds * 1_000_000_000 + rest
}
