//! On which CPU a thread runs, and how much time it has used.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aya::util::nr_cpus;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Returns how many CPUs this machine has.
pub(crate) fn count() -> Result<usize> {
    nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))
}

/// Keeps the calling thread, and those that it starts, on a CPU.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).context("choose a CPU")?;
    sched_setaffinity(Pid::from_raw(0), &set).context("stay on one CPU")
}

/// Lets the calling thread run anywhere.
pub(crate) fn stay_nowhere() -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in 0..count()? {
        set.set(cpu).context("choose CPUs")?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("leave a CPU")
}

/// Returns the time that the calling thread has run.
pub(crate) fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Returns the time that children of this process have run which have ended.
pub(crate) fn children_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let duration = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.unsigned_abs())
    };
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

/// Returns how often the calling thread has been put off its CPU for others.
pub(crate) fn put_off() -> Result<u64> {
    Ok(getrusage(UsageWho::RUSAGE_THREAD)?.involuntary_context_switches().unsigned_abs())
}
