//! Random and mutated frames, and etherparse beside our parser: see [`check`](crate::check).

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    build::ethernet,
    cases::cases,
    check::{Compared, check},
    random_numbers::Random,
};

/// Numbers that mean something somewhere in a frame.
const TELLING: [u8; 26] = [
    0, 1, 2, 4, 5, 6, 8, 17, 0x21, 41, 43, 44, 0x45, 0x46, 50, 51, 0x57, 58, 59, 60, 0x60, 0x81, 0x86, 135,
    139, 140,
];

fn any_ethertype() -> impl Strategy<Value = u16> {
    let rare = prop::sample::select(vec![0x0806u16, 0x8847, 0x8848, 0x8863, 0x8864, 0x88e5, 60]);
    prop_oneof![6 => Just(0x0800u16), 6 => Just(0x86dd), 3 => rare, 1 => any::<u16>()]
}

fn any_tags() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let tpid = prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]);
    proptest::collection::vec((tpid, any::<u16>()), 0..4)
}

/// Bytes with a version and a header length that often are right.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![3 => Just(0x45u8), 2 => 0x40u8..0x50, 4 => Just(0x60u8), 1 => any::<u8>()];
    (first, proptest::collection::vec(any::<u8>(), 0..160)).prop_map(|(first, mut bytes)| {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        bytes
    })
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![2 => any::<u8>(), 2 => prop::sample::select(&TELLING[..]), 1 => Just(0xffu8)];
    let changes = proptest::collection::vec((0usize..120, byte), 0..5);
    let cut = prop_oneof![3 => Just(usize::MAX), 1 => 0usize..160];
    (prop::sample::select(frames()), changes, cut).prop_map(|(mut frame, changes, cut)| {
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(cut);
        frame
    })
}

/// The frames of the table that are small enough to be changed a million times.
fn frames() -> Vec<Vec<u8>> {
    cases().into_iter().map(|case| case.frame).filter(|frame| frame.len() < 2048).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    #[test]
    fn any_bytes(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&frame);
    }

    #[test]
    fn any_ip(tags in any_tags(), ethertype in any_ethertype(), packet in any_packet()) {
        check(&ethernet(&tags, ethertype, &packet));
    }

    #[test]
    fn any_change(frame in mutated()) {
        check(&frame);
    }
}

/// The same at volume: up to eight changes, insertions, removals and joints with other frames.
#[test]
fn millions_of_changes() {
    let frames = frames();
    let mut random = Random(0x5eed);
    let mut counts = BTreeMap::new();
    for _ in 0..4_000_000 {
        let frame = change(&frames, &mut random);
        *counts.entry(check(&frame)).or_insert(0u32) += 1;
    }
    println!("{counts:?}");
    assert!(counts[&Compared::All] > 1_000_000 && counts[&Compared::Source] > 500_000, "{counts:?}");
}

fn change(frames: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut frame = frames[random.below(frames.len() as u64) as usize].clone();
    for _ in 0..random.below(9) {
        if frame.is_empty() {
            break;
        }
        // Headers are in front.
        let at = random.below(frame.len().min(100) as u64) as usize;
        match random.below(16) {
            0..6 => frame[at] = random.next() as u8,
            6..12 => frame[at] = TELLING[random.below(TELLING.len() as u64) as usize],
            12 => frame[at] ^= 1 << random.below(8),
            13 => frame.truncate(at),
            14 => drop(frame.splice(at..at, [random.next() as u8; 4])),
            _ => {
                let other = &frames[random.below(frames.len() as u64) as usize];
                frame.truncate(at);
                frame.extend(other.iter().skip(at));
            }
        }
    }
    frame
}
