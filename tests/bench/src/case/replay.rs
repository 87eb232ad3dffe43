//! How fast captures are judged: `replay.*`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    net::Ipv4Addr,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use weir_bench_ebpf::source::List;
use weir_tests::{agent::binary, frame::Frame, namespace::Pair};

use super::Settings;
use crate::{data, finding::Finding, ours::PORT, stats::median};

const UNIT: &str = "Mpps";
/// A packet each so many microseconds.
const EACH_US: u64 = 2;
/// How many clients there are that are in no list.
const CLIENTS: u32 = 1 << 16;
/// The header of a pcap file (draft-ietf-opsawg-pcap): microseconds, version 2.4, Ethernet.
const HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1];

pub(super) fn run(settings: &Settings) -> Result<Vec<Finding>> {
    let packets = if settings.quick { 200_000 } else { 4_000_000 };
    let list = List::of(settings.prefixes);
    let directory = tempfile::tempdir()?;
    let entries = data::entries(list, 0).v4.clone();
    fs::write(directory.path().join("list"), data::text(&entries))?;
    let config = format!(
        "enforce: enforce\ninterfaces: [{{name: eth0}}]\nservices: [{{name: https, ports: [{PORT}/udp]}}]\n\
         feeds: [{{name: list, path: {}, action: drop}}]\n\
         limits: [{{name: per-source, service: https, packets: {{rate: 100/s, burst: 200}}}}]\n",
        directory.path().join("list").display()
    );
    fs::write(directory.path().join("weir.yaml"), config)?;
    write(&directory.path().join("capture.pcap"), packets, &entries)?;
    let rounds = if settings.quick { 1 } else { 5 };
    let rate = |case: &str, more: &[&str]| -> Result<Finding> {
        let rates =
            (0..rounds).map(|_| replay(directory.path(), packets, more)).collect::<Result<Vec<_>>>()?;
        Ok(Finding::value(case, UNIT, median(&rates)).measured_times(rates.len()))
    };
    let whole = format!("`weir replay` of {packets} packets, {} prefixes", list.len());
    Ok(vec![
        rate("replay.rate", &[])?.noting(whole),
        rate("replay.bare", &["--top", "0"])?.noting("the same without sources"),
    ])
}

/// Writes a capture: of four packets one comes from a listed source, one from an address that comes once, and
/// two from clients that go on and on.
fn write(path: &Path, packets: u64, listed: &[(u32, u8)]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for word in HEADER {
        file.write_all(&word.to_le_bytes())?;
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut frame = Frame::new().ipv4(Ipv4Addr::UNSPECIFIED, Pair::SERVER.v4).udp(4000, PORT).build();
    // Behind the Ethernet header and twelve bytes of that of IPv4.
    let place = 26..30;
    for number in 0..packets {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = u32::try_from(random >> 32)?;
        let source = match number % 4 {
            0 => listed.get(dice as usize % listed.len()).context("the list is empty")?.0,
            1 => dice,
            _ => 0x0b00_0000 + dice % CLIENTS,
        };
        frame.get_mut(place.clone()).context("a short frame")?.copy_from_slice(&source.to_be_bytes());
        let micros = number * EACH_US;
        let length = u32::try_from(frame.len())?;
        let seconds = u32::try_from(1_700_000_000 + micros / 1_000_000)?;
        for word in [seconds, u32::try_from(micros % 1_000_000)?, length, length] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    Ok(file.flush()?)
}

/// Returns how many million packets a second were judged.
fn replay(directory: &Path, packets: u64, more: &[&str]) -> Result<f64> {
    let output = Command::new(binary()?)
        .args(["replay", "capture.pcap", "-c", "weir.yaml", "--elsewhere", "-o", "json"])
        .args(more)
        .current_dir(directory)
        .env("WEIR_STATE", directory.join("state"))
        .output()
        .context("run weir replay")?;
    ensure!(output.status.success(), "weir replay: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["packets"] == packets, "{} packets were judged", report["packets"]);
    Ok(report["packets_per_second"].as_f64().context("no rate")? / 1e6)
}
