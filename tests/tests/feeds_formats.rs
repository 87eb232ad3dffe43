//! What the grammars find, beside iprange on the same list.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stderr, reason = "who runs a test is told what it could not compare with")]

use std::{fs, io, net::Ipv4Addr, process::Command, time::Duration};

use weir::{
    config::{Enforce, Feed, FeedAction, Format, Guards, Select, Source},
    feed::format,
};

/// Lines of the lists.
const LINES: u32 = 120_000;

fn feed(format: Format, min_score: Option<u32>) -> Feed {
    Feed {
        name: "list".to_owned(),
        source: Source::File("/list".into()),
        format,
        select: Select { min_score, ..Select::default() },
        action: FeedAction::Drop,
        enforce: Enforce::Enforce,
        category: None,
        weight: 1,
        interval: Duration::from_hours(1),
        ttl: None,
        guards: Guards::default(),
    }
}

/// A number that looks like chance, and is the same each time.
fn mixed(number: u32) -> u32 {
    let number = (number ^ number >> 16).wrapping_mul(0x7feb_352d);
    let number = (number ^ number >> 15).wrapping_mul(0x846c_a68b);
    number ^ number >> 16
}

/// What a list names, as ranges that do not meet.
fn union(feed: &Feed, text: &str) -> Vec<(u32, u32)> {
    let parsed = format::parse(feed, text.as_bytes()).unwrap();
    assert_eq!(parsed.rejected.lines, 0, "{parsed}");
    let last = |network: u32, length: u8| network | u32::MAX.checked_shr(length.into()).unwrap_or(0);
    let mut ranges: Vec<_> =
        parsed.entries.v4.iter().map(|&(network, length)| (network, last(network, length))).collect();
    ranges.sort_unstable();
    let mut union: Vec<(u32, u32)> = Vec::new();
    for (first, end) in ranges {
        match union.last_mut() {
            Some((_, before)) if u64::from(first) <= u64::from(*before) + 1 => *before = end.max(*before),
            _ => union.push((first, end)),
        }
    }
    union
}

/// What iprange makes of a list; nothing: it is not here.
fn iprange(text: &str) -> Option<Vec<(u32, u32)>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let output = Command::new("iprange").arg("--print-ranges").arg(file.path()).output();
    if output.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        eprintln!("iprange is not here (Debian package iprange), so nothing is compared with it");
        return None;
    }
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bits = |word: &str| word.parse::<Ipv4Addr>().unwrap().to_bits();
    let text = String::from_utf8(output.stdout).unwrap();
    let ranges = text.lines().map(|line| {
        let (first, last) = line.split_once('-').unwrap_or((line, line));
        (bits(first), bits(last))
    });
    Some(ranges.collect())
}

/// Addresses of which many are next to each other.
fn address(line: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0000 | mixed(line) & 0x0003_ffff)
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn scores_agree_with_iprange() {
    let score = |line: u32| mixed(line ^ 0x5bd1_e995) % 8 + 1;
    let header = "# IPsum Threat Intelligence Feed\n#\n# IP\tnumber of (black)lists\n#\n";
    let text =
        header.to_owned() + &lines((0..LINES).map(|line| format!("{}\t{}", address(line), score(line))));
    for least in [1, 3, 8] {
        let selected = (0..LINES).filter(|line| score(*line) >= least);
        let plain = lines(selected.map(|line| address(line).to_string()));
        let ours = union(&feed(Format::Score, Some(least)), &text);
        assert!(ours.len() > 1000, "{}", ours.len());
        if let Some(theirs) = iprange(&plain) {
            assert_eq!(ours, theirs, "score {least}");
        }
    }
}

#[test]
fn a_real_list_agrees_with_iprange() {
    let text = include_str!("../../config/demo/ipsum-level3.txt");
    let ours = union(&feed(Format::Plain, None), text);
    assert!(ours.len() > 10_000, "{}", ours.len());
    if let Some(theirs) = iprange(text) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn prefixes_agree_with_iprange() {
    let prefix = |line: u32| format!("{}/{}", address(line), 22 + mixed(line ^ 7) % 11);
    let text = lines((0..LINES).map(prefix));
    let ours = union(&feed(Format::Plain, None), &text);
    if let Some(theirs) = iprange(&text) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn ranges_agree_with_iprange() {
    let range = |line: u32| {
        let first = address(line);
        format!("{first}-{}", Ipv4Addr::from_bits(first.to_bits() + mixed(line ^ 9) % 300))
    };
    let text = lines((0..LINES / 10).map(range));
    let ours = union(&feed(Format::Range, None), &text);
    if let Some(theirs) = iprange(&text) {
        assert_eq!(ours, theirs);
    }
}
