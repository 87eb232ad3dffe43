use std::{cmp::Reverse, net::IpAddr};

use aws_lc_rs::{hmac, rand};
use rustc_hash::FxHashMap;
use weir_common::{addr::Address, verdict::Reason};
use weir_ebpf::Case;

use super::Fate;

/// Sources that are kept at once, 30 MB of them: as many as a hash table has room for before it doubles.
const SOURCES_MAX: usize = (1 << 18) / 8 * 7;
/// Packets that are counted together. Among so many sources each is somewhere else in memory, and it is
/// not waited for one after the other where nothing else is done in between.
const TOGETHER: usize = 1 << 12;

/// Who sent how much. Where there are more sources than are kept, the half that sent least is let go
/// of, so that whoever sends much is found, however late it begins.
#[derive(Debug, Default)]
pub(super) struct Sources {
    table: FxHashMap<Address, Source>,
    /// Packets of sources that were let go of.
    left_out: u64,
    /// Packets that are not counted yet.
    waiting: Vec<Sent>,
}

/// What is counted of a packet.
#[derive(Clone, Copy, Debug)]
struct Sent {
    source: Address,
    bytes: u32,
    fate: Fate,
    reason: Reason,
}

/// What a source sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// Packets by [`Fate`].
    pub(super) packets: [u64; Fate::ALL.len()],
    pub(super) bytes: u64,
    /// A bit for each [`Reason`] other than that nothing speaks against a packet.
    reasons: u32,
}

impl Source {
    pub(super) fn total(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// Returns how many packets are or would be dropped.
    pub(super) fn refused(&self) -> u64 {
        self.packets[Fate::Drop as usize] + self.packets[Fate::WouldDrop as usize]
    }

    /// Returns the reasons that were given.
    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(|reason| self.reasons >> *reason as u32 & 1 != 0)
    }

    fn add(&mut self, sent: &Sent) {
        self.packets[sent.fate as usize] += 1;
        self.bytes += u64::from(sent.bytes);
        if sent.reason != Reason::Clean {
            self.reasons |= 1 << sent.reason as u32;
        }
    }
}

impl Sources {
    /// Takes note of a packet, which is counted with others later.
    pub(super) fn count(&mut self, case: &Case, fate: Fate) {
        let Case { packet, reason, .. } = case;
        self.waiting.push(Sent { source: packet.source, bytes: packet.length, fate, reason: *reason });
        if self.waiting.len() >= TOGETHER {
            self.settle();
        }
    }

    /// Counts what waits. To be called before anything is asked.
    pub(super) fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for sent in waiting.drain(..) {
            if self.table.len() >= SOURCES_MAX {
                self.prune();
            }
            self.table.entry(sent.source).or_default().add(&sent);
        }
        self.waiting = waiting;
    }

    fn prune(&mut self) {
        let mut totals: Vec<u64> = self.table.values().map(Source::total).collect();
        let middle = totals.len() / 2;
        let (_, &mut median, _) = totals.select_nth_unstable(middle);
        self.table.retain(|_, source| {
            let total = source.total();
            let stays = total > median;
            self.left_out += if stays { 0 } else { total };
            stays
        });
    }

    /// Returns how many packets are of sources that were let go of.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns how many sources are kept.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns those of which most is refused, then those that sent most.
    pub(super) fn top(&self, most: usize) -> Vec<(Address, Source)> {
        let mut all: Vec<(Address, Source)> = self.table.iter().map(|(at, source)| (*at, *source)).collect();
        let order = |(address, source): &(Address, Source)| {
            (Reverse(source.refused()), Reverse(source.total()), *address)
        };
        if most < all.len() && most > 0 {
            all.select_nth_unstable_by_key(most - 1, order);
        }
        all.truncate(most);
        all.sort_unstable_by_key(order);
        all
    }
}

/// What sources are called: their addresses, or what nobody can tell them by who has not the key.
pub(super) struct Namer(Option<hmac::Key>);

impl Namer {
    /// Returns one that tells addresses, or one with a key that nobody keeps. Where no key can be had,
    /// sources have no names at all.
    pub(super) fn new(pseudonyms: bool) -> Option<Self> {
        if !pseudonyms {
            return Some(Self(None));
        }
        let mut key = [0; 32];
        rand::fill(&mut key).ok()?;
        Some(Self(Some(hmac::Key::new(hmac::HMAC_SHA256, &key))))
    }

    pub(super) fn name(&self, address: Address) -> String {
        let address = IpAddr::from(address);
        let Self(Some(key)) = self else { return address.to_string() };
        let tag = match address {
            IpAddr::V4(v4) => hmac::sign(key, &v4.octets()),
            IpAddr::V6(v6) => hmac::sign(key, &v6.octets()),
        };
        let first = tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        format!("source-{first:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(source: u32) -> Case {
        let mut case = Case::OPEN;
        case.packet.source = Address::V4(source);
        case.packet.length = 100;
        case
    }

    #[test]
    fn whoever_sends_most_is_found_among_more_sources_than_are_kept() {
        let mut sources = Sources::default();
        let many = u32::try_from(3 * SOURCES_MAX).unwrap();
        for source in 0..many {
            sources.count(&case(source), Fate::Pass);
            // Begins late, and is refused.
            if source > many / 2 && source.is_multiple_of(100) {
                sources.count(&case(u32::MAX), Fate::Drop);
            }
        }
        sources.settle();
        assert!(sources.len() <= SOURCES_MAX && sources.left_out() > 0);
        let top = sources.top(3);
        assert_eq!((top.len(), top[0].0), (3, Address::V4(u32::MAX)));
        assert!(top[0].1.refused() > 1000);
        let total: u64 = sources.table.values().map(Source::total).sum();
        let sent = u64::from(many)
            + u64::try_from((many / 2 + 1..many).filter(|s| s.is_multiple_of(100)).count()).unwrap();
        assert_eq!(total + sources.left_out(), sent);
    }

    #[test]
    fn pseudonyms_tell_sources_apart_and_nothing_else() {
        let namer = Namer::new(true).unwrap();
        let (one, other) = (namer.name(Address::V4(1)), namer.name(Address::V4(2)));
        assert!(one != other && one == namer.name(Address::V4(1)));
        assert!(one != Namer::new(true).unwrap().name(Address::V4(1)), "the key is another one");
        assert_eq!(Namer::new(false).unwrap().name(Address::V4(1)), "0.0.0.1");
    }
}
