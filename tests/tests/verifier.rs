//! What the program costs the kernel: verified instructions, stack and map memory have a budget
//! that is raised on purpose only.

use std::path::Path;

use aya::{maps::MapInfo, programs::ProgramInfo};
use weir::datapath::{Datapath, Pins};
use weir_common::map::{Map, Sizes};
use weir_tests::namespace::Namespace;

/// Instructions that the verifier may walk through; it gives up at a million.
const VERIFIED_MAX: u32 = 330_000;
/// Instructions of the program itself, in bytes.
const TRANSLATED_MAX: u32 = 64_000;
/// The opcode of atomic instructions on 64-bit words, and the operations among them that return
/// what was in memory (Documentation/bpf/standardization/instruction-set.rst).
const ATOMIC_64: u8 = 0xdb;
const COMPARE_EXCHANGE: i32 = 0xf1;
const FETCH: i32 = 0x01;

#[test]
fn the_program_stays_within_its_budget() {
    let sizes = Sizes { v4_bits: 17, v6_bits: 14, limiter_bits: 21 };
    let namespace = Namespace::new().unwrap();
    let (verified, translated, bytes) = namespace
        .run(|| {
            let pins = Pins::new(Path::new("/sys/fs/bpf"));
            pins.create()?;
            let _datapath = Datapath::open(&pins, pins.lock()?, sizes, 32)?;
            let program = ProgramInfo::from_pin(pins.program())?;
            let mut bytes = 0;
            for map in Map::ALL {
                let info = MapInfo::from_pin(pins.map(map.name()))?;
                bytes += u64::from(info.max_entries()) * u64::from(info.value_size());
            }
            Ok((program.verified_instruction_count(), program.size_translated(), bytes))
        })
        .unwrap();
    println!("verified {verified:?} instructions, translated {translated:?} bytes, maps {bytes} bytes");
    assert!(verified.unwrap() <= VERIFIED_MAX, "{verified:?} instructions verified");
    assert!(translated.unwrap() <= TRANSLATED_MAX, "{translated:?} bytes");
    // 128 MB of buckets, and twice 4 MB root, 8 MB lines, 2 MB filter, 1 MB IPv6 lines and small maps.
    assert!(bytes <= 162 << 20, "{bytes} bytes of maps in the default sizes");
}

/// LLVM 22 drops the fetch of a relaxed atomic whose result is used (llvm#210280). All ours fetch.
#[test]
fn every_atomic_instruction_returns_what_it_found() {
    let namespace = Namespace::new().unwrap();
    let dump = namespace
        .run(|| {
            let pins = Pins::new(Path::new("/sys/fs/bpf"));
            pins.create()?;
            let sizes = Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
            let _datapath = Datapath::open(&pins, pins.lock()?, sizes, 32)?;
            let file = tempfile::NamedTempFile::new()?;
            let dump = ["prog", "dump", "xlated", "pinned", "/sys/fs/bpf/weir/v1/prog", "file"];
            let status = std::process::Command::new("bpftool").args(dump).arg(file.path()).status()?;
            assert!(status.success(), "bpftool prog dump");
            Ok(std::fs::read(file.path())?)
        })
        .unwrap();
    let operations: Vec<i32> = dump
        .chunks_exact(8)
        .filter(|instruction| instruction[0] == ATOMIC_64)
        .map(|instruction| i32::from_le_bytes(instruction[4..8].try_into().unwrap()))
        .collect();
    assert!(operations.contains(&COMPARE_EXCHANGE), "no compare-and-swap: {operations:x?}");
    assert!(operations.iter().all(|operation| operation & FETCH != 0), "{operations:x?}");
}
