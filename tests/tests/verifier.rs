//! What the programs cost the kernel: verified instructions, stack and map memory have a budget
//! that is raised on purpose only.

use std::path::Path;

use aya::{maps::MapInfo, programs::ProgramInfo};
use aya_obj::{Object, generated::bpf_insn};
use weir::datapath::{self, Datapath, Pins};
use weir_common::map::{Map, Sizes};
use weir_tests::{
    budget::{TRANSLATED_MAX, VERIFIED_MAX},
    namespace::Namespace,
};

/// The opcode of atomic instructions on 64-bit words, and the operations among them that return
/// what was in memory (Documentation/bpf/standardization/instruction-set.rst).
const ATOMIC_64: u8 = 0xdb;
const COMPARE_EXCHANGE: i32 = 0xf1;
const FETCH: i32 = 0x01;

#[test]
fn the_programs_stay_within_their_budget() {
    let sizes = Sizes { v4_bits: 17, v6_bits: 14, limiter_bits: 21 };
    let namespace = Namespace::new().unwrap();
    let (programs, bytes) = namespace
        .run(|| {
            let pins = Pins::new(Path::new("/sys/fs/bpf"));
            pins.create()?;
            let _datapath = Datapath::open(&pins, pins.lock()?, sizes, 32)?;
            let programs = [("xdp", pins.program()), ("tcx", pins.tcx_program())]
                .map(|(name, pin)| (name, ProgramInfo::from_pin(pin)));
            let mut bytes = 0;
            for map in Map::ALL {
                let info = MapInfo::from_pin(pins.map(map.name()))?;
                bytes += u64::from(info.max_entries()) * u64::from(info.value_size());
            }
            Ok((programs, bytes))
        })
        .unwrap();
    for (name, info) in programs {
        let info = info.unwrap();
        let (verified, translated) = (info.verified_instruction_count(), info.size_translated());
        println!("{name}: verified {verified:?} instructions, translated {translated:?} bytes");
        assert!(verified.unwrap() <= VERIFIED_MAX, "{name}: {verified:?} instructions verified");
        assert!(translated.unwrap() <= TRANSLATED_MAX, "{name}: {translated:?} bytes");
    }
    println!("maps: {bytes} bytes");
    // 128 MB of buckets, 4 MB of bans, and twice 4 MB root, 2 MB wide, 8 MB lines, 4 MB filter, 1 MB IPv6 lines
    // and small maps.
    assert!(bytes <= 174 << 20, "{bytes} bytes of maps in the default sizes");
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
            let program = pins.program().display().to_string();
            let dump = ["prog", "dump", "xlated", "pinned", &program, "file"];
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

/// What `cargo xtask test kernels` would show after minutes: Linux 6.1 lets only jumps lead back to an
/// instruction that is on the way (kernel/bpf/verifier.c, `check_cfg`). docs/kernels.md has the mend.
#[test]
fn no_loop_is_laid_out_as_linux_6_1_refuses_it() {
    let object = Object::parse(datapath::object()).unwrap();
    assert!(!object.functions.is_empty());
    for (place, function) in &object.functions {
        let edges = refused_edges(&function.instructions);
        assert!(edges.is_empty(), "{place:?}: back-edges by falling through: {edges:?}");
    }
}

/// Walks the graph as the kernel does, depth first and straight on before aside, and returns the steps
/// that it refuses, as instruction numbers of the function.
fn refused_edges(code: &[bpf_insn]) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; code.len()];
    let mut path = vec![(0, successors(code, 0))];
    let mut refused = Vec::new();
    states[0] = State::Open;
    while let Some((from, open)) = path.last_mut() {
        let from = *from;
        let Some((to, jumps)) = open.pop() else {
            states[from] = State::Done;
            path.pop();
            continue;
        };
        match states[to] {
            State::New => {
                states[to] = State::Open;
                path.push((to, successors(code, to)));
            }
            State::Open if !jumps => refused.push((from, to)),
            State::Open | State::Done => {}
        }
    }
    refused
}

/// Returns where an instruction leads, the last first, and whether it jumps or, at a condition, may.
fn successors(code: &[bpf_insn], at: usize) -> Vec<(usize, bool)> {
    const JUMP_CLASSES: [u8; 2] = [0x05, 0x06];
    const ALWAYS: u8 = 0x00;
    const CALL: u8 = 0x80;
    const EXIT: u8 = 0x90;
    const LOAD_64: u8 = 0x18; // the one that is two instructions long
    let instruction = code[at];
    let next = at + if instruction.code == LOAD_64 { 2 } else { 1 };
    if !JUMP_CLASSES.contains(&(instruction.code & 0x07)) {
        return vec![(next, false)];
    }
    let target = (at + 1).wrapping_add_signed(instruction.off.into());
    match instruction.code & 0xf0 {
        ALWAYS => vec![(target, true)],
        CALL => vec![(next, false)],
        EXIT => vec![],
        _ => vec![(target, true), (next, true)],
    }
}

#[test]
fn a_fall_into_a_loop_from_within_is_found() {
    let code = |instructions: &[(u8, i16)]| {
        let registers = bpf_insn::new_bitfield_1(0, 0);
        let instruction =
            |&(code, off)| bpf_insn { code, _bitfield_align_1: [], _bitfield_1: registers, off, imm: 0 };
        instructions.iter().map(instruction).collect::<Vec<_>>()
    };
    let (step, jump, jump_if, exit) = (0xb7, 0x05, 0x15, 0x95);
    // Head first: 1 is the head, and 2 jumps back to it.
    assert_eq!(refused_edges(&code(&[(step, 0), (step, 0), (jump_if, -2), (exit, 0)])), []);
    // Tail first: 0 jumps to the head at 2, and 3 to the tail at 1, which falls into the head.
    let tail_first = code(&[(jump, 1), (step, 0), (step, 0), (jump_if, -3), (exit, 0)]);
    assert_eq!(refused_edges(&tail_first), [(1, 2)]);
}
