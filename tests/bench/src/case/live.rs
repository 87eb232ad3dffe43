//! Live frames into a veth, net of an empty program: `live.*`.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use weir::{config::Interface, config::Mode, feed::Entries};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_tests::namespace::Pair;

use super::Settings;
use crate::{
    data,
    finding::{Bound, Finding},
    ours::{Limit, Made, Ours, PORT},
    peers,
    rounds::{Contender, take_turns},
    stand::{Stand, frame},
    textbook::Textbook,
};

const OURS: &str = "ours";
const TEXTBOOK: &str = "textbook";
const NO_OP: &str = "no-op XDP";
const IPSET: &str = "ipset";
const NFT_SET: &str = "nft interval set";
const XDP_FILTER: &str = "xdp-filter of 8192 hosts";
const HASHLIMIT: &str = "hashlimit";
const NFT_LIMIT: &str = "nft dynamic set";

/// 128 MB of buckets.
const LIMITER_BITS: u32 = 21;
const TEXTBOOK_BUCKETS: u32 = 1 << 20;
/// Hosts that xdp-filter can have, as a power of two.
const HOSTS: u64 = 8192;
/// Sources that are over their limit.
const OFFENDERS: u64 = 1 << 16;
/// A limit that all are over who have sent twice.
const TIGHT: Limit = Limit { packets: 1, seconds: 60, burst: 1 };
const WIDE: Limit = Limit::per_second(1000, 2000);

/// What is compared in a case.
struct Kind {
    name: &'static str,
    orders: Orders,
    limit: Limit,
    /// Frames are for the server: what is not dropped goes up the stack.
    for_server: bool,
    /// What is not dropped counts: nothing is subtracted.
    gross: bool,
    others: &'static [&'static str],
    aims: &'static [(&'static str, &'static str, f64)],
}

fn kinds(list: List) -> [Kind; 5] {
    let orders = |choice: Choice, count| Orders { choice: choice as u64, count, list, ..Orders::default() };
    [
        Kind {
            name: "live.drop",
            orders: orders(Choice::Listed, 0),
            limit: WIDE,
            for_server: true,
            gross: false,
            others: &[IPSET, NFT_SET, TEXTBOOK],
            aims: &[("P3", IPSET, 4.0), ("P3", NFT_SET, 9.0)],
        },
        Kind {
            name: "live.drop.hosts",
            orders: orders(Choice::Hosts, HOSTS),
            limit: WIDE,
            for_server: true,
            gross: false,
            others: &[XDP_FILTER, TEXTBOOK],
            aims: &[("P3", XDP_FILTER, 1.0)],
        },
        Kind {
            name: "live.drop.limit",
            orders: orders(Choice::Pool, OFFENDERS),
            limit: TIGHT,
            for_server: true,
            gross: false,
            others: &[HASHLIMIT, NFT_LIMIT, TEXTBOOK],
            aims: &[("P3", HASHLIMIT, 6.0), ("P3", NFT_LIMIT, 6.0)],
        },
        Kind {
            name: "live.pass",
            orders: orders(Choice::Pool, OFFENDERS),
            limit: WIDE,
            for_server: false,
            gross: true,
            others: &[NO_OP, TEXTBOOK],
            aims: &[],
        },
        Kind {
            name: "live.spoofed",
            orders: orders(Choice::Unlisted, 0),
            limit: WIDE,
            for_server: false,
            gross: true,
            others: &[NO_OP, TEXTBOOK],
            aims: &[("P4", NO_OP, 0.8)],
        },
    ]
}

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let list = List::of(settings.prefixes);
    let entries = data::entries(list, 0);
    let made = Made::new(Arc::clone(&entries), Some(WIDE))?;
    let disjoint: Vec<_> = made.merged.v4.iter().map(|entry| (entry.network, entry.length)).collect();
    let mut world = World::new(&made, entries, disjoint)?;
    kinds(list).iter().map(|kind| world.measure(settings, kind)).collect()
}

/// Those who filter; they are set up once, and stay.
struct World {
    entries: Arc<Entries>,
    disjoint: Vec<(u32, u8)>,
    drops: Stand,
    ours: Stand,
    datapath: Arc<Mutex<Ours>>,
    others: Vec<(&'static str, Limit, Result<Stand, String>)>,
}

impl World {
    fn new(made: &Made, entries: Arc<Entries>, disjoint: Vec<(u32, u8)>) -> Result<Self> {
        let ours = Stand::new()?;
        let datapath = ours.pair.server.run(|| {
            let mut ours = Ours::new(made, LIMITER_BITS)?;
            ours.datapath.attach(&[Interface { name: Pair::INTERFACE.to_owned(), mode: Mode::Native }])?;
            Ok(Arc::new(Mutex::new(ours)))
        })?;
        let drops = Stand::empty("empty_drop")?;
        Ok(Self { entries, disjoint, drops, ours, datapath, others: Vec::new() })
    }

    fn measure(&mut self, settings: &Settings, kind: &Kind) -> Result<Finding> {
        let made = Made::new(Arc::clone(&self.entries), Some(kind.limit))?;
        {
            let mut ours = self.datapath.lock().unwrap_or_else(PoisonError::into_inner);
            ours.publish(&made)?;
        }
        for name in kind.others {
            self.set_up(name, kind);
        }
        let frame = frame(PORT, kind.for_server);
        self.give_orders(kind, &frame)?;
        let run = |stand: &Stand| stand.send(&frame, settings.packets);
        let mut contenders = vec![Contender::new(OURS, || run(&self.ours))];
        let mut missing = Vec::new();
        for name in kind.others {
            match self.others.iter().find(|(known, limit, _)| known == name && *limit == kind.limit) {
                Some((_, _, Ok(stand))) => contenders.push(Contender::new(name, || run(stand))),
                Some((_, _, Err(why))) => missing.push((*name, why.clone())),
                None => missing.push((*name, "it was not set up".to_owned())),
            }
        }
        let rounds = take_turns(settings.rounds, Contender::new("empty", || run(&self.drops)), contenders)?;
        let finding = if kind.gross {
            Finding::gross(kind.name, &rounds, OURS)
        } else {
            Finding::net(kind.name, &rounds, OURS)
        };
        let aim = |finding: Finding, &(target, against, bound): &(_, _, f64)| {
            finding.aiming(target, Some(against), Bound::AtLeast(bound))
        };
        Ok(kind.aims.iter().fold(finding.without(missing), aim))
    }

    /// Has all get the sources of this case. Those that are known by number send twice before it
    /// counts, so that their buckets are there, and empty where the limit is tight.
    fn give_orders(&mut self, kind: &Kind, frame: &[u8]) -> Result<()> {
        let others = self
            .others
            .iter_mut()
            .filter(|(name, limit, _)| kind.others.contains(name) && *limit == kind.limit);
        let others = others.filter_map(|(_, _, stand)| stand.as_mut().ok());
        for stand in [&mut self.drops, &mut self.ours].into_iter().chain(others) {
            if kind.orders.choice == Choice::Pool as u64 {
                stand.order(Orders { choice: Choice::Turn as u64, ..kind.orders })?;
                stand.send(frame, u32::try_from(kind.orders.count * 2)?)?;
            }
            stand.order(kind.orders)?;
        }
        Ok(())
    }

    /// Makes one who filters, unless it is there.
    fn set_up(&mut self, name: &'static str, kind: &Kind) {
        if !self.others.iter().any(|(known, limit, _)| *known == name && *limit == kind.limit) {
            let stand = self.make(name, kind).map_err(|error| format!("{error:#}"));
            self.others.push((name, kind.limit, stand));
        }
    }

    fn make(&self, name: &str, kind: &Kind) -> Result<Stand> {
        if name == NO_OP {
            return Stand::empty("empty_pass");
        }
        let mut stand = Stand::new()?;
        let server = &stand.pair.server;
        match name {
            IPSET => peers::ipset(server, &self.disjoint)?,
            NFT_SET => peers::nft_set(server, &self.disjoint)?,
            HASHLIMIT => peers::hashlimit(server, kind.limit)?,
            NFT_LIMIT => peers::nft_limit(server, kind.limit)?,
            XDP_FILTER => {
                let hosts: Vec<_> = (0..HOSTS).map(|n| kind.orders.list.prefix(n).0).collect();
                peers::xdp_filter(server, &hosts)?;
            }
            TEXTBOOK => {
                let mut textbook = Textbook::new(TEXTBOOK_BUCKETS)?;
                textbook.list(&self.entries)?;
                textbook.limit(kind.limit)?;
                stand.attach(textbook.into_ebpf(), TEXTBOOK)?;
            }
            other => bail!("nobody knows {other}"),
        }
        Ok(stand)
    }
}
