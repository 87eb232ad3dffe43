//! Whole programs, beside the textbook program: `verdict.*`.

use anyhow::{Result, ensure};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_tests::{frame::Frame, namespace::Pair};

use super::Settings;
use crate::{
    data,
    driver::Driver,
    finding::{Bound, Finding},
    ours::{Limit, Made, Ours, PORT},
    rounds::{Contender, take_turns},
    textbook::Textbook,
};

const OURS: &str = "ours";
const TEXTBOOK: &str = "textbook";
/// 128 MB of buckets.
const LIMITER_BITS: u32 = 21;
/// Sources that the textbook program can remember.
const TEXTBOOK_BUCKETS: u32 = 1 << 20;
const TARGET: f64 = 8.0;

/// What is sent, under which limit, and which part of it must be dropped.
struct Kind {
    name: &'static str,
    choice: Choice,
    sources: u64,
    limit: Limit,
    /// Each source sends once before it counts, so that its bucket is there.
    filled: bool,
    dropped: std::ops::RangeInclusive<f64>,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "verdict.listed",
        choice: Choice::Listed,
        sources: 0,
        limit: Limit::per_second(100, 200),
        filled: false,
        dropped: 1.0..=1.0,
    },
    Kind {
        name: "verdict.spoofed",
        choice: Choice::Unlisted,
        sources: 0,
        limit: Limit::per_second(100, 200),
        filled: false,
        dropped: 0.0..=0.0,
    },
    Kind {
        name: "verdict.sources8m",
        choice: Choice::Pool,
        sources: 8_000_000,
        limit: Limit { packets: 6, seconds: 60, burst: 300 },
        filled: true,
        dropped: 0.0..=0.0,
    },
    Kind {
        name: "verdict.hot",
        choice: Choice::Pool,
        sources: 1024,
        limit: Limit { packets: 1, seconds: 3600, burst: 1 },
        filled: true,
        dropped: 0.99..=1.0,
    },
];

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let list = List::of(settings.prefixes);
    let entries = data::entries(list, 0);
    let made = Made::new(entries.clone(), None)?;
    let mut ours = Ours::new(&made, LIMITER_BITS)?;
    let mut textbook = Textbook::new(TEXTBOOK_BUCKETS)?;
    textbook.list(&entries)?;
    let mut findings = Vec::new();
    for kind in &KINDS {
        let made = Made::new(entries.clone(), Some(kind.limit))?;
        ours.publish(&made)?;
        textbook.limit(kind.limit)?;
        findings.push(measure(settings, kind, list, &ours, &mut textbook)?);
    }
    Ok(findings)
}

fn measure(
    settings: &Settings,
    kind: &Kind,
    list: List,
    ours: &Ours,
    textbook: &mut Textbook,
) -> Result<Finding> {
    let frame = Frame::new().ipv4(Pair::CLIENT.v4, Pair::SERVER.v4).udp(4000, PORT).payload(&[0; 18]).build();
    let orders = Orders { choice: kind.choice as u64, count: kind.sources, list, ..Orders::default() };
    let mut empty = Driver::empty()?;
    let mut own = Driver::new(&ours.program()?)?;
    let mut other = Driver::new(&textbook.program("textbook")?)?;
    if kind.filled {
        for driver in [&mut own, &mut other] {
            driver.order(Orders { choice: Choice::Turn as u64, ..orders }, 1)?;
            driver.run(&frame, u32::try_from(kind.sources)?)?;
        }
    }
    for driver in [&mut empty, &mut own, &mut other] {
        driver.order(orders, 1)?;
    }
    let run = |driver: &Driver| Ok(driver.run(&frame, settings.packets)?.ns);
    let rounds = take_turns(
        settings.rounds,
        Contender::new("empty", || run(&empty)),
        vec![Contender::new(OURS, || run(&own)), Contender::new(TEXTBOOK, || run(&other))],
    )?;
    for (who, driver) in [(OURS, &own), (TEXTBOOK, &other)] {
        let dropped = driver.dropped(&frame, 200)?;
        ensure!(kind.dropped.contains(&dropped), "{}: {who} drops {dropped} of the packets", kind.name);
    }
    Ok(Finding::net(kind.name, &rounds, OURS).aiming("P2", Some(TEXTBOOK), Bound::AtLeast(TARGET)))
}
