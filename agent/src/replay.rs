//! What a policy would have done to recorded traffic.
//!
//! Packets of a capture are judged one by one, at their own times, as the kernel judges them. Memory
//! is that of the policy, and a bounded table of sources.

/// The clock of a capture.
mod clock;
/// What is counted.
mod tally;
/// Who sent how much.
mod sources;
/// Two policies side by side.
mod comparison;
/// What came of it, row by row.
mod rows;
/// What came of it.
mod report;
/// The same for people.
mod text;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use weir_common::packet::{self, Kind};
use weir_ebpf::Case;

use self::{clock::Clock, comparison::Comparison, sources::Sources, tally::Tally};
pub use self::{
    clock::Times,
    report::{Compared, Report, Summary},
    tally::Fate,
    text::{Sections, text},
};
use crate::{
    capture::{Captured, Link, Packet},
    offline::Offline,
};

/// What is to be told of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// How many are shown. 0: they are not even counted.
    pub top: usize,
    /// They are shown by pseudonyms, which are other ones in each run.
    pub pseudonyms: bool,
}

/// A capture on its way through a policy.
#[derive(Debug)]
pub struct Replay<'o> {
    policy: &'o Offline,
    comparison: Option<Comparison<'o>>,
    /// Addresses of the host that captured: what they send, nobody judges.
    own: Vec<IpNet>,
    naming: Naming,
    clock: Clock,
    tally: Tally,
    sources: Sources,
    left_out: LeftOut,
    case: Case,
    room: Vec<u8>,
}

/// Packets that were not judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The host that captured them has sent them.
    pub(crate) sent: u64,
    /// By the number of their link type, of which nothing is known.
    pub(crate) links: BTreeMap<u16, u64>,
}

impl<'o> Replay<'o> {
    /// Begins. `against` is a policy that is compared with.
    #[must_use]
    pub fn new(policy: &'o Offline, against: Option<&'o Offline>, own: Vec<IpNet>, naming: Naming) -> Self {
        Self {
            policy,
            comparison: against.map(|other| Comparison::new(other, naming.top > 0)),
            own,
            naming,
            clock: Clock::default(),
            tally: Tally::new(policy.names().classes()),
            sources: Sources::default(),
            left_out: LeftOut::default(),
            case: Case::OPEN,
            room: Vec::new(),
        }
    }

    /// Judges a packet.
    pub fn take(&mut self, packet: &Packet<'_>) {
        let Self { policy, comparison, own, naming, clock, tally, sources, left_out, case, room } = self;
        let now = clock.at(packet.time);
        let Some(framed) = packet.link.frame(packet.bytes, packet.original, room) else {
            if let Link::Other(number) = packet.link {
                *left_out.links.entry(number).or_default() += 1;
            }
            return;
        };
        let frame = framed.frame;
        if packet.sent || framed.sent || is_from(own, &frame) {
            left_out.sent += 1;
            return;
        }
        policy.judge(now, &frame, case);
        let fate = Fate::of(case, frame.is_cut());
        tally.count(case, fate, frame.is_cut());
        if naming.top > 0 && case.packet.kind == Kind::Ip {
            sources.count(case, fate);
        }
        if let Some(comparison) = comparison {
            comparison.judge(now, &frame, case, fate);
        }
    }

    /// Returns how many packets were judged so far.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.tally.packets()
    }
}

/// Returns true if the source of a frame is one of `own`.
fn is_from(own: &[IpNet], frame: &Captured<'_>) -> bool {
    if own.is_empty() {
        return false;
    }
    let mut parsed = packet::Packet::UNKNOWN;
    packet::parse(frame, &mut parsed);
    parsed.kind == Kind::Ip && {
        let source = IpAddr::from(parsed.source);
        own.iter().any(|prefix| prefix.contains(&source))
    }
}
