//! From the text of a list to enforcement: `load.*`.

/// One source, at once: `load.ban`.
mod ban;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, bail, ensure};
use weir::{
    config::{self, Config},
    feed::{
        Entries, Parsed, format,
        source::{Fetched, file::File},
    },
    policy::generations::{InForce, Way},
};
use weir_bench_ebpf::source::List;
use weir_tests::namespace::{Namespace, Pair};

use super::Settings;
use crate::{
    cpu, data,
    finding::{Bound, Finding},
    ours::{Made, Ours},
    peers,
    stats::median,
    textbook::Textbook,
};

pub(super) const UNIT: &str = "ms CPU";
/// What is aimed at, in ms.
const AIM: f64 = 100.0;
const AIM_DELTA: f64 = 20.0;
/// Prefixes that come and go in a change.
const CHANGED: usize = 250;

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    Ok(vec![cold(settings)?, delta(settings)?, ban::run(settings)?])
}

/// What a load took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    read: f64,
    merge: f64,
    publish: f64,
    wall: f64,
}

impl Took {
    pub(super) fn all(&self) -> f64 {
        self.read + self.merge + self.publish
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Returns the CPU time of some work, in ms, and what it returns.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let before = cpu::thread_time()?;
    let result = work()?;
    Ok((millis(cpu::thread_time()?.saturating_sub(before)), result))
}

/// Reads and parses the file of a feed, as the agent does.
fn read_list(feed: &config::Feed) -> Result<Parsed> {
    let config::Source::File(path) = &feed.source else { bail!("the list is a file") };
    let Fetched::Text(text, _) = File::new(path.clone(), feed.guards.bytes).fetch()? else {
        bail!("a file that is read for the first time is text")
    };
    format::parse(feed, &text).map_err(Error::msg)
}

/// Reads a file, and puts what it lists in force; what is different from `before`, where there is one.
pub(super) fn load(ours: &mut Ours, path: &Path, before: Option<&InForce>) -> Result<(Took, Way, InForce)> {
    let config = format!(
        "interfaces: [{{name: eth0}}]\nfeeds: [{{name: list, path: {}, action: drop}}]\n",
        path.display()
    );
    let config = Config::parse(Path::new("bench.yaml"), &config)?;
    let feed = config.feeds.first().context("a configuration without its feed")?;
    let start = Instant::now();
    let (read, parsed) = timed(|| read_list(feed))?;
    let (merge, made) = timed(|| Made::after(before, parsed.entries.into(), None))?;
    let (publish, (publication, way)) = timed(|| ours.publish(&made))?;
    let took = Took { read, merge, publish, wall: millis(start.elapsed()) };
    Ok((took, way, made.published(publication)))
}

/// Returns how the parts of it add up.
pub(super) fn parts(rounds: &[Took]) -> String {
    let part = |of: fn(&Took) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    format!(
        "read and parse {:.1}, compare and merge {:.1}, compile and publish {:.1}; {:.0} ms by the clock",
        part(|took| took.read),
        part(|took| took.merge),
        part(|took| took.publish),
        part(|took| took.wall)
    )
}

fn cold(settings: &Settings) -> Result<Finding> {
    let list = List::of(settings.prefixes);
    let entries = data::entries(list, 0);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("list");
    fs::write(&path, data::text(&entries.v4))?;
    let made = Made::new(entries.clone(), None)?;
    let mut ours = Ours::new(&made, 17)?;
    let load = |_| Ok(load(&mut ours, &path, None)?.0);
    let rounds: Vec<_> = (0..settings.rounds).map(load).collect::<Result<_>>()?;
    let all: Vec<_> = rounds.iter().map(Took::all).collect();
    let finding =
        Finding::value("load.cold", UNIT, median(&all)).measured_times(rounds.len()).noting(parts(&rounds));
    let disjoint: Vec<_> = made.merged.v4.iter().map(|entry| (entry.network, entry.length)).collect();
    let ipset =
        child(|namespace| peers::run(namespace, &["ipset", "restore"], &peers::ipset_text(&disjoint)));
    let nft = child(|namespace| peers::run(namespace, &["nft", "-f", "-"], &peers::nft_text(&disjoint)));
    let sorted = data::sorted(&entries);
    Ok(finding
        .beside("ipset restore", ipset)
        .beside("nft -f, interval set", nft)
        .beside("LPM_TRIE in the order of the list", trie(&entries))
        .beside("LPM_TRIE of a sorted list", trie(&sorted))
        .aiming("P5", None, Bound::AtMost(AIM)))
}

/// Returns the CPU time of a tool in a namespace of its own, in ms.
pub(super) fn child(work: impl FnOnce(&Namespace) -> Result<()>) -> Result<f64, String> {
    let measure = || {
        let pair = Pair::new()?;
        let before = cpu::children_time()?;
        work(&pair.server)?;
        Ok(millis(cpu::children_time()?.saturating_sub(before)))
    };
    measure().map_err(|error: anyhow::Error| format!("{error:#}"))
}

fn trie(entries: &Entries) -> Result<f64, String> {
    let measure = || {
        let mut textbook = Textbook::new(1024)?;
        Ok(timed(|| textbook.list(entries))?.0)
    };
    measure().map_err(|error: anyhow::Error| format!("{error:#}"))
}

/// Half of the list of `load.cold`, of which some hundred entries are others than before.
fn delta(settings: &Settings) -> Result<Finding> {
    let list = List::of(settings.prefixes / 2);
    let entries = data::entries(list, 0);
    let directory = tempfile::tempdir()?;
    let paths = [directory.path().join("before"), directory.path().join("after")];
    let changed = changed(&entries);
    fs::write(&paths[0], data::text(&entries.v4))?;
    fs::write(&paths[1], data::text(&changed))?;
    let made = Made::new(entries.clone(), None)?;
    let mut ours = {
        weir::datapath::Pins::new(Path::new(crate::ours::BPFFS)).remove()?;
        Ours::new(&made, 17)?
    };
    let mut turns = paths.iter().cycle().skip(1);
    let mut next = |before: Option<&InForce>| load(&mut ours, turns.next().context("paths end")?, before);
    // Both generations have to be known: the first two are written whole.
    let (_, _, first) = next(None)?;
    let (_, _, mut in_force) = next(Some(&first))?;
    let mut rounds = Vec::new();
    for _ in 0..settings.rounds {
        let (took, way, now) = next(Some(&in_force))?;
        ensure!(way == Way::Change, "all was written for {CHANGED} prefixes");
        rounds.push(took);
        in_force = now;
    }
    let all: Vec<_> = rounds.iter().map(Took::all).collect();
    let ipset = change(|pair| {
        peers::run(&pair.server, &["ipset", "restore"], &peers::ipset_text(&entries.v4))?;
        let text = peers::ipset_change(&entries.v4[..CHANGED], &changed[..CHANGED]);
        measured(|| peers::run(&pair.server, &["ipset", "-exist", "restore"], &text))
    });
    let finding = Finding::value("load.delta", UNIT, median(&all)).measured_times(rounds.len());
    Ok(finding
        .noting(format!("{CHANGED} of {} prefixes are others; {}", list.len(), parts(&rounds)))
        .beside("ipset restore of the changes", ipset)
        .aiming("P5", None, Bound::AtMost(AIM_DELTA))
        .without([("nft", "adding one element to half a million takes it 25 s".to_owned())]))
}

fn change(work: impl FnOnce(&Pair) -> Result<f64>) -> Result<f64, String> {
    let measure = || work(&Pair::new()?);
    measure().map_err(|error: anyhow::Error| format!("{error:#}"))
}

fn measured(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = cpu::children_time()?;
    work()?;
    Ok(millis(cpu::children_time()?.saturating_sub(before)))
}

/// Returns the prefixes with some others in place of the first.
fn changed(entries: &Entries) -> Vec<(u32, u8)> {
    let mut changed = entries.v4.clone();
    for entry in changed.iter_mut().take(CHANGED) {
        entry.0 ^= 1 << (32 - entry.1);
    }
    changed
}

/// Returns what share of `times` lies below, in µs.
fn micros(times: &[Duration], part: f64) -> Result<f64> {
    ensure!(!times.is_empty(), "nothing was measured");
    let times: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
    Ok(crate::stats::quantile(&times, part))
}
