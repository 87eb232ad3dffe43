use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use weir_common::{
    addr::Address,
    control::Global,
    gcra::{self, Whose},
    limit::{self, PROFILE_NAMES},
    map::VALVE_LINES,
};
use weir_ebpf::{Case, World, judge};

use super::{Debtor, Table, Valve, name};
use crate::{
    explain::{BucketState, find_pace, packet},
    record::LimitRecord,
};

/// Lines after which it is looked at the clock.
const BETWEEN: u32 = 1 << 14;
const BUCKETS: u64 = 8;
const LINE_BYTES: u64 = 64;
/// Slack of debts, in µs: two ticks of the slowest clock, by which the kernel may be ahead.
const SLACK: f64 = 20_000.0;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) table: Table,
    pub(super) valve: Valve,
    /// By the number of the limit.
    pub(super) owing: Vec<Owing>,
    pub(super) debtors: Vec<Debtor>,
}

/// Sources that owe to a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owing {
    pub(super) sources: u64,
    pub(super) over: u64,
}

/// A debt, by the share of the default burst that it is.
#[derive(Clone, Copy, Debug)]
struct Debt {
    share: f64,
    limit: usize,
    network: u32,
    owed: u64,
}

impl PartialEq for Debt {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Debt {}

impl PartialOrd for Debt {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Debt {
    fn cmp(&self, other: &Self) -> Ordering {
        self.share.total_cmp(&other.share).then(other.network.cmp(&self.network))
    }
}

/// Looks at all buckets, for as long as `patience` lasts. Addresses lie in the table without any order, so
/// what is seen of it till then is a fair sample.
pub(super) fn scan<W: World>(
    world: &W,
    global: &Global,
    limits: &[LimitRecord],
    top: usize,
    patience: Duration,
) -> Found {
    let (started, now) = (Instant::now(), world.coarse());
    let lines = 1u32 << global.limiter_bits.min(31);
    let mut table = Table {
        bytes: u64::from(lines) * LINE_BYTES,
        buckets: u64::from(lines) * BUCKETS,
        lines: u64::from(lines),
        ..Table::default()
    };
    let mut places = vec![None; limit::CAPACITY as usize];
    for (at, limit) in limits.iter().enumerate() {
        if let Some(place) = places.get_mut(usize::from(limit.number)) {
            *place = Some(at);
        }
    }
    let mut owing = vec![Owing::default(); limit::CAPACITY as usize];
    let mut largest = BinaryHeap::new();
    let mut looked = 0;
    for index in 0..lines {
        if index % BETWEEN == 0 && started.elapsed() > patience {
            break;
        }
        let Some(look) = gcra::look(world, global, index, now) else { break };
        looked += 1;
        if look.owing == 0 {
            continue;
        }
        table.full_lines += u64::from(u64::from(look.owing) == BUCKETS);
        for debtor in look.debtors.into_iter().flatten() {
            let Whose::V4 { limit: number, network } = debtor.whose else {
                table.owing += 1;
                table.ipv6_owing += 1;
                continue;
            };
            let known = places.get(usize::from(number)).copied().flatten();
            let Some((at, limit)) = known.and_then(|at| Some((at, limits.get(at)?))) else { continue };
            // Of a turn of the clock ago: it owes nothing.
            if !may_owe(limit, debtor.owed) {
                continue;
            }
            table.owing += 1;
            let pace = find_pace(limit, limit::DEFAULT);
            let over = BucketState::of(limit, pace, debtor.owed).over;
            if let Some(owing) = owing.get_mut(usize::from(number)) {
                owing.sources += 1;
                owing.over += u64::from(over);
            }
            #[expect(clippy::cast_precision_loss, reason = "at most 71 minutes in µs, and an hour's burst")]
            let share = debtor.owed as f64 * pace.rate / 1e6 / pace.burst.max(1) as f64;
            largest.push(Reverse(Debt { share, limit: at, network, owed: debtor.owed }));
            if largest.len() > top {
                largest.pop();
            }
        }
    }
    table.looked_at = f64::from(looked) / f64::from(lines);
    let valve = Valve { buckets: VALVE_LINES * 8, owing: gcra::valves_in_use(world, now), packets: 0 };
    let largest = largest.into_sorted_vec();
    let debtors = largest.iter().filter_map(|Reverse(debt)| told(world, limits, debt)).collect();
    Found { table, valve, owing, debtors }
}

/// Returns true unless no source can owe that much to a limit.
fn may_owe(limit: &LimitRecord, owed: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a burst is earned within an hour")]
    let longest =
        limit.paces.iter().map(|pace| (pace.burst + 1) as f64 / pace.rate * 1e6).fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "at most 71 minutes in µs")]
    let owed = owed as f64;
    owed <= longest * 1.01 + SLACK
}

/// Returns a debtor in words, by the profile that its source has now.
fn told(world: &impl World, limits: &[LimitRecord], debt: &Debt) -> Option<Debtor> {
    let limit = limits.get(debt.limit)?;
    let mut case = Case::OPEN;
    if limit.ipv4_prefix != 0 {
        judge(world, &packet::from(Address::V4(debt.network), None).as_slice(), &mut case);
    }
    let profile = case.listing.profile;
    let pace = find_pace(limit, profile);
    let state = BucketState::of(limit, pace, debt.owed);
    Some(Debtor {
        source: name(limit, debt.network),
        limit: limit.name.clone(),
        used: state.used,
        burst: pace.burst,
        over: state.over,
        admitted_in: state.admitted_in,
        profile: PROFILE_NAMES.get(usize::from(profile)).copied().unwrap_or("unknown"),
    })
}

#[cfg(test)]
mod tests {
    use weir_common::{
        gcra::{Bounds, Key, Profile},
        heap::Heap,
        limit::Scope,
        map::Sizes,
    };

    use super::*;
    use crate::{config::Enforce, record::PaceRecord};

    fn limit(number: u8, name: &str, rate: f64, burst: u64, ipv4_prefix: u8) -> LimitRecord {
        LimitRecord {
            number,
            name: name.to_owned(),
            service: Some("https".to_owned()),
            dimension: "packets".to_owned(),
            paces: [PaceRecord { rate, burst }; 3],
            ipv4_prefix,
            ipv6_prefix: 64,
            soft: 0,
            enforce: Enforce::Enforce,
        }
    }

    #[test]
    fn the_largest_debtors_come_first_by_name() {
        let (heap, now) = (Heap::started(Sizes::MIN, 1_000_000_000), 1_000_000_000);
        heap.set_clock(now, 1);
        let global = Global::load(&heap).unwrap();
        let limits = [limit(3, "each", 10.0, 100, 32), limit(9, "nets", 1.0, 10, 24)];
        let spend = |limit: &LimitRecord, source: Address, packets: u32| {
            let profile = Profile::new(limit.paces[0].rate, limit.paces[0].burst).unwrap();
            let scope = Scope { v4_bits: limit.ipv4_prefix, v6_bits: limit.ipv6_prefix };
            for _ in 0..packets {
                let place = Key::new(&global, source, limit.number, scope).place(&heap);
                let bounds = Bounds::of(profile);
                gcra::charge(&heap, &heap, &global, place, profile.cost(1), bounds);
            }
        };
        spend(&limits[0], Address::V4(0xc000_0207), 50);
        spend(&limits[0], Address::V4(0xc000_0208), 200);
        spend(&limits[1], Address::V4(0xc633_6407), 3);
        spend(&limits[0], Address::V6(weir_common::addr::V6 { high: 1, low: 1 }), 5);
        let found = scan(&heap, &global, &limits, 2, Duration::from_mins(1));
        let told: Vec<_> = found.debtors.iter().map(|it| (it.source.as_str(), it.used, it.over)).collect();
        assert_eq!(told, [("192.0.2.8", 100.0, true), ("192.0.2.7", 50.0, false)]);
        assert_eq!((found.table.owing, found.table.ipv6_owing, found.table.full_lines), (4, 1, 0));
        assert_eq!((found.owing[3].sources, found.owing[3].over, found.owing[9].sources), (2, 1, 1));
        let all = scan(&heap, &global, &limits, 10, Duration::from_mins(1));
        assert_eq!(all.debtors[2].source, "198.51.100.0/24");
        let none = scan(&heap, &global, &limits, 10, Duration::ZERO);
        assert!(none.table.looked_at < 0.2, "{:?}", none.table);
    }
}
