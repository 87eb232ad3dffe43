//! Many sources in one small table: offenders keep their debt whatever passes by.

use weir_common::{addr::Address, gcra::Charge};

use crate::{Limiter, oracle::Exact, random::Random};

const OFFENDERS: u32 = 100_000;
const SECONDS: u64 = 2;
const RATE: f64 = 10.0;

/// What the flood came to, in packets.
#[derive(Debug, Default)]
struct Tally {
    /// Of offenders, admitted by exact GCRA.
    exact: u64,
    /// Of offenders, admitted by their own buckets.
    own: u64,
    /// The most that one of them got by its own.
    most: u32,
    /// Of offenders, admitted and refused by shared buckets.
    shared: [u64; 2],
    /// Of new sources, sent to shared buckets.
    newcomers_shared: u64,
}

/// 100k sources at twice their limit, and three times as many packets from sources that were never
/// seen before: enough that one line in six is full of debtors.
fn flood(burst: u64) -> Tally {
    let mut random = Random(21);
    let mut limiter = Limiter::new(RATE, burst, 1000);
    let mut exact = vec![Exact::new(RATE, limiter.profile.tolerance as f64); OFFENDERS as usize];
    let mut own = vec![0u32; OFFENDERS as usize];
    let mut tally = Tally::default();
    let start = 5_000_000;
    for now in start..start + SECONDS * 1_000_000 {
        // Two offenders a µs: each every 50 ms.
        for i in [0, 1] {
            let offender = ((now - start) * 2 + i) as u32 % OFFENDERS;
            tally.exact += u64::from(exact[offender as usize].admits(now as f64));
            match limiter.offer(Address::V4(0x0a00_0000 + offender), now) {
                Charge::Admitted | Charge::Near => own[offender as usize] += 1,
                Charge::Over => {}
                Charge::Valve { admitted } => {
                    tally.shared[usize::from(!admitted)] += 1;
                    assert!(
                        limiter.debts_of_last_line().iter().all(|debt| *debt > 0),
                        "a shared bucket with room left"
                    );
                }
            }
        }
        // The flood starts once the offenders are known.
        for _ in 0..if now > start + 100_000 { 6 } else { 0 } {
            let newcomer = Address::V4(0x8000_0000 | random.next() as u32);
            if matches!(limiter.offer(newcomer, now), Charge::Valve { .. }) {
                tally.newcomers_shared += 1;
                assert!(
                    limiter.debts_of_last_line().iter().all(|debt| *debt > 0),
                    "a shared bucket with room left"
                );
            }
        }
    }
    tally.own = own.iter().map(|admitted| u64::from(*admitted)).sum();
    tally.most = own.into_iter().max().unwrap();
    tally
}

#[test]
fn a_flood_of_new_sources_frees_no_offender() {
    let tally = flood(5);
    println!("{tally:?}");
    assert_eq!(
        tally.most,
        5 + (RATE * SECONDS as f64) as u32 - 1,
        "burst and rate, the first packet being at 0"
    );
    assert_eq!(tally.own, tally.exact);
    assert!(tally.newcomers_shared > 100_000);
}

/// Without a burst an offender owes nothing when its time comes, and may find its place taken: then
/// it is a new source like others, and has to share.
#[test]
fn a_source_that_owes_nothing_may_lose_its_place_but_wins_nothing() {
    let tally = flood(1);
    println!("{tally:?}");
    assert!(f64::from(tally.most) <= 1.0 + RATE * (SECONDS as f64 + 0.001), "{tally:?}");
    let admitted = tally.own + tally.shared[0];
    assert!(admitted as f64 <= 1.01 * tally.exact as f64, "{tally:?}");
    assert!(admitted as f64 >= 0.99 * tally.exact as f64, "{tally:?}");
}

/// IPv6 sources share the bucket of their network, IPv4 sources do not.
#[test]
fn a_64_is_one_source() {
    let mut limiter = Limiter::new(1.0, 3, 1);
    let address = |high: u64, low: u64| Address::V6(weir_common::addr::V6 { high, low });
    let high = 0x2001_0db8_0000_0001;
    let admitted = (0..10).filter(|low| limiter.admits(address(high, *low), 1_000_000)).count();
    assert_eq!(admitted, 3);
    assert!(limiter.admits(address(high + 1, 0), 1_000_000), "the next /64 has its own");
    for source in 0..10 {
        assert!(limiter.admits(Address::V4(0x0a00_0000 + source), 1_000_000));
    }
}
