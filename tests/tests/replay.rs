//! `weir replay`: captures, written by another crate than the one that reads them, and what the
//! program says of them.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    borrow::Cow,
    fs::File,
    io::{BufWriter, Write as _},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use pcap_file::{
    DataLink, Endianness,
    pcap::{PcapHeader, PcapPacket, PcapTsResolution, PcapWriter},
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::EnhancedPacketBlock,
            interface_description::{
                InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
            },
        },
    },
};
use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{agent::binary, frame::Frame};

const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const CLEAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ETHERNET_HEADER: usize = 14;
const START: Duration = Duration::from_secs(1_700_000_000);

/// A directory with a configuration, for commands that need no agent.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::with_prefix("weir-").unwrap());
        place.write("weir.yaml", &config("enforce"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().unwrap());
        command
            .current_dir(self.0.path())
            .env("WEIR_STATE", self.path("state"))
            .env("WEIR_CONFIG", "weir.yaml");
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Returns the report of a replay as JSON.
    fn replay(&self, arguments: &[&str]) -> Value {
        let output = self.weir(&[&["replay", "-o", "json"], arguments].concat());
        let says = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {says}"))
    }
}

fn config(enforce: &str) -> String {
    format!(
        "enforce: {enforce}
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/tcp]}}]
feeds: [{{name: bad, networks: [198.51.100.0/24], action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 100/s, burst: 10}}}}]
tables: {{limiter: 8MiB}}
"
    )
}

/// Returns packets and when they come: of ten a listed source sends one, and another nine at a
/// thousand a second, where it may send a hundred.
fn packets(count: u32) -> impl Iterator<Item = (Duration, Vec<u8>)> {
    let from = |source: Ipv4Addr| Frame::new().ipv4(source, TO).tcp(4000, 443).payload(&[7; 20]).build();
    let (listed, clean) = (from(LISTED), from(CLEAN));
    (0..count).map(move |i| {
        let frame = if i % 10 == 0 { &listed } else { &clean };
        (START + Duration::from_millis(i.into()), frame.clone())
    })
}

const PACKETS: u32 = 10_000;

/// What becomes of [`packets`]: listed, over the limit, and admitted, give or take one packet that is
/// due in the very millisecond of the last.
fn check(report: &Value) {
    let count = |verdict: &str, reason: &str| {
        let rows = report["verdicts"].as_array().unwrap();
        let row = rows.iter().find(|row| row["verdict"] == verdict && row["reason"] == reason);
        row.map_or(0, |row| row["packets"].as_u64().unwrap())
    };
    let (listed, over, admitted) = (count("drop", "feed"), count("drop", "limit"), count("pass", "clean"));
    assert_eq!((listed, listed + over + admitted), (1000, u64::from(PACKETS)), "{report:#}");
    // The burst, and a hundred a second for ten seconds.
    assert!((1005..=1012).contains(&admitted), "{report:#}");
    assert_eq!(report["packets"], PACKETS);
    assert_eq!(report["first"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(report["sources"]["rows"][0]["source"], CLEAN.to_string());
}

fn write_pcap(path: &Path, endianness: Endianness, ts_resolution: PcapTsResolution, count: u32) {
    let header = PcapHeader { endianness, ts_resolution, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(BufWriter::new(File::create(path).unwrap()), header).unwrap();
    for (time, frame) in packets(count) {
        let length = u32::try_from(frame.len()).unwrap();
        writer.write_packet(&PcapPacket::new(time, length, &frame).unwrap()).unwrap();
    }
    writer.flush().unwrap();
}

/// Two interfaces take turns: Ethernet with microseconds, and plain IP with nanoseconds.
fn write_pcapng(path: &Path, endianness: Endianness) {
    let mut writer = PcapNgWriter::with_endianness(File::create(path).unwrap(), endianness).unwrap();
    let interface = |linktype, options| InterfaceDescriptionBlock { linktype, snaplen: 0, options };
    writer.write_pcapng_block(interface(DataLink::ETHERNET, vec![])).unwrap();
    let fine = vec![InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO)];
    writer.write_pcapng_block(interface(DataLink::RAW, fine)).unwrap();
    for (i, (timestamp, frame)) in (0..).zip(packets(PACKETS)) {
        let interface_id = i % 2;
        let data = if interface_id == 0 { &frame[..] } else { &frame[ETHERNET_HEADER..] };
        let original_len = u32::try_from(data.len()).unwrap();
        let data = Cow::Borrowed(data);
        let block = EnhancedPacketBlock { interface_id, timestamp, original_len, data, options: vec![] };
        writer.write_pcapng_block(block).unwrap();
    }
}

#[test]
fn captures_of_every_kind_come_to_the_same() {
    let place = Place::new();
    for endianness in [Endianness::Little, Endianness::Big] {
        for resolution in [PcapTsResolution::MicroSecond, PcapTsResolution::NanoSecond] {
            write_pcap(&place.path("c.pcap"), endianness, resolution, PACKETS);
            let report = place.replay(&["c.pcap"]);
            assert_eq!((&report["format"], &report["ok"]), (&"pcap".into(), &true.into()));
            check(&report);
        }
        write_pcapng(&place.path("c.pcapng"), endianness);
        let report = place.replay(&["c.pcapng"]);
        assert_eq!(report["format"], "pcapng");
        check(&report);
    }
}

#[test]
fn from_a_pipe() {
    let place = Place::new();
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, PACKETS);
    let mut command = place.command(&["replay", "-", "-o", "json"]);
    let mut weir = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = weir.stdin.take().unwrap();
    for piece in std::fs::read(place.path("c.pcap")).unwrap().chunks(1000) {
        input.write_all(piece).unwrap();
    }
    drop(input);
    let output = weir.wait_with_output().unwrap();
    assert!(output.status.success());
    check(&serde_json::from_slice(&output.stdout).unwrap());
}

#[test]
fn a_capture_that_is_cut_off_is_reported_up_to_there() {
    let place = Place::new();
    write_pcap(&place.path("whole"), Endianness::Little, PcapTsResolution::MicroSecond, 100);
    let whole = std::fs::read(place.path("whole")).unwrap();
    std::fs::write(place.path("c.pcap"), &whole[..whole.len() - 5]).unwrap();
    let output = place.weir(&["replay", "c.pcap"]);
    assert_eq!(output.status.code(), Some(1));
    let (says, report) =
        (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    assert!(says.contains("c.pcap: packet 100, byte ") && says.contains("cut off"), "{says}");
    assert!(report.contains("c.pcap (pcap): 99 packets"), "{report}");
    let report = place.replay(&["c.pcap"]);
    assert_eq!(
        (&report["ok"], &report["damage"]["packet"], &report["packets"]),
        (&false.into(), &100.into(), &99.into())
    );
}

#[test]
fn what_is_wrong_with_the_command_is_told() {
    let place = Place::new();
    place.write("text", "not a capture, but long enough to look like the header of one\n");
    place.write("bad.yaml", "interfaces: []\n");
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, 10);
    for (arguments, says) in [
        (&["replay", "text"][..], "text: is no capture"),
        (&["replay", "missing"], "missing: No such file"),
        (&["replay", "c.pcap", "-c", "missing.yaml"], "missing.yaml"),
        (&["replay", "c.pcap", "--against", "bad.yaml"], "bad.yaml:1:"),
        (&["replay", "c.pcap", "--by", "colour"], "--by"),
        (&["replay", "c.pcap", "--own", "192.0.2"], "--own"),
    ] {
        let output = place.weir(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn in_shadow_mode_it_shows_what_would_be_and_enforced_what_is() {
    let place = Place::new();
    place.write("shadow.yaml", &config("shadow"));
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, PACKETS);
    let report = place.replay(&["c.pcap", "-c", "shadow.yaml"]);
    assert_eq!(report["shadow"], true);
    let rows = report["verdicts"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["verdict"] != "drop"), "{report:#}");
    assert!(rows.iter().any(|row| row["verdict"] == "would_drop" && row["reason"] == "feed"), "{report:#}");
    check(&place.replay(&["c.pcap", "-c", "shadow.yaml", "--enforce"]));
}

#[test]
fn two_policies_are_compared() {
    let place = Place::new();
    place.write("other.yaml", &config("enforce").replace("limits:", "allow: [198.51.100.7]\nlimits:"));
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, PACKETS);
    let report = place.replay(&["c.pcap", "--against", "other.yaml"]);
    check(&report);
    let against = &report["against"];
    assert_eq!((&against["changed"], &against["config"]), (&1000.into(), &"other.yaml".into()));
    let row = &against["changes"][0];
    assert_eq!((&row["verdict"], &row["reason"]), (&"drop".into(), &"feed:bad".into()));
    assert_eq!((&row["other_verdict"], &row["packets"]), (&"pass".into(), &1000.into()));
    assert_eq!(against["sources"]["rows"][0]["source"], LISTED.to_string());
}

#[test]
fn addresses_can_be_kept_out() {
    let place = Place::new();
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, 100);
    for arguments in [
        ["--pseudonymise", "-otable"],
        ["--top=0", "-otable"],
        ["--top=0", "-ojson"],
        ["--pseudonymise", "-ojson"],
    ] {
        let output = place.weir(&[&["replay", "c.pcap"], &arguments[..]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(&CLEAN.to_string()) && !text.contains(&LISTED.to_string()), "{text}");
        assert_eq!(text.contains("source-"), arguments[0] == "--pseudonymise", "{text}");
    }
    let own = place.replay(&["c.pcap", "--own", &IpAddr::from(CLEAN).to_string()]);
    assert_eq!((&own["packets"], &own["notes"]["sent"]), (&10.into(), &90.into()));
}

/// A policy is judged by itself, unless bans and rules are asked for.
#[test]
fn bans_and_rules_are_in_force_where_they_are_asked_for() {
    let place = Place::new();
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, PACKETS);
    let rules = serde_json::json!({"rules": [
        {"prefix": format!("{CLEAN}/32"), "action": "ban", "since": 1, "seconds_left": null},
        {"prefix": format!("{LISTED}/32"), "action": "allow", "since": 1, "until": 2},
        {"prefix": format!("{LISTED}/32"), "action": "allow", "since": 1, "proxy_only": true},
    ]});
    place.write("bans.json", &rules.to_string());
    std::fs::create_dir(place.path("state")).unwrap();
    let mut book = rules;
    book["version"] = 1.into();
    place.write("state/rules.json", &book.to_string());
    check(&place.replay(&["c.pcap"]));
    for rules in ["--rules", "--rules=bans.json"] {
        let report = place.replay(&["c.pcap", rules, "--against", "weir.yaml"]);
        assert_eq!((&report["rules"], &report["against"]["changed"]), (&1.into(), &0.into()), "{report:#}");
        for (reason, packets) in [("ban", 9000), ("feed", 1000)] {
            let rows = report["verdicts"].as_array().unwrap();
            let row = rows.iter().find(|row| row["verdict"] == "drop" && row["reason"] == reason);
            assert_eq!(row.unwrap()["packets"], packets, "{report:#}");
        }
    }
    let output = place.weir(&["replay", "c.pcap", "--rules=text.json"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(64) && error.contains("text.json: No such file"), "{error}");
}

/// Prints how fast it is. No bound: the machine may be busy, and the program unoptimised.
#[test]
fn a_million_packets() {
    let place = Place::new();
    write_pcap(&place.path("c.pcap"), Endianness::Little, PcapTsResolution::MicroSecond, 1_000_000);
    let report = place.replay(&["c.pcap"]);
    assert_eq!(report["packets"], 1_000_000);
    println!("{:.1} million packets a second", report["packets_per_second"].as_f64().unwrap() / 1e6);
}
