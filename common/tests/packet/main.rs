//! The parser: a table of frames with what is to be found in them, the same frames cut off at every
//! byte, random and mutated frames, and another parser beside it.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::cast_possible_truncation, reason = "frames are shorter than their length fields allow")]

mod build;
mod cases;
mod check;
mod corpus;
mod links;
mod random;
#[path = "../support/random.rs"]
mod random_numbers;

use std::collections::HashSet;

use cases::{Case, cases};
use weir_common::packet::{Defect, Kind, Packet, parse};

/// A longer packet has no length but that of its frame (RFC 2675).
const JUMBO: u32 = 66_000;

/// The facts of a frame but for the place of its transport header, see [`transport_of`].
fn read(frame: &[u8]) -> Packet {
    let mut packet = Packet::UNKNOWN;
    parse(&frame, &mut packet);
    Packet { transport: 0, ..packet }
}

fn transport_of(frame: &[u8]) -> usize {
    let mut packet = Packet::UNKNOWN;
    parse(&frame, &mut packet);
    packet.transport as usize
}

#[test]
fn every_frame_is_read_as_it_is() {
    let mut names = HashSet::new();
    for Case { name, frame, want } in cases() {
        assert_eq!(read(&frame), want, "{name}: {frame:02x?}");
        if want.source_port != 0 {
            let at = transport_of(&frame);
            assert_eq!(frame[at..at + 2], want.source_port.to_be_bytes(), "{name}: header at {at}");
        }
        assert!(names.insert(name.clone()), "{name} twice");
    }
}

/// A frame that is cut off has the right source or none, and what is missing is noticed.
#[test]
fn cut_off_at_any_byte() {
    for Case { name, frame, want } in cases() {
        for cut in 0..frame.len() {
            let got = read(&frame[..cut]);
            assert!(got.length as usize <= cut, "{name} cut at {cut}: {got:?}");
            match (want.kind, got.kind) {
                (Kind::Ip, Kind::Ip) => assert_eq!(got.source, want.source, "{name} cut at {cut}"),
                (_, Kind::Unreadable) => {}
                (wanted, kind) => assert_eq!(kind, wanted, "{name} cut at {cut}"),
            }
            if want.kind == Kind::Ip && want.defect.is_none() {
                if cut >= want.length as usize {
                    assert_eq!(got, want, "{name} without padding");
                } else if want.length <= JUMBO {
                    assert!(got.defect.is_some(), "{name} cut at {cut}: {got:?}");
                }
            }
        }
    }
}

/// Bytes behind the end of the IP packet change nothing.
#[test]
fn padding_is_not_read() {
    for Case { name, frame, want } in cases() {
        // Where the length is that of the frame, more is more.
        if want.length as usize == frame.len()
            && (want.kind != Kind::Ip || want.defect.is_some() || want.length > JUMBO)
        {
            continue;
        }
        for padding in [[0u8; 64], [0xff; 64], [44; 64], [6; 64]] {
            let padded = [&frame[..], &padding[..]].concat();
            let mut got = read(&padded);
            if want.defect == Some(Defect::TotalLength) {
                continue; // it may reach as far as it claims
            }
            if got.defect.is_some() && want.defect == got.defect {
                got.length = want.length;
            }
            assert_eq!(got, want, "{name} with padding {:#04x}", padding[0]);
        }
    }
}

#[test]
fn every_defect_occurs() {
    let found: Vec<_> = cases().into_iter().filter_map(|case| case.want.defect).collect();
    for defect in [
        Defect::Truncated,
        Defect::VlanDepth,
        Defect::HeaderLength,
        Defect::TotalLength,
        Defect::ExtensionChain,
        Defect::TinyFragment,
    ] {
        assert!(found.contains(&defect), "no frame with {defect:?}");
    }
}
