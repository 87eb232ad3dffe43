//! What the grammars find, beside iprange on the same list.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{net::Ipv4Addr, path::Path};

use weir::{
    config::{Config, Feed},
    feed::format,
};
use weir_tests::{
    peers,
    ranges::{self, Ranges},
};

/// Lines of the lists.
const LINES: u32 = 120_000;

/// Returns a feed with these settings.
fn feed(settings: &str) -> Feed {
    let text = format!(
        "interfaces: [{{name: eth0}}]\nfeeds: [{{name: list, path: /list, action: drop, {settings}}}]\n"
    );
    Config::parse(Path::new("weir.yaml"), &text).unwrap().feeds.remove(0)
}

/// A number that looks like chance, and is the same each time.
fn mixed(number: u32) -> u32 {
    let number = (number ^ number >> 16).wrapping_mul(0x7feb_352d);
    let number = (number ^ number >> 15).wrapping_mul(0x846c_a68b);
    number ^ number >> 16
}

/// What a list names, as ranges that do not meet.
fn union(feed: &Feed, text: &str) -> Ranges {
    let parsed = format::parse(feed, text.as_bytes()).unwrap();
    assert_eq!(parsed.rejected.lines, 0, "{parsed}");
    let range =
        |&(network, length): &(u32, u8)| (u128::from(network), ranges::last(network.into(), length, 32));
    Ranges::union(parsed.entries.v4.iter().map(range))
}

/// Compares with what iprange makes of a list, if it is here.
fn agrees(title: &str, ours: &Ranges, text: &str) {
    match peers::iprange(text).unwrap() {
        Some(theirs) => assert_eq!(*ours, theirs, "{title}"),
        None => peers::missing(title, "iprange"),
    }
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
        let ours = union(&feed(&format!("format: score, min_score: {least}")), &text);
        assert!(ours.len() > 1000, "{}", ours.len());
        agrees("scores_agree_with_iprange", &ours, &plain);
    }
}

#[test]
fn a_real_list_agrees_with_iprange() {
    let text = include_str!("../../config/demo/ipsum-level3.txt");
    let ours = union(&feed("format: plain"), text);
    assert!(ours.len() > 10_000, "{}", ours.len());
    agrees("a_real_list_agrees_with_iprange", &ours, text);
}

#[test]
fn prefixes_agree_with_iprange() {
    let prefix = |line: u32| format!("{}/{}", address(line), 22 + mixed(line ^ 7) % 11);
    let text = lines((0..LINES).map(prefix));
    let ours = union(&feed("format: plain"), &text);
    agrees("prefixes_agree_with_iprange", &ours, &text);
}

#[test]
fn ranges_agree_with_iprange() {
    let range = |line: u32| {
        let first = address(line);
        format!("{first}-{}", Ipv4Addr::from_bits(first.to_bits() + mixed(line ^ 9) % 300))
    };
    let text = lines((0..LINES / 10).map(range));
    let ours = union(&feed("format: range"), &text);
    agrees("ranges_agree_with_iprange", &ours, &text);
}
