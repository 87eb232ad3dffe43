//! From the text of long lists to enforcement, beside what people use for that: `feeds.*`.

use std::{fs, path::Path};

use anyhow::Result;
use weir_bench_ebpf::source::List;

use super::{
    Settings,
    load::{self, Took, UNIT, child},
};
use crate::{
    data,
    finding::{Bound, Finding},
    ours::{BPFFS, Made, Ours},
    peers,
    stats::median,
};

/// What is aimed at for three million prefixes, in ms.
const AIM_LONG: f64 = 500.0;

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let long = cold("feeds.long", settings.prefixes * 3, settings)?;
    Ok(vec![
        cold("feeds.million", settings.prefixes, settings)?,
        long.aiming("P5", None, Bound::AtMost(AIM_LONG)),
    ])
}

fn cold(case: &'static str, prefixes: u64, settings: &Settings) -> Result<Finding> {
    let entries = data::entries(List::of(prefixes), 0);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("list");
    fs::write(&path, data::text(&entries.v4))?;
    let made = Made::new(entries, None)?;
    // Tables of another case may be of another size.
    weir::datapath::Pins::new(Path::new(BPFFS)).remove()?;
    let mut ours = Ours::new(&made, 17)?;
    let load = |_| Ok(load::load(&mut ours, &path, None)?.0);
    let rounds: Vec<Took> = (0..settings.rounds.min(8)).map(load).collect::<Result<_>>()?;
    let all: Vec<_> = rounds.iter().map(Took::all).collect();
    let disjoint: Vec<_> = made.merged.v4.iter().map(|entry| (entry.network, entry.length)).collect();
    let file = path.to_string_lossy().into_owned();
    let iprange = child(|namespace| peers::run(namespace, &["iprange", &file], ""));
    let ipset =
        child(|namespace| peers::run(namespace, &["ipset", "restore"], &peers::ipset_text(&disjoint)));
    let finding = Finding::value(case, UNIT, median(&all)).measured_times(rounds.len());
    Ok(finding
        .noting(format!("{} prefixes; {}", made.merged.v4.len(), load::parts(&rounds)))
        .beside("iprange, which only merges", iprange)
        .beside("ipset restore", ipset)
        .without([("nft", "see load.cold; it takes minutes for the long list".to_owned())]))
}
