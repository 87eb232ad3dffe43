//! The two judges: the program in the kernel, and the same code over plain memory.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use weir::{
    config::Config,
    datapath::{Datapath, Pins, clock, counters::Counters, memory::Mapped},
    feed::{Feed, Listing, format::plain},
    offline::Compiled,
    policy::{Protected, compile, generations::Next},
};
pub(crate) use weir_common::counter::Outcome;
use weir_common::{
    control::{self, Global, Seed},
    gcra::Clock as _,
    heap::Heap,
    line::Memory,
    map::{Map, Sizes},
    verdict::Reason,
};

use crate::table::{Case, Setting, rules};

pub(crate) const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
/// Ethernet and IPv6 headers.
const SHORTEST_BUFFER: usize = 54;
/// A page, less headroom and `struct skb_shared_info`.
const LONGEST_BUFFER: usize = 4096 - 66 - 320;

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

/// Debt is told from remains of the past only when the clock is past its first hour.
const NOW: u64 = 1 << 33;
const HOUR: u64 = 3_600_000_000;

/// The secret of the limiter of [`Heap::started`].
pub(crate) const SEED: Seed = Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211);

/// What a frame got.
pub(crate) type Judgement = (Outcome, Reason);

pub(crate) fn compile(setting: Setting) -> Compiled {
    let config = Config::parse(Path::new("table.yaml"), &setting.config()).expect("the table's own policy");
    let feeds: Vec<Feed> = config
        .feeds
        .iter()
        .map(|feed| {
            let list = plain::parse(Setting::list(&feed.name).as_bytes());
            let listing = Listing { entries: list.entries.into(), ..Listing::default() };
            Feed { listing, ..Feed::new(feed.clone()) }
        })
        .collect();
    let protected = [(Protected::Management, "198.51.100.99/32".parse().expect("a prefix"))];
    Compiled::new(&config, &feeds, &protected).expect("few lists")
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
        rules::set(&heap, SEED, heap.coarse());
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
    hook: Hook,
    program: Program,
    counters: Counters,
    memory: Mapped,
    clean: bool,
    counts: HashMap<Judgement, u64>,
}

impl Kernel {
    pub(crate) fn new(setting: Setting, hook: Hook) -> Result<Self> {
        let Compiled { policy, merged, classes } = compile(setting);
        let pins = Pins::new(Path::new("/sys/fs/bpf"));
        pins.create()?;
        let mut datapath = Datapath::open(&pins, pins.lock()?, SIZES, 8)?;
        datapath.publish(&Next { policy: &policy, merged: &merged, classes: &classes, delta: None })?;
        let memory = Mapped::open(&pins)?;
        let seed = Global::load(&memory).context("settings")?.seed;
        rules::set(&memory, seed, clock::now_us(&memory));
        let counters = Counters::open(&pins)?;
        Ok(Self {
            _datapath: datapath,
            hook,
            program: match hook {
                Hook::Xdp => Program::Xdp(Xdp::from_pin(pins.program(), XdpAttachType::Interface)?),
                Hook::Tcx => Program::Tcx(SchedClassifier::from_pin(pins.tcx_program())?),
            },
            counts: count(&counters),
            counters,
            memory,
            clean: false,
        })
    }

    /// Judges a case. Nothing for a frame of which the kernel makes no socket buffer to test with.
    pub(crate) fn judge(&mut self, case: &Case) -> Option<Judgement> {
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
            result = self.run(&case.frame, case.frame.len());
        }
        self.clean &= !case.needs_clean_limiter();
        result
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
    pub(crate) fn run(&mut self, frame: &[u8], first: usize) -> Option<Judgement> {
        let context = context(first.min(frame.len()));
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = match &self.program {
            Program::Xdp(program) => program.test_run(TestRunOptions { ctx_in: Some(&context), ..options }),
            Program::Tcx(program) => program.test_run(options),
        };
        let action = match result {
            Ok(result) => result.return_value,
            // It has not even a whole IP header, or is longer than a page with all that belongs to a socket
            // buffer (`bpf_prog_test_run_skb`, net/bpf/test_run.c).
            Err(_)
                if matches!(self.hook, Hook::Tcx)
                    && !(SHORTEST_BUFFER..LONGEST_BUFFER).contains(&frame.len()) =>
            {
                return None;
            }
            Err(error) => panic!("test run of {} bytes: {error:?}", frame.len()),
        };
        let counts = count(&self.counters);
        let before = std::mem::replace(&mut self.counts, counts);
        let raised: Vec<_> = self
            .counts
            .iter()
            .filter(|(kind, count)| before.get(kind).copied().unwrap_or(0) != **count)
            .collect();
        let [(judgement, count)] = raised[..] else { panic!("counters raised: {raised:?}") };
        assert_eq!(*count, before.get(judgement).copied().unwrap_or(0) + 1);
        let (drop, pass) = self.hook.actions();
        let want = if judgement.0 == Outcome::Drop { drop } else { pass };
        assert_eq!(action, want, "{judgement:?} but the program returned {action}");
        Some(*judgement)
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
