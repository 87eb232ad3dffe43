//! weir as it is: its own object, loaded and published by its own code.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader, include_bytes_aligned,
    programs::{ProgramFd, Xdp},
};
use aya_obj::programs::xdp::XdpAttachType;
use weir::{
    config::Config,
    datapath::{Datapath, Pins},
    feed::{Entries, Feed, Listing},
    policy::{
        Policy,
        classes::Classes,
        compile::{self, Demand},
        generations::{Delta, InForce, Next, Way},
        limits::LimitNumbers,
        merge::Merged,
    },
};
use weir_common::map::{Map, Sizes};

static LOOKUP: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench_lookup"));

/// Where the namespace has its bpffs.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";
/// The port of the service that has a limit, over UDP.
pub(crate) const PORT: u16 = 443;
/// Events that a CPU may send in a second: the default of the agent.
const EVENTS_PER_SECOND: u32 = 32;

/// A limit on the packets of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Packets in so many seconds.
    pub(crate) packets: u64,
    /// That many seconds: 1 or 60.
    pub(crate) seconds: u64,
    /// Packets at once.
    pub(crate) burst: u64,
}

impl Limit {
    pub(crate) const fn per_second(packets: u64, burst: u64) -> Self {
        Self { packets, seconds: 1, burst }
    }

    /// Returns the time as netfilter calls it.
    pub(crate) const fn unit(self) -> &'static str {
        match self.seconds {
            1 => "second",
            _ => "minute",
        }
    }

    fn yaml(self) -> String {
        let unit = match self.seconds {
            1 => 's',
            _ => 'm',
        };
        let Self { packets, burst, .. } = self;
        format!(
            "limits: [{{name: per-source, service: https, packets: {{rate: {packets}/{unit}, burst: {burst}}}}}]\n"
        )
    }
}

/// A policy ready to be published, and what it is made of.
pub(crate) struct Made {
    pub(crate) policy: Policy,
    pub(crate) merged: Merged,
    pub(crate) classes: Classes,
    delta: Option<Delta>,
}

impl Made {
    /// Makes a policy of one list that drops, and a limit, by the code of the agent.
    pub(crate) fn new(entries: Arc<Entries>, limit: Option<Limit>) -> Result<Self> {
        Self::after(None, entries, limit)
    }

    /// The same, of what is different from what is in force.
    pub(crate) fn after(
        before: Option<&InForce>,
        entries: Arc<Entries>,
        limit: Option<Limit>,
    ) -> Result<Self> {
        let text = format!(
            "enforce: enforce\ninterfaces: [{{name: eth0}}]\nservices: [{{name: https, ports: [{PORT}/udp]}}]\n\
             feeds: [{{name: list, path: /list, action: drop}}]\n{}",
            limit.map_or_else(String::new, Limit::yaml)
        );
        let config = Config::parse(Path::new("bench.yaml"), &text)?;
        let feed = config.feeds.first().cloned().context("a configuration without its feed")?;
        let listing = Listing { entries, ..Listing::default() };
        let feeds = [Feed { listing, ..Feed::new(feed) }];
        let policy = Policy::new(&config, &feeds, &[], &mut LimitNumbers::default());
        let mut classes = Classes::default();
        let (merged, delta) = InForce::merge(before, &policy.lists, &mut classes)?;
        Ok(Self { policy, merged, classes, delta })
    }

    /// Returns it as what is in force.
    pub(crate) fn published(self, publication: u64) -> InForce {
        InForce { publication, lists: self.policy.lists, merged: self.merged }
    }

    /// Returns the sizes that the agent would choose, with 2^`limiter_bits` lines of buckets.
    pub(crate) fn sizes(&self, limiter_bits: u32) -> Sizes {
        compile::sizes(Demand::of(&self.merged), limiter_bits)
    }
}

/// The agent's datapath, loaded.
pub(crate) struct Ours {
    pub(crate) datapath: Datapath,
    pub(crate) pins: Pins,
}

impl Ours {
    /// Loads the program and puts a policy in force.
    pub(crate) fn new(made: &Made, limiter_bits: u32) -> Result<Self> {
        let pins = Pins::new(Path::new(BPFFS));
        pins.create()?;
        let lock = pins.lock()?;
        let datapath = Datapath::open(&pins, lock, made.sizes(limiter_bits), EVENTS_PER_SECOND)?;
        let mut ours = Self { datapath, pins };
        ours.publish(made)?;
        Ok(ours)
    }

    /// Puts a policy in force. Returns the number of the publication, and how it was written.
    pub(crate) fn publish(&mut self, made: &Made) -> Result<(u64, Way)> {
        let Made { policy, merged, classes, delta } = made;
        Ok(self.datapath.publish(&Next { policy, merged, classes, delta: delta.as_ref() })?)
    }

    /// Returns the pinned program.
    pub(crate) fn program(&self) -> Result<ProgramFd> {
        let program = Xdp::from_pin(self.pins.program(), XdpAttachType::Interface).context("open the pin")?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Loads a program that does nothing but our lookup, over the maps of the agent.
    pub(crate) fn lookup(&self, name: &str) -> Result<ProgramFd> {
        let mut loader = EbpfLoader::new();
        for map in Map::ALL {
            loader.map_pin_path(map.name(), self.pins.map(map.name()));
            loader.map_max_entries(map.name(), map.lines(self.datapath.sizes()));
        }
        let mut ebpf = loader.load(LOOKUP).context("load the lookup")?;
        let program: &mut Xdp = ebpf.program_mut(name).context("no such lookup")?.try_into()?;
        program.load().with_context(|| format!("load {name}"))?;
        Ok(program.fd()?.try_clone()?)
    }
}
