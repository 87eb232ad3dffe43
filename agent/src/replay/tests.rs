use std::{io::Cursor, net::IpAddr, path::Path, time::Duration};

use weir_common::addr::Address;

use super::*;
use crate::{
    capture::Capture,
    config::Config,
    explain::packet,
    feed::Feed,
    offline::{self, Compiled},
};

const LISTED: &str = "198.51.100.7";
const CLEAN: &str = "203.0.113.9";
const CONFIG: &str = "
enforce: enforce
interfaces: [{name: eth0}]
services: [{name: https, ports: [443/tcp]}, {name: bytes, ports: [8080/tcp]}]
feeds:
  - {name: bad, networks: [198.51.100.0/24, '2001:db8:bad::/48'], action: drop}
  - {name: worse, networks: [198.51.100.0/28], action: drop}
limits:
  - {name: per-source, service: https, packets: {rate: 10/s, burst: 5}}
  - {name: volume, service: bytes, bytes: {rate: 1k/s, burst: 10k}}
";

fn policy(config: &str) -> Offline {
    let config = Config::parse(Path::new("weir.yaml"), config).unwrap();
    let feeds: Vec<Feed> = offline::lists(&config, Path::new("/nonexistent")).unwrap();
    Offline::new(&Compiled::new(&config, &feeds, &[]).unwrap(), 17).unwrap()
}

/// A packet of a capture: milliseconds since it begins, bytes, and original length.
type Sent = (u64, Vec<u8>, u32);

fn packet(milliseconds: u64, source: &str, port: u16) -> Sent {
    let port = format!("{port}/tcp").parse().unwrap();
    let frame = packet::from(Address::from(source.parse::<IpAddr>().unwrap()), Some(port));
    let length = u32::try_from(frame.len()).unwrap();
    (milliseconds, frame, length)
}

/// A pcap file that begins at `start`, in seconds since 1970.
fn pcap(start: u64, packets: &[Sent]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for (milliseconds, bytes, original) in packets {
        let (seconds, rest) = (start + milliseconds / 1000, milliseconds % 1000);
        let length = u32::try_from(bytes.len()).unwrap();
        file.extend(words(&[
            u32::try_from(seconds).unwrap(),
            u32::try_from(rest).unwrap() * 1000,
            length,
            *original,
        ]));
        file.extend(bytes);
    }
    file
}

const NAMING: Naming = Naming { top: 10, pseudonyms: false };

fn replay(
    policy: &Offline,
    against: Option<&Offline>,
    own: &[&str],
    naming: Naming,
    file: Vec<u8>,
) -> Report {
    let own = own.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let mut capture = Capture::from_reader(Path::new("test.pcap"), Cursor::new(file)).unwrap();
    let mut replay = Replay::new(policy, against, own, naming);
    let damage = capture.read(u64::MAX, |packet| replay.take(packet)).err();
    let config = Path::new("weir.yaml");
    let summary = Summary {
        capture: Path::new("test.pcap"),
        damage,
        config,
        rules: None,
        shadow: false,
        against: against.map(|_| (Path::new("other.yaml"), false)),
        elapsed: Duration::from_millis(1),
    };
    Report::new(&mut replay, &capture, summary)
}

fn verdicts(report: &Report) -> Vec<(&'static str, &'static str, u64)> {
    report.verdicts.iter().map(|row| (row.verdict.as_str(), row.reason, row.packets)).collect()
}

/// Listed and clean sources, and one that sends a packet each millisecond.
fn mixed() -> Vec<Sent> {
    let mut packets = vec![packet(0, LISTED, 443), packet(1, LISTED, 53), packet(2, CLEAN, 53)];
    packets.extend((3..503).map(|milliseconds| packet(milliseconds, CLEAN, 443)));
    packets.push(packet(504, "2001:db8:bad::1", 443));
    packets.push(packet(505, "2001:db8::1", 443));
    packets
}

#[test]
fn packets_get_what_the_kernel_gives_them_at_their_own_times() {
    let report = replay(&policy(CONFIG), None, &[], NAMING, pcap(1_700_000_000, &mixed()));
    // Five at once, then ten a second for half a second, counted from the tick before.
    assert_eq!(
        verdicts(&report),
        [("pass", "clean", 2 + 5 + 5), ("drop", "feed", 3), ("drop", "limit", 490)]
    );
    assert_eq!((report.packets, report.ok), (505, true));
    assert_eq!(report.first.as_deref(), Some("2023-11-14T22:13:20.000000Z"));
    assert!((report.seconds - 0.505).abs() < 1e-9);
    let lists: Vec<_> = report.lists.iter().map(|row| (row.list.as_str(), row.drop)).collect();
    assert_eq!(lists, [("feed bad", 3), ("feed worse", 2)]);
    let limit = &report.limits[0];
    assert_eq!((limit.limit.as_str(), limit.pass, limit.drop), ("per-source", 11, 490));
    let sources = report.sources.as_ref().unwrap();
    assert_eq!((sources.known, sources.left_out_packets), (4, 0));
    assert_eq!((sources.rows[0].source.as_str(), sources.rows[0].drop), (CLEAN, 490));
    assert_eq!(sources.rows[1].reasons, ["feed"]);
    let text = text(&report, Sections::All);
    for part in ["drop     limit   490", "97.03 %", "feed worse", "per-source", LISTED, "505 packets"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn when_a_capture_was_made_does_not_matter() {
    let at = |start| verdicts(&replay(&policy(CONFIG), None, &[], NAMING, pcap(start, &mixed())));
    // The second has a clock of 40 bits, in µs, turn over in the middle.
    let turn = (1u64 << 40) / 1_000_000;
    for start in [1, turn * 1500, 4_000_000_000] {
        assert_eq!(at(start), at(1_700_000_000), "{start}");
    }
}

#[test]
fn what_was_not_captured_is_not_guessed() {
    let cut = |(time, bytes, original): Sent, length: usize| (time, bytes[..length].to_vec(), original);
    let packets = [
        // Ethernet and IPv4 headers, no ports.
        cut(packet(0, LISTED, 443), 34),
        cut(packet(1, CLEAN, 443), 34),
        // Not even a source.
        cut(packet(2, LISTED, 443), 20),
        // All headers, of a longer packet.
        cut((3, packet(3, CLEAN, 53).1, 54), 54),
        // As it was sent.
        (4, packet(4, CLEAN, 443).1[..34].to_vec(), 34),
    ];
    let report = replay(&policy(CONFIG), None, &[], NAMING, pcap(1, &packets));
    assert_eq!(
        verdicts(&report),
        [("pass", "clean", 1), ("drop", "total-length", 1), ("drop", "feed", 1), ("unknown", "cut", 2)]
    );
    assert_eq!(report.notes.cut, 3);
    assert_eq!(report.limits[0].pass, 0);
}

#[test]
fn limits_on_bytes_count_what_was_sent() {
    let long = |milliseconds| {
        let (_, mut bytes, _) = packet(milliseconds, CLEAN, 8080);
        // An IPv4 packet of 1000 bytes, of which the headers were captured.
        bytes[16..18].copy_from_slice(&1000u16.to_be_bytes());
        (milliseconds, bytes, 1014)
    };
    let packets: Vec<Sent> = (0..20).map(long).collect();
    let report = replay(&policy(CONFIG), None, &[], NAMING, pcap(1, &packets));
    assert_eq!(verdicts(&report), [("pass", "clean", 9), ("drop", "limit", 11)]);
    assert_eq!(report.bytes, 20 * 1014);
}

#[test]
fn what_the_host_sent_is_left_out() {
    let report = replay(&policy(CONFIG), None, &["203.0.113.0/24"], NAMING, pcap(1, &mixed()));
    assert_eq!((report.packets, report.notes.sent), (4, 501));
    assert!(text(&report, Sections::All).contains("501 packets were sent by the host itself"));
}

#[test]
fn two_policies_are_compared() {
    let other =
        CONFIG.replace("limits:", "allow: [198.51.100.7]\nlimits:").replace("burst: 5}", "burst: 100}");
    let (policy, other) = (policy(CONFIG), policy(&other));
    let report = replay(&policy, Some(&other), &[], NAMING, pcap(1, &mixed()));
    let compared = report.against.as_ref().unwrap();
    let rows: Vec<_> = compared
        .changes
        .iter()
        .map(|row| (row.reason.as_str(), row.other_verdict.as_str(), row.other_reason.as_str(), row.packets))
        .collect();
    assert_eq!(
        rows,
        [("limit:per-source", "pass", "clean", 95), ("feed:bad,worse", "pass", "allow:allow,bad,worse", 2)]
    );
    assert_eq!(compared.changed, 97);
    let sources = compared.sources.as_ref().unwrap();
    assert_eq!((sources.rows.len(), sources.known), (2, 2));
    assert!(text(&report, Sections::All).contains("under other.yaml, 97 packets"));
    let same = replay(&policy, Some(&policy_again()), &[], NAMING, pcap(1, &mixed()));
    assert_eq!(same.against.unwrap().changed, 0);
}

fn policy_again() -> Offline {
    policy(CONFIG)
}

#[test]
fn sources_can_be_pseudonyms_or_left_out() {
    let policy = policy(CONFIG);
    let names = Naming { pseudonyms: true, ..NAMING };
    let shown = |naming| {
        let report = replay(&policy, Some(&policy), &[], naming, pcap(1, &mixed()));
        serde_json::to_string(&report).unwrap() + &text(&report, Sections::All)
    };
    assert!(shown(NAMING).contains(CLEAN));
    let pseudonyms = shown(names);
    assert!(!pseudonyms.contains(CLEAN) && pseudonyms.contains("source-"), "{pseudonyms}");
    let without = shown(Naming { top: 0, ..NAMING });
    assert!(!without.contains(CLEAN) && !without.contains("SOURCE"), "{without}");
}

#[test]
fn a_report_ends_where_the_capture_breaks_off() {
    let mut file = pcap(1, &mixed());
    file.truncate(file.len() - 10);
    let report = replay(&policy(CONFIG), None, &[], NAMING, file);
    assert_eq!((report.packets, report.ok), (504, false));
    assert_eq!(report.damage.unwrap().packet, 505);
}
