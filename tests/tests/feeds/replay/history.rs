//! A list of sources as it changes by the hour, the way lists of scanners and bots do: some
//! hundred addresses come and go, networks are taken in, let go of in part, or put together.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

#[path = "../../../../common/tests/support/random.rs"]
mod random;

use random::Random;
use weir_tests::ranges;

/// One in so many goes in an hour, and as many come and some more: the list that was looked at lost
/// 3.2 % in a day and gained 3.8 %.
const GOES_ONE_IN: u64 = 31 * 24;
/// Networks that are split, made of what lies in them, or become wider or narrower in an hour.
const RESHAPED: usize = 2;
/// One in so many entries is IPv6.
const V6_ONE_IN: u64 = 40;
/// Where the sources are: so many networks of 256 addresses, which are in so many of 65,536, as those
/// of IPsum's third level are.
const NETWORKS: u64 = 7200;
const AROUND: u128 = 3600;

/// A network; `bits` are those of IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    pub(crate) v6: bool,
    pub(crate) bits: u128,
    pub(crate) length: u8,
}

/// The list as it is today.
pub(crate) struct History {
    random: Random,
    prefixes: BTreeSet<Prefix>,
    /// It does not grow beyond.
    most: usize,
    version: u32,
}

impl Prefix {
    const fn width(self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    pub(crate) fn last(self) -> u128 {
        ranges::last(self.bits, self.length, self.width())
    }

    fn of_length(self, length: u8) -> Self {
        let rest = ranges::last(0, length, self.width());
        Self { bits: self.bits & !rest, length, ..self }
    }

    fn covers(self, other: Self) -> bool {
        self.v6 == other.v6 && self.length <= other.length && other.of_length(self.length) == self
    }

    fn halves(self) -> [Self; 2] {
        let low = Self { length: self.length + 1, ..self };
        [low, Self { bits: low.last() + 1, ..low }]
    }
}

impl History {
    /// Begins with a list of so many entries.
    pub(crate) fn new(seed: u64, entries: usize) -> Self {
        let mut history =
            Self { random: Random(seed), prefixes: BTreeSet::new(), most: entries + entries / 8, version: 0 };
        while history.prefixes.len() < entries {
            let new = history.new_prefix();
            history.prefixes.insert(new);
        }
        history
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.prefixes.iter().copied()
    }

    /// Lets some hours pass.
    pub(crate) fn pass(&mut self, hours: usize) {
        self.version += 1;
        let before = self.prefixes.len();
        let random = &mut self.random;
        self.prefixes.retain(|_| random.below(GOES_ONE_IN) >= hours as u64);
        let gone = before - self.prefixes.len();
        for _ in 0..gone + gone / 6 {
            let new = self.new_prefix();
            self.prefixes.insert(new);
        }
        for _ in 0..RESHAPED * hours {
            self.reshape();
        }
        // As lists do that have had too much of it.
        while self.prefixes.len() > self.most {
            let any = self.any();
            self.prefixes.remove(&any);
        }
    }

    /// Lets a season pass at once: a third goes, and another third comes.
    pub(crate) fn turn(&mut self) {
        let before = self.prefixes.len();
        let random = &mut self.random;
        self.prefixes.retain(|_| random.below(3) > 0);
        while self.prefixes.len() < before {
            let new = self.new_prefix();
            self.prefixes.insert(new);
        }
    }

    /// Returns it as its publisher writes it: sorted, but for the times when it is not.
    pub(crate) fn text(&mut self) -> String {
        let mut prefixes: Vec<_> = self.prefixes.iter().copied().collect();
        if self.version % 10 == 9 {
            for at in (1..prefixes.len()).rev() {
                prefixes.swap(at, usize::try_from(self.random.below(at as u64 + 1)).unwrap());
            }
        }
        let mut text = format!("# version {}\n# Entries : {} subnets\n", self.version, prefixes.len());
        for prefix in prefixes {
            match (prefix.v6, prefix.length) {
                (false, 32) => _ = writeln!(text, "{}", v4(prefix.bits)),
                (false, length) => _ = writeln!(text, "{}/{length} # of {}", v4(prefix.bits), self.version),
                (true, length) => _ = writeln!(text, "{}/{length}", Ipv6Addr::from_bits(prefix.bits)),
            }
        }
        text
    }

    fn any(&mut self) -> Prefix {
        let at = self.random.below(self.prefixes.len() as u64);
        *self.prefixes.iter().nth(usize::try_from(at).unwrap()).unwrap()
    }

    fn new_prefix(&mut self) -> Prefix {
        let random = &mut self.random;
        let v6 = random.below(V6_ONE_IN) == 0;
        // Most are hosts, then networks as they are handed out; wide ones are rare.
        let kind = random.below(1000);
        let length = match (v6, kind) {
            (false, 0) => 15,
            (false, 1..=9) => 16 + u8::try_from(random.below(8)).unwrap(),
            (false, 10..=69) => 24,
            (false, 70..=119) => 25 + u8::try_from(random.below(7)).unwrap(),
            (false, _) | (true, 0..=99) => 32,
            (true, 100..=299) => 48,
            (true, 300..=599) => 64,
            (true, _) => 128,
        };
        let network = u128::from(random.below(NETWORKS));
        let bits = if v6 {
            0x2001_0db8 << 96
                | network << 80
                | u128::from(random.below(4)) << 64
                | u128::from(random.below(64))
        } else {
            // 11.0.0.0 and up: no network that means something special.
            let third = (network * 0x9e37_79b1) >> 16 & 0xff;
            0x0b00_0000 + ((network % AROUND) << 16) + (third << 8) + u128::from(random.below(256))
        };
        Prefix { v6, bits, length }.of_length(length)
    }

    fn reshape(&mut self) {
        let prefix = self.any();
        // Of IPv6 networks as they are handed out, whose lengths are few.
        match if prefix.v6 { 2 } else { self.random.below(5) } {
            // Let go of in part.
            0 if prefix.length < prefix.width() => {
                self.prefixes.remove(&prefix);
                let [low, high] = prefix.halves();
                self.prefixes.insert(if self.random.below(2) == 0 { low } else { high });
            }
            // The same in two parts.
            1 if prefix.length < prefix.width() => {
                self.prefixes.remove(&prefix);
                self.prefixes.extend(prefix.halves());
            }
            // One for all that lie in it.
            2 => {
                let length = if prefix.v6 { 48 } else { 24 };
                let wide = prefix.of_length(length.min(prefix.length));
                self.prefixes.retain(|other| !wide.covers(*other));
                self.prefixes.insert(wide);
            }
            // Around what stays listed as well.
            3 if prefix.length > 20 => _ = self.prefixes.insert(prefix.of_length(prefix.length - 1)),
            // The neighbour, so that the two are one.
            _ => {
                let [low, high] = prefix.of_length(prefix.length - 1).halves();
                self.prefixes.extend([low, high]);
            }
        }
    }
}

fn v4(bits: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(bits).unwrap())
}
