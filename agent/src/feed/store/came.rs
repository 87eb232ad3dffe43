//! When entries came: a file a feed beside its last good list, `NAME.came`, for people who ask. A line for
//! each entry that has come lately, `SECONDS PREFIX`. What it does not name came with a line `SECONDS =`
//! (the first list that was had), or before one `SECONDS *` (so much came that the file began anew).

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ipnet::IpNet;
use serde::Serialize;

use super::MODE;
use crate::feed::Entries;

/// Largest file; some 80,000 entries.
const BYTES_MAX: u64 = 2 << 20;
/// Entries of one change that are named.
const NAMED_MAX: usize = 40_000;

/// Since when something is in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Since {
    /// In seconds since 1970.
    pub at: u64,
    /// It may be in it for longer.
    pub or_longer: bool,
}

/// Takes note of what came at `at`; `first` says that there was no list before.
pub(super) fn note(path: &Path, added: &Entries, first: bool, at: u64) -> io::Result<()> {
    let mut lines = String::new();
    if first {
        _ = writeln!(lines, "{at} =");
    } else if added.len() <= NAMED_MAX {
        for &(network, length) in &added.v4 {
            _ = writeln!(lines, "{at} {}/{length}", Ipv4Addr::from(network));
        }
        for &(network, length) in &added.v6 {
            _ = writeln!(lines, "{at} {}/{length}", Ipv6Addr::from(network));
        }
    } else {
        _ = writeln!(lines, "{at} *");
    }
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let full = size + lines.len() as u64 > BYTES_MAX;
    let anew = first || full || added.len() > NAMED_MAX;
    if full && !first && added.len() <= NAMED_MAX {
        lines.insert_str(0, &format!("{at} *\n"));
    }
    let mut options = OpenOptions::new();
    options.create(true).mode(MODE).write(true);
    if anew {
        options.truncate(true)
    } else {
        options.append(true)
    };
    options.open(path)?.write_all(lines.as_bytes())
}

/// Returns since when one of these prefixes is in the list. Nothing where that is not known.
pub(super) fn since(path: &Path, prefixes: &[IpNet]) -> Option<Since> {
    if fs::metadata(path).ok()?.len() > 2 * BYTES_MAX {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let mut rest = None;
    // The last line about a prefix counts: it may have gone and come again.
    let mut named: Vec<Option<u64>> = vec![None; prefixes.len()];
    for line in text.lines() {
        let Some((at, what)) = line.split_once(' ') else { continue };
        let Ok(at) = at.parse() else { continue };
        match what {
            "=" => rest = Some(Since { at, or_longer: false }),
            "*" => rest = Some(Since { at, or_longer: true }),
            what => {
                let Ok(came) = what.parse::<IpNet>() else { continue };
                for (prefix, named) in prefixes.iter().zip(&mut named) {
                    if *prefix == came {
                        *named = Some(at);
                    }
                }
            }
        }
    }
    let of = |named: &Option<u64>| named.map(|at| Since { at, or_longer: false }).or(rest);
    named.iter().filter_map(of).min_by_key(|since| since.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(prefixes: &[&str]) -> Entries {
        prefixes.iter().map(|prefix| prefix.parse::<IpNet>().unwrap()).collect()
    }

    fn of(path: &Path, prefixes: &[&str]) -> Option<(u64, bool)> {
        let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        since(path, &prefixes).map(|since| (since.at, since.or_longer))
    }

    #[test]
    fn what_came_lately_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bad.came");
        assert_eq!(of(&path, &["192.0.2.7/32"]), None);
        note(&path, &entries(&["192.0.2.7/32"]), true, 100).unwrap();
        note(&path, &entries(&["192.0.2.8/32", "2001:db8::/32"]), false, 200).unwrap();
        assert_eq!(of(&path, &["192.0.2.7/32"]), Some((100, false)), "with the first list");
        assert_eq!(of(&path, &["192.0.2.8/32"]), Some((200, false)));
        assert_eq!(of(&path, &["2001:db8::/32"]), Some((200, false)));
        assert_eq!(of(&path, &["192.0.2.8/32", "192.0.2.0/24"]), Some((100, false)), "by one of them");
        note(&path, &entries(&["192.0.2.8/32"]), false, 300).unwrap();
        assert_eq!(of(&path, &["192.0.2.8/32"]), Some((300, false)), "gone, and come again");
    }

    #[test]
    fn the_file_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bad.came");
        let many = |count: u32| Entries { v4: (0..count).map(|n| (n << 8, 24)).collect(), v6: Vec::new() };
        note(&path, &many(0), true, 100).unwrap();
        for at in 200..205 {
            note(&path, &many(30_000), false, at).unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= BYTES_MAX);
        }
        assert_eq!(of(&path, &["0.0.1.0/24"]), Some((204, false)));
        let (at, or_longer) = of(&path, &["198.51.100.7/32"]).unwrap();
        assert!(at > 200 && or_longer, "{at}");
        note(&path, &many(50_000), false, 300).unwrap();
        assert_eq!(of(&path, &["0.0.1.0/24"]), Some((300, true)));
        fs::write(&path, "no line of ours\n1\nx y\n7 192.0.2.0/24\n").unwrap();
        assert_eq!(of(&path, &["192.0.2.0/24"]), Some((7, false)), "garbage is passed over");
    }
}
