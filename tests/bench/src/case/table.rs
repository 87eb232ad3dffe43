//! The reputation lookup alone, beside the kernel's trie: `table.v4.*`, `table.v6.*`.

use anyhow::{Context as _, Result, ensure};
use rustc_hash::FxHashSet;
use weir::datapath::Datapath;
use weir_bench_ebpf::source::{Choice, List, Orders, State, V6_LENGTHS, v6_any, v6_listed};
use weir_common::{
    addr::{Address, V6, network_v4},
    class::NONE,
    control::{self, Policy},
    table,
};
use weir_tests::{frame::Frame, namespace::Pair};

use super::Settings;
use crate::{
    data,
    driver::Driver,
    finding::{Bound, Finding},
    ours::{Made, Ours, PORT},
    rounds::{Contender, take_turns},
    textbook::Textbook,
};

/// Lookups of each kind that must agree with the oracle.
const CHECKED: u32 = 1_000_000;
const OURS: &str = "ours";
const TRIE: &str = "LPM_TRIE";
const SORTED: &str = "LPM_TRIE of a sorted list";

/// What is looked up, with which programs, and what is aimed at.
struct Kind {
    name: &'static str,
    choice: Choice,
    ours: &'static str,
    trie: &'static str,
    listed: bool,
    target: f64,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "table.v4.hit",
        choice: Choice::Listed,
        ours: "lookup_v4",
        trie: "lpm_v4",
        listed: true,
        target: 15.0,
    },
    Kind {
        name: "table.v4.miss",
        choice: Choice::Unlisted,
        ours: "lookup_v4",
        trie: "lpm_v4",
        listed: false,
        target: 40.0,
    },
    Kind {
        name: "table.v6.hit",
        choice: Choice::V6Listed,
        ours: "lookup_v6",
        trie: "lpm_v6",
        listed: true,
        target: 10.0,
    },
    Kind {
        name: "table.v6.miss",
        choice: Choice::V6Any,
        ours: "lookup_v6",
        trie: "lpm_v6",
        listed: false,
        target: 20.0,
    },
];

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let list = List::of(settings.prefixes);
    let entries = data::entries(list, settings.prefixes);
    let made = Made::new(entries.clone(), None)?;
    let ours = Ours::new(&made, 17)?;
    check(&ours.datapath, &entries, list, settings.prefixes)
        .context("ours is wrong, so its speed is none")?;
    // Where the trie has its nodes follows from the order in which they came, and a list may be sorted.
    let (mut textbook, mut sorted) = (Textbook::new(1024)?, Textbook::new(1024)?);
    textbook.list(&entries)?;
    sorted.list(&data::sorted(&entries))?;
    KINDS.iter().map(|kind| measure(settings, kind, list, &ours, [&mut textbook, &mut sorted])).collect()
}

fn measure(
    settings: &Settings,
    kind: &Kind,
    list: List,
    ours: &Ours,
    [textbook, sorted]: [&mut Textbook; 2],
) -> Result<Finding> {
    let orders = Orders { choice: kind.choice as u64, count: settings.prefixes, list, ..Orders::default() };
    let frame = frame(kind.choice);
    let driver = |mut driver: Driver| -> Result<Driver> {
        driver.order(orders, 1)?;
        Ok(driver)
    };
    let empty = driver(Driver::empty()?)?;
    let table = driver(Driver::new(&ours.lookup(kind.ours)?)?)?;
    let trie = driver(Driver::new(&textbook.program(kind.trie)?)?)?;
    let sorted = driver(Driver::new(&sorted.program(kind.trie)?)?)?;
    for (who, driver) in [(OURS, &table), (TRIE, &trie), (SORTED, &sorted)] {
        let dropped = driver.dropped(&frame, 200)?;
        let right = if kind.listed { dropped > 0.999 } else { dropped < 0.02 };
        ensure!(right, "{}: {who} takes {dropped} of the sources for listed", kind.name);
    }
    let run = |driver: &Driver| Ok(driver.run(&frame, settings.packets)?.ns);
    let rounds = take_turns(
        settings.rounds,
        Contender::new("empty", || run(&empty)),
        vec![
            Contender::new(OURS, || run(&table)),
            Contender::new(TRIE, || run(&trie)),
            Contender::new(SORTED, || run(&sorted)),
        ],
    )?;
    Ok(Finding::net(kind.name, &rounds, OURS).aiming("P1", Some(TRIE), Bound::AtLeast(kind.target)))
}

fn frame(choice: Choice) -> Vec<u8> {
    let frame = match choice {
        Choice::V6Listed | Choice::V6Any => Frame::new().ipv6(Pair::CLIENT.v6, Pair::SERVER.v6),
        Choice::Fixed | Choice::Listed | Choice::Unlisted | Choice::Pool | Choice::Turn | Choice::Hosts => {
            Frame::new().ipv4(Pair::CLIENT.v4, Pair::SERVER.v4)
        }
    };
    frame.udp(4000, PORT).payload(&[0; 18]).build()
}

/// Compares a million listed and a million other addresses with a set of prefixes for each length.
fn check(datapath: &Datapath, entries: &weir::feed::Entries, list: List, v6: u64) -> Result<()> {
    let memory = datapath.memory();
    let generation = control::generation(memory);
    let policy = Policy::load(memory, generation).context("no policy")?;
    let found = |address| table::lookup(memory, generation, &policy, address) != NONE;
    let v4_set: FxHashSet<(u32, u8)> = entries.v4.iter().copied().collect();
    let v6_set: FxHashSet<(V6, u8)> = entries.v6.iter().copied().collect();
    let in_v4 = |address: u32| {
        let within = |length: u8| v4_set.contains(&(network_v4(address, u32::from(length)), length));
        [20, 24, 32].into_iter().any(within)
    };
    let in_v6 = |address: V6| {
        let within = |length: u8| v6_set.contains(&(address.network(u32::from(length)), length));
        V6_LENGTHS.into_iter().any(|(length, _)| within(length))
    };
    let mut state = State { random: 7, ..State::default() };
    for _ in 0..CHECKED {
        let random = state.draw();
        #[expect(clippy::cast_possible_truncation, reason = "32 random bits of 64")]
        for address in [list.listed(random), random as u32] {
            let (want, got) = (in_v4(address), found(Address::V4(address)));
            ensure!(want == got, "{}: listed {want}, found {got}", std::net::Ipv4Addr::from_bits(address));
        }
        for (high, low) in [v6_listed(v6, random), v6_any(random)] {
            let address = V6 { high, low };
            let (want, got) = (in_v6(address), found(Address::V6(address)));
            ensure!(want == got, "{}: listed {want}, found {got}", std::net::Ipv6Addr::from(address));
        }
    }
    Ok(())
}
