//! The two judges: the program in the kernel, and the same code over plain memory.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use weir::{
    config::Config,
    datapath::{Datapath, Pins, clock, counters::Counters, memory::Mapped},
    feed::{Feed, plain},
    policy::{Policy, classes::Classes, compile, limits::LimitNumbers, merge},
};
pub(crate) use weir_common::counter::Outcome;
use weir_common::{
    control::{self, Seed},
    heap::Heap,
    line::Memory,
    map::{Map, Sizes},
    verdict::Reason,
};

use crate::table::{Case, Setting};

const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
/// Return values of XDP programs, include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Debt is told from remains of the past only when the clock is past its first hour.
const NOW: u64 = 1 << 33;
const HOUR: u64 = 3_600_000_000;

/// What a frame got.
pub(crate) type Judgement = (Outcome, Reason);

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
    let policy = Policy::new(&config, &feeds, &mut LimitNumbers::default());
    let merged = merge::merge(&policy.lists, &mut classes).expect("few lists");
    Compiled { policy, merged, classes }
}

/// Returns a line of buckets that owe, to nobody that a frame could come from.
fn debtors(now: u64) -> [u64; 8] {
    let tat = now.wrapping_add(HOUR) & ((1 << 40) - 1);
    std::array::from_fn(|i| (0x7f_fff0 + i as u64) << 40 | tat)
}

/// The code of the kernel program over plain memory.
pub(crate) struct Native {
    heap: Heap,
    clean: bool,
}

impl Native {
    pub(crate) fn new(setting: Setting) -> Self {
        let Compiled { policy, merged, classes } = compile(setting);
        let heap = Heap::started(SIZES, NOW);
        compile::write(&heap, 1, SIZES, Seed(11, 22), &policy, &merged, &classes).expect("it fits");
        control::publish(heap.line(Map::Control, 0).expect("a control line"), 1);
        Self { heap, clean: true }
    }

    pub(crate) fn judge(&mut self, case: &Case) -> Judgement {
        if case.needs_clean_limiter() && !self.clean {
            self.heap.fill(Map::Limiter, [0; 8]);
            self.heap.fill(Map::Valve, [0; 8]);
            self.clean = true;
        }
        if case.full_limiter {
            self.heap.fill(Map::Limiter, debtors(NOW));
        }
        let mut judged = weir_ebpf::Case::OPEN;
        for _ in 0..case.times {
            judged = self.run(&case.frame);
        }
        self.clean &= !case.needs_clean_limiter();
        (judged.outcome, judged.reason)
    }

    /// Judges a frame once.
    pub(crate) fn run(&self, frame: &[u8]) -> weir_ebpf::Case {
        let mut judged = weir_ebpf::Case::OPEN;
        weir_ebpf::judge(&self.heap, &frame, &mut judged);
        judged
    }
}

/// The program in the kernel. Needs root and a BPF filesystem.
pub(crate) struct Kernel {
    // Holds the lock of the agent.
    _datapath: Datapath,
    program: Xdp,
    counters: Counters,
    memory: Mapped,
    clean: bool,
    counts: HashMap<Judgement, u64>,
}

impl Kernel {
    pub(crate) fn new(setting: Setting) -> Result<Self> {
        let Compiled { policy, merged, classes } = compile(setting);
        let pins = Pins::new(Path::new("/sys/fs/bpf"));
        pins.create()?;
        let mut datapath = Datapath::open(&pins, pins.lock()?, SIZES, 8)?;
        datapath.publish(&policy, &merged, &classes)?;
        let counters = Counters::open(&pins)?;
        Ok(Self {
            _datapath: datapath,
            program: Xdp::from_pin(pins.program(), XdpAttachType::Interface).context("pinned program")?,
            counts: count(&counters),
            counters,
            memory: Mapped::open(&pins)?,
            clean: false,
        })
    }

    pub(crate) fn judge(&mut self, case: &Case) -> Judgement {
        if case.needs_clean_limiter() && !self.clean {
            self.fill(Map::Limiter, [0; 8]);
            self.fill(Map::Valve, [0; 8]);
            self.clean = true;
        }
        if case.full_limiter {
            self.fill(Map::Limiter, debtors(clock::now_us(&self.memory)));
        }
        let mut result = None;
        for _ in 0..case.times {
            result = Some(self.run(&case.frame, case.frame.len()));
        }
        self.clean &= !case.needs_clean_limiter();
        result.expect("cases run at least once")
    }

    fn fill(&self, map: Map, words: [u64; 8]) {
        for index in 0..map.lines(SIZES) {
            if let Some(line) = self.memory.line(map, index) {
                line.store(words);
            }
        }
    }

    /// Runs the program once, with at most `first` bytes in the first buffer of the frame. What it
    /// decided is in its return value, and why in the one counter that it raised.
    pub(crate) fn run(&mut self, frame: &[u8], first: usize) -> Judgement {
        let context = context(first.min(frame.len()));
        let options =
            TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::default() };
        let action = self.program.test_run(options).expect("test run").return_value;
        let counts = count(&self.counters);
        let before = std::mem::replace(&mut self.counts, counts);
        let raised: Vec<_> = self
            .counts
            .iter()
            .filter(|(kind, count)| before.get(kind).copied().unwrap_or(0) != **count)
            .collect();
        let [(judgement, count)] = raised[..] else { panic!("counters raised: {raised:?}") };
        assert_eq!(*count, before.get(judgement).copied().unwrap_or(0) + 1);
        let want = if judgement.0 == Outcome::Drop { XDP_DROP } else { XDP_PASS };
        assert_eq!(action, want, "{judgement:?} but the program returned {action}");
        *judgement
    }
}

/// Returns a `struct xdp_md` (include/uapi/linux/bpf.h) by which the first buffer has so many bytes,
/// or fewer if a page does not hold them (net/bpf/test_run.c, `bpf_prog_test_run_xdp`).
fn context(first: usize) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&u32::try_from(first).expect("short").to_ne_bytes());
    context
}

fn count(counters: &Counters) -> HashMap<Judgement, u64> {
    let mut counts = HashMap::new();
    for row in counters.packets(&[0]).expect("counters") {
        *counts.entry((row.outcome, row.reason)).or_default() += row.count.packets;
    }
    counts
}
