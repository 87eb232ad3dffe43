/// The list.
mod history;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use weir::{
    config::Config,
    feed::{Feed, store::Store, worker::Worker},
    policy::{
        Policy,
        classes::Classes,
        compile::{self, Demand},
        generations::{Generations, InForce, Next, Way},
        limits::LimitNumbers,
    },
};
use weir_common::{
    addr::{Address, V6},
    class::Action,
    control::{self, Seed},
    heap::Heap,
    line::Memory as _,
    map::{Map, Sizes},
    table,
};
use weir_tests::{
    machine,
    namespace::Pair,
    peers,
    ranges::{self, Ranges},
    web::{Answer, Body, Server},
};

use self::history::{History, Prefix};
use super::stand::{PACKETS, deliver, entries, refresh, started, value, wait};

const SEED: u64 = 2026;
/// Three a day, half a year long.
const VERSIONS: u32 = 3 * 180;
const ENTRIES: usize = 15_000;
/// One in so many is compared with iprange.
const COMPARED_ONE_IN: u32 = 30;
/// After this one a third of the list is another.
const TURN: u32 = 250;
/// After these the agent is another.
const RESTARTS: [u32; 2] = [100, 401];
/// In the middle of the list, and never to be dropped.
const ALLOWED: &str = "11.4.0.0/14";

/// What should be enforced of a text: lines are taken apart here once more.
#[derive(Clone, Default)]
struct Oracle {
    v4: Ranges,
    v6: Ranges,
    allowed: Ranges,
}

impl Oracle {
    fn of(text: &str) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let words = line.split('#').next().unwrap_or_default().trim();
            let (address, length) = words.split_once('/').unwrap_or((words, ""));
            if let Ok(address) = address.parse::<Ipv4Addr>() {
                v4.push(range(address.to_bits().into(), length.parse().unwrap_or(32), 32));
            } else if let Ok(address) = address.parse::<Ipv6Addr>() {
                v6.push(range(address.to_bits(), length.parse().unwrap_or(128), 128));
            }
        }
        let (address, length) = ALLOWED.split_once('/').unwrap();
        let allowed =
            range(address.parse::<Ipv4Addr>().unwrap().to_bits().into(), length.parse().unwrap(), 32);
        Self { v4: Ranges::union(v4), v6: Ranges::union(v6), allowed: Ranges::union([allowed]) }
    }

    fn drops(&self, v6: bool, address: u128) -> bool {
        if v6 { self.v6.contain(address) } else { self.v4.contain(address) && !self.allowed.contain(address) }
    }
}

fn range(network: u128, length: u8, width: u8) -> (u128, u128) {
    (network, ranges::last(network, length, width))
}

/// The agent from the source to the tables, without a kernel.
struct Stand {
    runtime: Runtime,
    directory: TempDir,
    config: Config,
    worker: Worker,
    heap: Heap,
    sizes: Sizes,
    generations: Generations,
    classes: Classes,
    in_force: Option<InForce>,
    ways: Vec<Way>,
}

impl Stand {
    fn new(server: &Server) -> Self {
        let text = format!(
            "interfaces: [{{name: eth0}}]\nenforce: enforce\nallow: [{ALLOWED}]\nfeeds:\n  - {}\n",
            feed(server)
        );
        let config = Config::parse(Path::new("weir.yaml"), &text).unwrap();
        let directory = TempDir::new().unwrap();
        let worker = worker(&config, directory.path());
        let room = ENTRIES as u64 * 2;
        let sizes = compile::sizes(Demand { v4: room, v6: room }, 17);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            runtime,
            directory,
            config,
            worker,
            heap: Heap::new(sizes),
            sizes,
            generations: Generations::default(),
            classes: Classes::default(),
            in_force: None,
            ways: Vec::new(),
        }
    }

    /// Asks for the list and puts in force what has come of it.
    fn refresh(&mut self) -> &Feed {
        if self.runtime.block_on(self.worker.refresh()) {
            self.publish();
        }
        self.worker.feed()
    }

    fn publish(&mut self) {
        let feeds = std::slice::from_ref(self.worker.feed());
        let policy = Policy::new(&self.config, feeds, &[], &mut LimitNumbers::default());
        let (merged, delta) =
            InForce::merge(self.in_force.as_ref(), &policy.lists, &mut self.classes).unwrap();
        let line = self.heap.line(Map::Control, 0).unwrap();
        let generation = 1 - control::generation(&self.heap);
        let next = Next { policy: &policy, merged: &merged, classes: &self.classes, delta: delta.as_ref() };
        let seed = Seed(SEED, control::publications(line));
        let way = self.generations.write(&self.heap, generation, self.sizes, seed, &next).unwrap();
        control::publish(line, generation);
        let publication = control::publications(line);
        self.generations.published(publication, delta.as_ref());
        self.in_force = Some(InForce { publication, lists: policy.lists, merged });
        self.ways.push(way);
    }

    /// Begins anew with what is on disk, and with tables of which nothing is known.
    fn restart(&mut self) {
        self.worker = worker(&self.config, self.directory.path());
        (self.generations, self.in_force) = (Generations::default(), None);
        self.publish();
    }

    fn drops(&self, (generation, policy): (u32, &control::Policy), v6: bool, address: u128) -> bool {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap();
        let address = if v6 {
            Address::V6(V6 { high: half(address >> 64), low: half(address) })
        } else {
            Address::V4(u32::try_from(address).unwrap())
        };
        let class = table::lookup(&self.heap, generation, policy, address);
        self.classes.get(class).is_some_and(|spec| spec.action == Action::Drop)
    }

    /// Asks for both sides of all borders of these prefixes.
    fn check(&self, what: &str, oracle: &Oracle, prefixes: &BTreeSet<Prefix>) {
        let generation = control::generation(&self.heap);
        let policy = control::Policy::load(&self.heap, generation).unwrap();
        for prefix in prefixes {
            let (first, last) = (prefix.bits, prefix.last());
            for address in [first.saturating_sub(1), first, last, last + 1] {
                let want = oracle.drops(prefix.v6, address);
                assert_eq!(
                    self.drops((generation, &policy), prefix.v6, address),
                    want,
                    "{what}: {prefix:x?} at {address:x}"
                );
            }
        }
    }
}

fn feed(server: &Server) -> String {
    let url = server.url("/list");
    format!(
        "{{name: list, url: '{url}', action: drop, interval: 1s, http: {{insecure: true, private: true}}}}"
    )
}

fn worker(config: &Config, state: &Path) -> Worker {
    Worker::new(Arc::new(config.feeds[0].clone()), Store::new(state))
}

/// What may go wrong with a version, and what is then said.
fn fault(version: u32, text: &str) -> Option<(Answer, &'static str)> {
    let bytes = || text.as_bytes().to_vec();
    Some(match version % 12 {
        2 => (Answer::status(503), "status"),
        4 => (Answer::ok("").body(Body::Cut(bytes()[..1000].to_vec(), text.len())), "protocol"),
        // Whole as HTTP has it, and half of what its head says.
        6 => (Answer::ok(bytes()[..text.len() / 2].to_vec()), "truncated"),
        8 => (Answer::ok("<!DOCTYPE html><html><body>maintenance</body></html>"), "format"),
        10 => (Answer::ok(text.lines().skip(2).take(500).collect::<Vec<_>>().join("\n")), "shrink"),
        _ => return None,
    })
}

#[test]
fn months_of_a_list_are_enforced_day_by_day() {
    let server = Server::start(None).unwrap();
    let mut history = History::new(SEED, ENTRIES);
    let mut stand = Stand::new(&server);
    let (mut oracle, mut known) = (Oracle::default(), BTreeSet::new());
    // A guest is emulated, and has no time for all of it.
    let versions = if machine::is_own() { VERSIONS / 10 } else { VERSIONS };
    for version in 0..versions {
        let text = history.text();
        let prefixes: BTreeSet<_> = history.prefixes().collect();
        let both: BTreeSet<_> = known.union(&prefixes).copied().collect();
        if let Some((answer, cause)) = fault(version, &text) {
            server.answer("/list", answer);
            let refusal = stand.refresh().state.refusal.clone().unwrap();
            assert_eq!(refusal.cause, cause, "version {version}: {}", refusal.message);
            stand.check(&format!("version {version}, {cause}"), &oracle, &both);
        }
        oracle = Oracle::of(&text);
        server.list("/list", text.clone());
        let feed = stand.refresh();
        assert_eq!(feed.state.refusal, None, "version {version}");
        assert_eq!(feed.listing.entries.len(), prefixes.len(), "version {version}");
        // Yesterversion's are asked for as well: what has gone is gone.
        stand.check(&format!("version {version}"), &oracle, &both);
        stand.refresh();
        if RESTARTS.contains(&version) {
            stand.restart();
            stand.check(&format!("version {version}, after a restart"), &oracle, &both);
        }
        if version % COMPARED_ONE_IN == 0 {
            compare(&oracle, &text);
        }
        known = prefixes;
        match version {
            TURN => history.turn(),
            // Two in the small hours, and the rest of the day.
            _ => history.pass(if version % 3 == 0 { 22 } else { 1 }),
        }
    }
    assert_eq!(server.count("/list", 304), usize::try_from(versions).unwrap(), "the same is not sent twice");
    let changes = stand.ways.iter().filter(|way| **way == Way::Change).count();
    println!("{changes} of {} publications were changes; {} entries at last", stand.ways.len(), known.len());
    assert!(changes > stand.ways.len() / 4, "{:?}", stand.ways);
}

fn compare(oracle: &Oracle, text: &str) {
    let v4: Vec<_> = text.lines().filter(|line| !line.contains(':')).collect();
    match peers::iprange(&(v4.join("\n") + "\n")).unwrap() {
        Some(theirs) => assert_eq!(oracle.v4, theirs),
        None => peers::missing("replay::months_of_a_list_are_enforced_day_by_day", "iprange"),
    }
}

/// Some of it through the whole agent, and an agent that is killed in between.
#[test]
fn some_versions_in_the_kernel() {
    let pair = Pair::new().unwrap();
    let server = Server::start(Some(&pair.server)).unwrap();
    let mut history = History::new(SEED + 1, ENTRIES);
    server.list("/list", history.text());
    let mut agent = started(&pair, &[&feed(&server)]);
    let mut known = BTreeSet::new();
    for version in 0..8 {
        let text = history.text();
        let oracle = Oracle { allowed: Ranges::default(), ..Oracle::of(&text) };
        let prefixes: BTreeSet<_> = history.prefixes().collect();
        let published = value(&agent, "weir_policy_publications_total", &[]);
        server.list("/list", text);
        refresh(&agent, "list");
        wait(&agent, "the version is in force", |agent| {
            entries(agent, "list") == prefixes.len()
                && (version == 0 || value(agent, "weir_policy_publications_total", &[]) > published)
        });
        // What is different, and some of the rest.
        let different: Vec<_> = known.symmetric_difference(&prefixes).collect();
        let rest = prefixes.iter().step_by(150);
        let some = different.iter().step_by(different.len() / 1000 + 1).copied().chain(rest);
        let borders = some
            .filter(|prefix: &&Prefix| !prefix.v6)
            .flat_map(|prefix| [prefix.bits - 1, prefix.bits, prefix.last() + 1]);
        let sources: BTreeSet<_> =
            borders.map(|bits| Ipv4Addr::from_bits(u32::try_from(bits).unwrap())).collect();
        let sources: Vec<_> = sources.into_iter().collect();
        let arrived = deliver(&pair, &sources);
        for (source, arrived) in sources.iter().zip(arrived) {
            let want = if oracle.drops(false, source.to_bits().into()) { 0 } else { PACKETS };
            assert_eq!(arrived, want, "version {version}: {source}\n{}", agent.log());
        }
        println!("version {version}: {} entries, {} sources", prefixes.len(), sources.len());
        known = prefixes;
        // Little enough to be written as a change, and once too much.
        if version == 3 {
            history.turn();
        } else {
            history.pass(1);
        }
        if version == 5 {
            agent.kill().unwrap();
            agent.start().unwrap();
        }
    }
    assert!(agent.log().contains("written=\"change\""), "{}", agent.log());
}
