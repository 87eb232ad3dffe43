//! One source: how much of what it offers is admitted.

use weir_common::{addr::Address, gcra::Profile};

use crate::{Limiter, oracle::Exact, random::Random};

#[derive(Clone, Copy, Debug)]
enum Arrivals {
    Even,
    Poisson,
}

#[test]
fn probe() {
    let mut random = Random(1);
    for rate in [1.0, 3.0, 100.0, 1000.0, 77_777.0, 1e6, 1e7] {
        for burst in [1u64, 10, 100, 10_000] {
            if burst as f64 / rate > 3600.0 { continue; }
            for load in [0.5, 0.9, 1.0, 1.1, 2.0, 10.0] {
                for tick in [1u64, 1000, 4000, 10_000] {
                    for arrivals in [Arrivals::Even, Arrivals::Poisson] {
                        let mut limiter = Limiter::new(Profile::new(rate, burst).unwrap(), tick);
                        let mut exact = Exact::new(rate, burst);
                        let gap = 1e6 / (rate * load);
                        let n = ((5.0 * tick as f64 / gap) as u64).clamp(30_000, 400_000);
                        let start = 1e9 + random.below(100_000) as f64;
                        let mut now = start;
                        let (mut ours, mut want) = (0u64, 0u64);
                        let mut worst = 0f64;
                        for _ in 0..n {
                            now += match arrivals {
                                Arrivals::Even => gap,
                                Arrivals::Poisson => -gap * (1.0 - random.below(1 << 53) as f64 / (1u64 << 53) as f64).ln(),
                            };
                            ours += u64::from(limiter.admits(Address::V4(7), now as u64));
                            want += u64::from(exact.admits(now));
                            worst = worst.max(ours as f64 - burst as f64 - (now - start + tick as f64 + 1.5) * rate / 1e6);
                        }
                        let ideal = (n as f64).min(burst as f64 + (now - start) * rate / 1e6);
                        println!("{rate:>9} b {burst:>5} x{load:<3} tick {tick:>5} {arrivals:?}\t n {n} ours {ours} exact {want} {:+.4} ideal {:+.4} over {worst:.2}",
                            ours as f64 / want as f64 - 1.0, ours as f64 / ideal - 1.0);
                    }
                }
            }
        }
    }
}
