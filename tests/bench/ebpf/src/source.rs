//! What is listed, and which sources a program sends.

use crate::mix::{back, forth};

/// How many prefixes of each length the IPv4 list has: a number is a prefix if it is below these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct List {
    /// /32.
    pub hosts: u64,
    /// /24.
    pub nets: u64,
    /// /20.
    pub blocks: u64,
}

// Far apart in every width: the n-th of one kind must not be the n-th of another.
const HOST: u64 = 0x1b87_3593_cc9e_2d51;
const NET: u64 = 0x8515_4a7e_52dc_e729;
const BLOCK: u64 = 0x38b3_4ae5_a1e3_8b93;
const CLEAN: u64 = 0xe654_6b64_85eb_ca6b;
/// Tries to find an address that is not listed. One in eight is listed, so one in 16M times none is
/// found, and a listed one is taken.
const TRIES: u64 = 8;
/// The step from one try to the next where any address will do: no sum of few comes back.
const ANY: u64 = 0x9e37_79b1;

impl List {
    /// Nothing.
    pub const NONE: Self = Self { hosts: 0, nets: 0, blocks: 0 };

    /// Returns a list of `prefixes` prefixes: 60 % hosts, 30 % /24, 10 % /20.
    #[must_use]
    pub const fn of(prefixes: u64) -> Self {
        let (nets, blocks) = (prefixes * 3 / 10, prefixes / 10);
        Self { hosts: prefixes - nets - blocks, nets, blocks }
    }

    /// Returns how many prefixes there are.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.hosts + self.nets + self.blocks
    }

    /// Returns true if there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns prefix `n` and its length.
    #[inline(always)]
    #[must_use]
    pub const fn prefix(&self, n: u64) -> (u32, u8) {
        if n < self.hosts {
            (forth(32, HOST, n) as u32, 32)
        } else if n < self.hosts + self.nets {
            ((forth(24, NET, n - self.hosts) as u32) << 8, 24)
        } else {
            ((forth(20, BLOCK, n - self.hosts - self.nets) as u32) << 12, 20)
        }
    }

    /// Returns true if a prefix covers `address`.
    #[inline(always)]
    #[must_use]
    pub const fn covers(&self, address: u32) -> bool {
        let address = address as u64;
        back(32, HOST, address) < self.hosts
            || back(24, NET, address >> 8) < self.nets
            || back(20, BLOCK, address >> 12) < self.blocks
    }

    /// Returns an address under a prefix, any prefix as likely as any other.
    #[inline(always)]
    #[must_use]
    pub const fn listed(&self, random: u64) -> u32 {
        let (network, length) = self.prefix(below(self.len(), random));
        network | (random as u32 & (u64::MAX >> length >> 32) as u32)
    }

    /// Returns address `n` of `count` that no prefix covers; they are all different.
    #[inline(always)]
    #[must_use]
    pub const fn clean(&self, n: u64, count: u64) -> u32 {
        let (mut number, mut tries) = (n, 0);
        loop {
            let address = forth(32, CLEAN, number) as u32;
            tries += 1;
            if tries == TRIES || !self.covers(address) {
                return address;
            }
            number += count;
        }
    }
}

/// Returns a number below `count`, which is below 2^32, from 32 random bits, the upper ones.
#[inline(always)]
#[must_use]
pub const fn below(count: u64, random: u64) -> u64 {
    ((random >> 32) * count) >> 32
}

/// Lengths of the IPv6 list, and how many sixteenths of it each has.
pub const V6_LENGTHS: [(u8, u64); 5] = [(32, 1), (48, 3), (56, 4), (64, 4), (128, 4)];

/// Returns prefix `n` of an IPv6 list of `count`: upper and lower half, and its length. All are in
/// 2000::/3.
#[inline(always)]
#[must_use]
pub const fn v6_prefix(n: u64, count: u64) -> (u64, u64, u8) {
    let share = n * 16 / count;
    let length = match share {
        0 => V6_LENGTHS[0].0,
        1..4 => V6_LENGTHS[1].0,
        4..8 => V6_LENGTHS[2].0,
        8..12 => V6_LENGTHS[3].0,
        _ => V6_LENGTHS[4].0,
    };
    let (high, low) = (v6_high(forth(61, HOST, n)), forth(64, NET, n));
    match length {
        128 => (high, low, length),
        64 => (high, 0, length),
        _ => (high & !(u64::MAX >> length), 0, length),
    }
}

/// Returns an address under a prefix of the IPv6 list.
#[inline(always)]
#[must_use]
pub const fn v6_listed(count: u64, random: u64) -> (u64, u64) {
    let (high, low, length) = v6_prefix(below(count, random), count);
    match length {
        128 => (high, low),
        64 => (high, random),
        _ => (high | (random & (u64::MAX >> length)), random),
    }
}

/// Returns any address in 2000::/3; the chance that it is listed is below one in thousand.
#[inline(always)]
#[must_use]
pub const fn v6_any(random: u64) -> (u64, u64) {
    (v6_high(random >> 3), forth(64, CLEAN, random))
}

#[inline(always)]
const fn v6_high(bits: u64) -> u64 {
    1 << 61 | bits & (u64::MAX >> 3)
}

/// Which sources are sent; a number in [`Orders`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Choice {
    /// The same source always: that of the frame.
    Fixed = 0,
    /// Listed ones, at random.
    Listed = 1,
    /// Any that is not listed, at random.
    Unlisted = 2,
    /// `count` sources that are not listed, at random.
    Pool = 3,
    /// The same, one after the other.
    Turn = 4,
    /// Listed IPv6 ones, at random.
    V6Listed = 5,
    /// Any IPv6 ones, at random.
    V6Any = 6,
    /// `count` listed hosts (/32), at random: for filters that know no prefixes.
    Hosts = 7,
}

/// What a program that makes packets is told; the first value of the map `ORDERS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Orders {
    /// A [`Choice`].
    pub choice: u64,
    /// Sources of a pool, or prefixes of the IPv6 list.
    pub count: u64,
    /// What is listed.
    pub list: List,
    /// Where live frames go: the index of an interface.
    pub interface: u64,
    /// Packets a second on each CPU. 0: as many as it can.
    pub rate: u64,
    /// For how many ns they are sent at that rate. 0: for ever.
    pub lasts: u64,
}

/// What a program that makes packets remembers, for each CPU; the first value of the map `STATE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// Of the random numbers. Not 0.
    pub random: u64,
    /// Packets so far.
    pub packets: u64,
    /// When the first was sent, in ns, where they are sent at a rate. Later there is one due each
    /// time that a packet of that rate takes.
    pub first: u64,
    /// When the last was sent.
    pub last: u64,
    /// When it was last asked whether a packet is due, and the longest time between two such questions.
    pub asked: u64,
    /// See `asked`: this long the program did not run.
    pub pause: u64,
}

impl State {
    /// Returns 64 random bits (xorshift64*, Vigna 2016).
    #[inline(always)]
    pub fn draw(&mut self) -> u64 {
        let mut x = self.random | u64::from(self.random == 0);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// A source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// That of the frame as it is.
    Same,
    /// An IPv4 address.
    V4(u32),
    /// An IPv6 address in two halves.
    V6(u64, u64),
}

impl Orders {
    /// Returns true if a packet is due at `now`, in ns.
    #[inline(always)]
    pub fn is_due(&self, state: &mut State, now: u64) -> bool {
        const SECOND: u64 = 1_000_000_000;
        if state.first == 0 {
            state.first = now;
            state.asked = now;
        }
        let pause = now.wrapping_sub(state.asked);
        if pause > state.pause {
            state.pause = pause;
        }
        state.asked = now;
        let passed = now.wrapping_sub(state.first);
        let due = passed.wrapping_mul(self.rate) / SECOND;
        if state.packets >= due || (self.lasts != 0 && passed > self.lasts) {
            return false;
        }
        state.last = now;
        true
    }

    /// Returns the source of the next packet.
    #[inline(always)]
    pub fn source(&self, state: &mut State) -> Source {
        let random = state.draw();
        let turn = state.packets;
        state.packets = turn.wrapping_add(1);
        match self.choice {
            1 => Source::V4(self.list.listed(random)),
            2 => Source::V4(self.list.clean(random >> 32, ANY)),
            3 => Source::V4(self.list.clean(below(self.count, random), self.count)),
            4 => Source::V4(self.list.clean(turn % (self.count | u64::from(self.count == 0)), self.count)),
            5 => {
                let (high, low) = v6_listed(self.count | u64::from(self.count == 0), random);
                Source::V6(high, low)
            }
            6 => {
                let (high, low) = v6_any(random);
                Source::V6(high, low)
            }
            7 => Source::V4(self.list.prefix(below(self.count, random)).0),
            _ => Source::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LIST: List = List::of(1 << 20);

    #[test]
    fn a_list_has_its_lengths() {
        let of = |length| (0..LIST.len()).filter(|&n| LIST.prefix(n).1 == length).count();
        assert_eq!((LIST.len(), of(32), of(24), of(20)), (1 << 20, 629_147, 314_572, 104_857));
        let all: HashSet<_> = (0..LIST.len()).map(|n| LIST.prefix(n)).collect();
        assert_eq!(all.len(), 1 << 20, "they are different");
    }

    #[test]
    fn what_is_listed_is_known_without_the_list() {
        let all: HashSet<_> = (0..LIST.len()).map(|n| LIST.prefix(n)).collect();
        let covered = |address: u32| {
            [32u8, 24, 20]
                .into_iter()
                .any(|length| all.contains(&(address & (u32::MAX << (32 - length)), length)))
        };
        let mut state = State { random: 1, ..State::default() };
        for _ in 0..100_000 {
            let random = state.draw();
            assert!(covered(LIST.listed(random)));
            assert_eq!(covered(random as u32), LIST.covers(random as u32));
            assert!(!covered(LIST.clean(random >> 32, ANY)));
        }
    }

    #[test]
    fn a_pool_has_as_many_sources_as_it_should() {
        for (count, size) in [(100, 100), (1024, 1024), (65_536, 65_536), (1_000_000, 1_000_000)] {
            let pool: HashSet<_> = (0..count).map(|n| LIST.clean(n, count)).collect();
            assert_eq!(pool.len(), size);
            assert!(!pool.iter().any(|&address| LIST.covers(address)), "pool of {count}");
        }
    }

    #[test]
    fn v6_sources_are_under_their_prefix() {
        const COUNT: u64 = 1 << 20;
        let mut lengths = [0u64; 129];
        for n in 0..COUNT {
            lengths[usize::from(v6_prefix(n, COUNT).2)] += 1;
        }
        for (length, share) in V6_LENGTHS {
            assert_eq!(lengths[usize::from(length)], share << 16, "/{length}");
        }
        let mut state = State { random: 1, ..State::default() };
        for _ in 0..10_000 {
            let random = state.draw();
            let (high, low, length) = v6_prefix(below(COUNT, random), COUNT);
            let address = v6_listed(COUNT, random);
            let mask = u128::MAX << (128 - u32::from(length));
            let join = |(high, low): (u64, u64)| u128::from(high) << 64 | u128::from(low);
            assert_eq!(join(address) & mask, join((high, low)));
            assert_eq!(address.0 >> 61, 1);
        }
    }

    #[test]
    fn packets_are_due_at_their_rate() {
        let orders = Orders { rate: 1000, ..Orders::default() };
        let mut state = State { random: 1, ..State::default() };
        let mut sent = 0;
        for now in (5_000_000..1_005_000_000).step_by(10_000) {
            if orders.is_due(&mut state, now) {
                sent += 1;
                orders.source(&mut state);
            }
        }
        assert_eq!((sent, state.first), (999, 5_000_000));
        assert!(state.last > 1_003_000_000);
        let orders = Orders { lasts: 10_000_000, ..orders };
        let mut state = State { random: 1, ..State::default() };
        let asked = (0..100).filter(|n| orders.is_due(&mut state, 1 + n * 1_000_000)).count();
        assert_eq!(asked, 10, "none is due when its time is over");
    }

    #[test]
    fn a_turn_visits_all() {
        let orders = Orders { choice: Choice::Turn as u64, count: 1000, list: LIST, ..Orders::default() };
        let mut state = State { random: 1, ..State::default() };
        let sources: HashSet<_> = (0..1000)
            .map(|_| match orders.source(&mut state) {
                Source::V4(address) => address,
                other @ (Source::Same | Source::V6(..)) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sources.len(), 1000);
    }
}
