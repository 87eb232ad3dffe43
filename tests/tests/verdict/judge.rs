//! The two judges: the program in the kernel, and the same code over plain memory.

use std::{cell::Cell, collections::HashMap, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use weir::{
    config::Config,
    datapath::{Datapath, Pins, clock, counters::Counters, memory::Mapped},
    feed::{Feed, plain},
    policy::{Policy, Protected, classes::Classes, compile, limits::LimitNumbers, merge},
};
pub(crate) use weir_common::counter::Outcome;
use weir_common::{
    control::{self, Global, Seed},
    gcra::Clock,
    heap::Heap,
    line::{Line, Memory, Word},
    map::{Map, Sizes},
    verdict::Reason,
};
use weir_ebpf::World;

use crate::{
    cases::{Case, Setting},
    rules,
};

const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
/// Ethernet and IPv6 headers.
const SHORTEST_BUFFER: usize = 54;

/// The programs of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    Xdp,
    Tcx,
}

impl Hook {
    /// Returns the values with which a program says drop and pass, include/uapi/linux/bpf.h.
    const fn actions(self) -> (u32, u32) {
        match self {
            Self::Xdp => (1, 2),
            Self::Tcx => (2, u32::MAX),
        }
    }
}

enum Program {
    Xdp(Xdp),
    Tcx(SchedClassifier),
}

/// What a setting compiles to.
struct Compiled {
    policy: Policy,
    merged: merge::Merged,
    classes: Classes,
}

fn compile(setting: Setting) -> Compiled {
    let config = Config::parse(Path::new("table.yaml"), &setting.config()).expect("the table's own policy");
    let feeds: Vec<Feed> = config
        .feeds
        .iter()
        .map(|feed| {
            let list = plain::parse(Setting::list(&feed.name).as_bytes());
            Feed { entries: list.entries.into(), ..Feed::new(feed.clone()) }
        })
        .collect();
    let mut classes = Classes::default();
    let protected = [(Protected::Management, "198.51.100.99/32".parse().expect("a prefix"))];
    let policy = Policy::new(&config, &feeds, &protected, &mut LimitNumbers::default());
    let merged = merge::merge(&policy.lists, &mut classes).expect("few lists");
    Compiled { policy, merged, classes }
}

/// Makes every bucket of the limiter one that owes, to nobody that a frame could come from.
fn fill_with_debtors(memory: &impl Memory, now: u64) {
    const HOUR: u64 = 3_600_000_000;
    let tat = now.wrapping_add(HOUR) & ((1 << 40) - 1);
    for index in 0..Map::Limiter.lines(SIZES) {
        if let Some(line) = memory.line(Map::Limiter, index) {
            line.store(std::array::from_fn(|i| (0x7f_fff0 + i as u64) << 40 | tat));
        }
    }
}

fn empty(memory: &impl Memory, map: Map) {
    for index in 0..map.lines(SIZES) {
        if let Some(line) = memory.line(map, index) {
            line.store([0; 8]);
        }
    }
}

/// The code of the kernel program over plain memory.
pub(crate) struct Native {
    heap: Heap,
    dither: Cell<u32>,
}

impl Native {
    pub(crate) fn new(setting: Setting) -> Self {
        let Compiled { policy, merged, classes } = compile(setting);
        let heap = Heap::new(SIZES);
        // Debt is told from remains of the past only when the clock is past its first hour.
        heap.set_clock(1 << 33, 4000);
        compile::write(&heap, 1, SIZES, Seed(11, 22), &policy, &merged, &classes).expect("it fits");
        let line = heap.line(Map::Control, 0).expect("a control line");
        Global {
            abi: weir_common::ABI_VERSION,
            tick: 4000 << 16,
            clock_offset: 0,
            limiter_bits: SIZES.limiter_bits,
            seed: Seed(33, 44),
            events_per_second: 1,
        }
        .store(line);
        control::publish(line, 1);
        rules::set(&heap, Seed(33, 44), heap.coarse());
        Self { heap, dither: Cell::new(0) }
    }

    pub(crate) fn judge(&self, case: &Case) -> (Outcome, Reason) {
        empty(&self.heap, Map::Limiter);
        empty(&self.heap, Map::Valve);
        if case.full_limiter {
            fill_with_debtors(&self.heap, self.heap.coarse());
        }
        let mut judged = weir_ebpf::Case::OPEN;
        for _ in 0..case.times {
            weir_ebpf::judge(self, &case.frame.as_slice(), &mut judged);
        }
        (judged.outcome, judged.reason)
    }
}

impl Memory for Native {
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        self.heap.line(map, index)
    }

    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        self.heap.compare_exchange(word, current, new)
    }
}

impl Clock for Native {
    fn coarse(&self) -> u64 {
        self.heap.coarse()
    }

    fn precise(&self) -> u64 {
        self.heap.precise()
    }
}

impl World for Native {
    fn dither(&self) -> u32 {
        self.dither.set(self.dither.get().wrapping_add(0x9e_3779));
        self.dither.get() & 0xff_ffff
    }
}

/// The program in the kernel. Needs root and a BPF filesystem.
pub(crate) struct Kernel {
    // Holds the lock of the agent.
    _datapath: Datapath,
    hook: Hook,
    program: Program,
    counters: Counters,
    memory: Mapped,
}

impl Kernel {
    pub(crate) fn new(setting: Setting, hook: Hook) -> Result<Self> {
        let Compiled { policy, merged, classes } = compile(setting);
        let pins = Pins::new(Path::new("/sys/fs/bpf"));
        pins.create()?;
        let mut datapath = Datapath::open(&pins, pins.lock()?, SIZES, 8)?;
        datapath.publish(&policy, &merged, &classes)?;
        let memory = Mapped::open(&pins)?;
        let seed = Global::load(&memory).context("settings")?.seed;
        rules::set(&memory, seed, clock::now_us(&memory));
        Ok(Self {
            _datapath: datapath,
            hook,
            program: match hook {
                Hook::Xdp => Program::Xdp(Xdp::from_pin(pins.program(), XdpAttachType::Interface)?),
                Hook::Tcx => Program::Tcx(SchedClassifier::from_pin(pins.tcx_program())?),
            },
            counters: Counters::open(&pins)?,
            memory,
        })
    }

    /// Judges a case. Nothing for a frame of which the kernel makes no socket buffer to test with.
    pub(crate) fn judge(&mut self, case: &Case) -> Option<(Outcome, Reason)> {
        empty(&self.memory, Map::Limiter);
        empty(&self.memory, Map::Valve);
        if case.full_limiter {
            fill_with_debtors(&self.memory, clock::now_us(&self.memory));
        }
        let mut result = None;
        for _ in 0..case.times {
            result = self.run(&case.frame);
        }
        result
    }

    /// Runs the program once; what it decided is in its return value, and why in the one counter
    /// that it raised.
    fn run(&self, frame: &[u8]) -> Option<(Outcome, Reason)> {
        let before = self.counts();
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = match &self.program {
            Program::Xdp(program) => program.test_run(options),
            Program::Tcx(program) => program.test_run(options),
        };
        let action = match result {
            Ok(result) => result.return_value,
            // It has not even a whole IP header (`bpf_prog_test_run_skb`, net/bpf/test_run.c).
            Err(_) if matches!(self.hook, Hook::Tcx) && frame.len() < SHORTEST_BUFFER => return None,
            Err(error) => panic!("test run of {} bytes: {error:?}", frame.len()),
        };
        let raised: Vec<_> = self
            .counts()
            .into_iter()
            .filter(|(kind, count)| before.get(kind).copied().unwrap_or(0) != *count)
            .collect();
        let [((outcome, reason), count)] = raised[..] else { panic!("counters raised: {raised:?}") };
        assert_eq!(count, before.get(&(outcome, reason)).copied().unwrap_or(0) + 1);
        let (drop, pass) = self.hook.actions();
        let want = if outcome == Outcome::Drop { drop } else { pass };
        assert_eq!(action, want, "{outcome:?} but the program returned {action}");
        Some((outcome, reason))
    }

    fn counts(&self) -> HashMap<(Outcome, Reason), u64> {
        let mut counts = HashMap::new();
        for row in self.counters.packets(&[0]).expect("counters") {
            *counts.entry((row.outcome, row.reason)).or_default() += row.count.packets;
        }
        counts
    }
}
