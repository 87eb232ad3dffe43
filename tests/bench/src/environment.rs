//! On what it was measured: without it no number means anything.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramInfo;
use weir::datapath::Pins;
use weir_tests::{
    agent::binary,
    budget::{STACK_MAX, TRANSLATED_MAX, VERIFIED_MAX},
    namespace::Namespace,
};

use crate::{
    finding::{Bound, Finding},
    ours,
};

/// The opcodes that move register 10, the frame pointer, and that add a constant
/// (Documentation/bpf/standardization/instruction-set.rst).
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
const FRAME_POINTER: u8 = 10;

/// Returns name and value of what matters.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let file =
        |path: &str| fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let information = file("/proc/cpuinfo");
    let of_cpu = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let cpus = information.lines().filter(|line| line.starts_with("processor")).count();
    vec![
        ("kernel", format!("{} {}", file("/proc/sys/kernel/osrelease"), std::env::consts::ARCH)),
        ("CPU", format!("{cpus} × {}, {} cache", of_cpu("model name"), of_cpu("cache size"))),
        ("tick", tick()),
        ("mitigations", mitigations()),
        (
            "JIT",
            format!(
                "bpf_jit_enable {}, bpf_stats_enabled {}",
                file("/proc/sys/net/core/bpf_jit_enable"),
                file("/proc/sys/kernel/bpf_stats_enabled")
            ),
        ),
        (
            "agent",
            first_line(
                "sha256sum",
                &[&binary().map_or_else(|_| "?".to_owned(), |path| path.display().to_string())],
            )
            .chars()
            .take(64)
            .collect::<String>()
                + " (SHA-256)",
        ),
        ("rustc", first_line("rustc", &["--version"])),
        ("eBPF rustc", first_line("rustup", &["run", "weir-bpf", "rustc", "--version"])),
        ("bpf-linker", first_line("bpf-linker", &["--version"])),
        ("ipset", first_line("ipset", &["--version"])),
        ("nft", first_line("nft", &["--version"])),
        ("iptables", first_line("iptables-legacy", &["--version"])),
        ("xdp-filter", first_line("xdp-filter", &["--version"])),
    ]
}

/// Refuses to measure where every run of a program is timed by the kernel: that takes longer than
/// some of them.
pub(crate) fn check() -> Result<()> {
    let setting = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").unwrap_or_default();
    ensure!(
        setting.trim() != "1",
        "kernel.bpf_stats_enabled is 1, which adds 70 ns to every run: set it to 0"
    );
    Ok(())
}

fn tick() -> String {
    let resolution = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    resolution.map_or_else(|_| "?".to_owned(), |tick| format!("HZ={}", 1_000_000_000 / tick.tv_nsec().max(1)))
}

fn mitigations() -> String {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return "?".to_owned() };
    let mut active: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let mitigation = text.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{}: {mitigation}", entry.file_name().display()))
        })
        .collect();
    active.sort_unstable();
    active.join("; ")
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "not there".to_owned())
}

/// Says what our program costs the verifier, and whether that is within its budget.
pub(crate) fn budget() -> Result<Vec<Finding>> {
    Namespace::new()?.run(|| {
        let pins = Pins::new(Path::new(ours::BPFFS));
        let _ours = ours::Ours::new(&ours::Made::new(std::sync::Arc::default(), None)?, 17)?;
        let program = ProgramInfo::from_pin(pins.program())?;
        let verified =
            program.verified_instruction_count().context("the kernel does not tell verified instructions")?;
        let dump = tempfile::NamedTempFile::new()?;
        let pin = pins.program().display().to_string();
        let status = Command::new("bpftool")
            .args(["prog", "dump", "xlated", "pinned", &pin, "file"])
            .arg(dump.path())
            .status();
        ensure!(status.context("run bpftool")?.success(), "bpftool does not dump the program");
        let instructions = fs::read(dump.path())?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let translated = instructions.len() as f64;
        let finding = |case, unit, value, most: u32| {
            Finding::value(case, unit, value).aiming("budget", None, Bound::AtMost(f64::from(most)))
        };
        Ok(vec![
            finding("program.verified", "instructions", f64::from(verified), VERIFIED_MAX),
            finding("program.size", "bytes", translated, TRANSLATED_MAX),
            finding("program.stack", "bytes", f64::from(stack(&instructions)), STACK_MAX),
        ])
    })
}

/// Returns how deep a program reaches below its frame pointer, in bytes: what the verifier calls its
/// stack depth. That of a single function; one that is called has a frame of its own.
fn stack(instructions: &[u8]) -> u32 {
    let mut deepest = 0i32;
    // Registers that hold the frame pointer, for as long as one can see at once.
    let mut holder = None;
    for instruction in instructions.chunks_exact(8) {
        let (code, registers) = (instruction[0], instruction[1]);
        let offset = i32::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let constant = i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
        let (destination, source) = (registers & 0xf, registers >> 4);
        let accesses = match code & 0x07 {
            0x01 => source == FRAME_POINTER,             // load
            0x02 | 0x03 => destination == FRAME_POINTER, // store
            _ => false,
        };
        if accesses {
            deepest = deepest.min(offset);
        }
        match code {
            MOVE if source == FRAME_POINTER => holder = Some(destination),
            ADD if holder == Some(destination) => {
                deepest = deepest.min(constant);
                holder = None;
            }
            _ => {}
        }
    }
    deepest.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_is_as_deep_as_the_lowest_access() {
        // *(u64 *)(r10 - 16) = r1; r2 = r10; r2 += -40; r3 = *(u32 *)(r1 - 400); exit
        let program = [
            [0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0],
            [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
            [0x07, 0x02, 0, 0, 0xd8, 0xff, 0xff, 0xff],
            [0x61, 0x13, 0x70, 0xfe, 0, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(stack(&program.concat()), 40);
        assert_eq!(stack(&program[..1].concat()), 16);
        assert_eq!(stack(&[]), 0);
    }
}
