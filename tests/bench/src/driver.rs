//! Programs that run as the packet of a test: one that changes the source and calls what is tested.

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod, include_bytes_aligned,
    maps::{Array, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
    util::nr_cpus,
};
use weir_bench_ebpf::source::{Orders, State};

pub(crate) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench_driver"));

/// A value of a map.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: numbers only, without padding.
unsafe impl Pod for Plain<Orders> {}
// SAFETY: likewise.
unsafe impl Pod for Plain<State> {}

/// What an XDP program says, include/uapi/linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `XDP_DROP`
    Drop,
    /// `XDP_PASS`
    Pass,
    /// Anything else.
    Other(u32),
}

impl From<u32> for Action {
    fn from(code: u32) -> Self {
        match code {
            1 => Self::Drop,
            2 => Self::Pass,
            other => Self::Other(other),
        }
    }
}

/// What a run found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Time of one packet in ns, as the kernel tells it.
    pub(crate) ns: f64,
    /// What was said of the last packet.
    pub(crate) action: Action,
}

/// A program that changes the source of a frame and calls another one.
pub(crate) struct Driver {
    ebpf: Ebpf,
}

impl Driver {
    /// Loads one that calls `target`.
    pub(crate) fn new(target: &ProgramFd) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("load the driver")?;
        let program: &mut Xdp = ebpf.program_mut("driver").context("no driver")?.try_into()?;
        program.load().context("load the driver")?;
        let mut targets = ProgramArray::try_from(ebpf.map_mut("TARGET").context("no map TARGET")?)?;
        targets.set(0, target, 0).context("let the driver call the program under test")?;
        Ok(Self { ebpf })
    }

    /// Loads one that calls a program which drops everything.
    pub(crate) fn empty() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("load the empty program")?;
        let program: &mut Xdp = ebpf.program_mut("empty_drop").context("no empty program")?.try_into()?;
        program.load().context("load the empty program")?;
        Self::new(&program.fd()?.try_clone()?)
    }

    /// Says which sources to send, from the start.
    pub(crate) fn order(&mut self, orders: Orders, seed: u64) -> Result<()> {
        order(&mut self.ebpf, orders, seed)
    }

    /// Returns what each CPU has sent.
    pub(crate) fn states(&self) -> Result<Vec<State>> {
        let map: PerCpuArray<_, Plain<State>> = self.ebpf.map("STATE").context("no map STATE")?.try_into()?;
        Ok(map.get(&0, 0)?.iter().map(|Plain(state)| *state).collect())
    }

    /// Runs `packets` packets made of `frame`.
    pub(crate) fn run(&self, frame: &[u8], packets: u32) -> Result<Run> {
        let program: &Xdp = self.ebpf.program("driver").context("no driver")?.try_into()?;
        let options = TestRunOptions { data_in: Some(frame), repeat: packets, ..TestRunOptions::default() };
        let result = program.test_run(options).context("run the driver")?;
        let action = result.return_value.into();
        ensure!(action != Action::Other(0), "the driver could not call the program under test");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(Run { ns: result.duration.as_nanos() as f64, action })
    }

    /// Runs packets one by one, and returns which part of them was dropped.
    pub(crate) fn dropped(&self, frame: &[u8], packets: u32) -> Result<f64> {
        let mut dropped = 0;
        for _ in 0..packets {
            dropped += u32::from(self.run(frame, 1)?.action == Action::Drop);
        }
        Ok(f64::from(dropped) / f64::from(packets))
    }
}

/// Says which sources a program that makes packets sends, from the start.
pub(crate) fn order(ebpf: &mut Ebpf, orders: Orders, seed: u64) -> Result<()> {
    let mut map: Array<_, Plain<Orders>> = ebpf.map_mut("ORDERS").context("no map ORDERS")?.try_into()?;
    map.set(0, Plain(orders), 0)?;
    let cpus = nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
    let states = (1..).take(cpus).map(|cpu| {
        let random = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(cpu);
        Plain(State { random, ..State::default() })
    });
    let mut map: PerCpuArray<_, Plain<State>> = ebpf.map_mut("STATE").context("no map STATE")?.try_into()?;
    map.set(0, PerCpuValues::try_from(states.collect::<Vec<_>>())?, 0)?;
    Ok(())
}
