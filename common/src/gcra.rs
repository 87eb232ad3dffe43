//! The limiter: GCRA in cache lines.
//!
//! The generic cell rate algorithm (ITU-T I.371, virtual scheduling) keeps one number a source:
//! the theoretical arrival time (TAT) of its next packet. With an increment T = 1 / rate and a
//! tolerance τ = burst × T a packet is admitted if TAT' = max(TAT, now) + T is at most τ ahead of
//! now, and only then is TAT' stored. A TAT that has passed says no more than its absence would.
//!
//! So a bucket is one word, `family (1) | tag (23) | TAT (40, µs)`, eight buckets are a cache line,
//! and a bucket whose TAT has passed is free: expiry costs nothing and forgets nothing. Line and
//! tag come from a keyed permutation of (address, limit), which identifies an IPv4 source exactly.
//! An admitted packet costs one compare-and-swap, a refused one no store at all. Only when all
//! eight buckets of a line are owed debt by others are new sources there charged to a bucket that
//! they share with their network (the valve): never amnesty, no eviction.

/// Which word of a line is the bucket of a source.
mod find;
/// What can be told of buckets by looking at them.
mod look;

use find::find;
pub use look::{Debtor, Look, Whose, look, shared, valves_in_use};

use crate::{
    addr::{Address, V6, network_v4},
    control::{Global, Seed},
    keyed,
    limit::Scope,
    line::{Line, Memory, Word},
    map::{Map, VALVE_LINES},
};

const TAT_BITS: u32 = 40;
const TAT_MASK: u64 = (1 << TAT_BITS) - 1;
const TAG_BITS: u32 = 23;
const V6_TAG: u64 = 1 << TAG_BITS;
/// Fractional bits of an increment.
pub const FRACTION_BITS: u32 = 24;
const FRACTION_MASK: u64 = (1 << FRACTION_BITS) - 1;
/// A TAT further ahead than this (71 minutes) is not debt but one that passed almost a turn of the
/// 40-bit clock (13 days) ago. No limit lets a TAT get there.
pub const DEBT_MAX: u64 = 1 << DEBT_BITS;
const DEBT_BITS: u32 = 32;
/// What a burst may be longer, in µs, and besides by a 256th of a unit: times and costs are whole µs
/// and clocks no better than that, and a source that keeps exactly to its limit shall be admitted.
pub const SLACK: u64 = 8;
/// log2 of the ticks that may be owed besides the packet for the coarse clock alone to decide.
const COARSE_BITS: u32 = 6;
/// Tries to swap a word before a source counts as over its limit. Every failed try means that
/// another CPU admitted a packet into this line meanwhile.
const TRIES: u32 = 4;

/// Rate and burst of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// T: what one unit costs, in 2^-24 µs.
    pub increment: u64,
    /// τ: how far the TAT may be ahead, in µs.
    pub tolerance: u64,
}

impl Profile {
    /// Returns the profile for `rate` units a second and bursts of `burst` units.
    ///
    /// # Errors
    /// Says what is out of range: a rate of 0, or above 2^40 units a second; a burst of 0, or one
    /// that takes longer than an hour to earn.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a burst above 2^53 takes longer than an hour at any rate"
    )]
    #[expect(clippy::cast_sign_loss, reason = "all are positive")]
    pub fn new(rate: f64, burst: u64) -> Result<Self, &'static str> {
        const HOUR: f64 = 3600e6;
        const RATE_MAX: f64 = (1u64 << 40) as f64;
        const FRACTIONS: f64 = (1u64 << FRACTION_BITS) as f64;
        if rate.is_nan() || rate <= 0.0 {
            return Err("the rate must be above 0");
        }
        if rate > RATE_MAX {
            return Err("the rate must be at most 2^40 a second");
        }
        if burst == 0 {
            return Err("the burst must be at least 1");
        }
        let unit = 1e6 / rate;
        let tolerance = unit * burst as f64;
        if tolerance > HOUR {
            return Err("burst / rate must be at most an hour; slower limits are quotas of the proxy");
        }
        let increment = (unit * FRACTIONS + 0.5) as u64;
        let tolerance = (tolerance + unit / 256.0 + 0.5) as u64 + SLACK;
        Ok(Self { increment: increment.max(1), tolerance })
    }

    /// Returns what `units` cost.
    #[inline(always)]
    #[must_use]
    pub const fn cost(self, units: u32) -> Cost {
        // In two parts, because increment times units may exceed 64 bits.
        let whole = (self.increment >> FRACTION_BITS).wrapping_mul(units as u64);
        let fraction = (self.increment & FRACTION_MASK) * units as u64;
        Cost { whole, fraction, ceiling: whole + ((fraction + FRACTION_MASK) >> FRACTION_BITS) }
    }
}

/// Returns 24 bits without any order among those of consecutive packets. An evenly spread sequence
/// will not do: a source over its limit is admitted until some packet is rounded up, so what counts
/// is how far that is from any point of the sequence, and that is half as far as from chance.
#[inline(always)]
const fn scatter(dither: u32) -> u64 {
    let x = (dither as u64).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (x ^ x >> 32).wrapping_mul(0xc4ce_b9fe_1a85_ec53) >> (64 - FRACTION_BITS)
}

/// What a packet costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In µs.
    whole: u64,
    /// And in 2^-24 µs.
    fraction: u64,
    /// In µs, rounded up: what must be left of the tolerance. The same for equal packets, since a
    /// source that is refused until chance makes its packet cheaper would only pay the cheap price.
    pub ceiling: u64,
}

impl Cost {
    /// Returns what the bucket is charged, in µs. `dither`, a number that is different for every
    /// packet, decides whether the fraction is rounded up or down, so that many packets together cost
    /// what they should.
    #[inline(always)]
    #[must_use]
    pub const fn charged(self, dither: u32) -> u64 {
        self.whole + ((self.fraction + scatter(dither)) >> FRACTION_BITS)
    }
}

/// The time in µs, modulo 2^40. Its origin does not matter.
pub trait Clock {
    /// Returns the time of the last tick. Costs nothing.
    fn coarse(&self) -> u64;
    /// Returns the time now: at least `coarse`, less than a tick more. Costs a call.
    fn precise(&self) -> u64;
    /// Returns 24 bits that are different for every packet; see [`Cost::charged`].
    fn dither(&self) -> u32;
}

/// What a bucket may owe, in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// τ: more than this is over the limit.
    pub tolerance: u64,
    /// More than this is within the limit, and reported.
    pub soft: u64,
    /// The longest tolerance that any profile of the limit has: no bucket of the limit owes more.
    pub longest: u64,
}

impl Bounds {
    /// Returns the bounds of a limit that has one profile and no soft band.
    #[must_use]
    pub const fn of(profile: Profile) -> Self {
        Self { tolerance: profile.tolerance, soft: u64::MAX, longest: profile.tolerance }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It is within the limit and has been charged.
    Admitted,
    /// The same, in the soft band.
    Near,
    /// It is over the limit.
    Over,
    /// It was charged to the shared bucket, or refused by it.
    Valve {
        /// Within the limit of the shared bucket.
        admitted: bool,
    },
}

/// Where the bucket of a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    line: u32,
    tag: u64,
    /// Whose bucket it shares where its line is full: its network, and the limit.
    network: u64,
    id: u8,
}

/// The line of a bucket, on its way from memory.
#[derive(Clone, Copy, Debug)]
pub struct Place<'m> {
    key: Key,
    line: Option<&'m Line>,
}

impl Key {
    /// Returns where the bucket is. The load is early, before anybody needs what it brings: the
    /// instruction set has no prefetch.
    #[inline(always)]
    pub fn place<M: Memory>(self, memory: &M) -> Place<'_> {
        let line = memory.line(Map::Limiter, self.line);
        if let Some(line) = line {
            _ = line.word(0).load();
        }
        Place { key: self, line }
    }

    /// Returns the place of `source` under limit `id`, whose buckets stand for `scope`.
    #[inline(always)]
    #[must_use]
    pub const fn new(global: &Global, source: Address, id: u8, scope: Scope) -> Self {
        let source = match source {
            _ if scope.v4_bits == 0 => Address::V4(0),
            Address::V4(bits) => Address::V4(network_v4(bits, scope.v4_bits as u32)),
            Address::V6(v6) => Address::V6(v6),
        };
        match source {
            Address::V4(bits) => {
                let width = global.limiter_bits + TAG_BITS;
                let place = keyed::permute(global.seed, width, (id as u64) << 32 | bits as u64);
                Self {
                    line: (place >> TAG_BITS) as u32,
                    tag: place & (V6_TAG - 1),
                    network: (bits >> 16) as u64,
                    id,
                }
            }
            Address::V6(v6) => {
                let network = V6 { high: v6.high, low: 0 }.network(scope.v6_bits as u32);
                let place = keyed::hash(global.seed, network.high, 0, id as u64);
                Self {
                    line: (place >> (64 - global.limiter_bits)) as u32,
                    tag: place & (V6_TAG - 1) | V6_TAG,
                    network: v6.high >> 32 | 1 << 32,
                    id,
                }
            }
        }
    }
}

/// What a bucket says of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// The new TAT, and whether it is in the soft band.
    Within(u64, bool),
    Over,
}

/// Judges a packet at coarse time `now` against a bucket with time `tat`.
///
/// The coarse clock decides wherever it can: admitting on it is never wrong, refusing only within
/// a tick of the limit. There the precise clock is asked, unless what may be owed is many ticks: then
/// a source that is refused for the rest of a tick has lost a 64th of its burst at most, and nothing
/// of its rate.
#[inline(always)]
fn fit(tat: u64, now: u64, bounds: Bounds, cost: Cost, tick: u64, clock: &impl Clock) -> Fit {
    let Bounds { tolerance, soft, longest } = bounds;
    let debt = debt(tat, now, longest);
    let needed = debt + cost.ceiling;
    if needed > tolerance {
        if needed > tolerance + tick || tolerance >= cost.ceiling + (tick << COARSE_BITS) {
            return Fit::Over;
        }
        let passed = clock.precise().wrapping_sub(now) & TAT_MASK;
        if needed > tolerance + passed {
            return Fit::Over;
        }
    }
    Fit::Within((now + debt + cost.charged(clock.dither())) & TAT_MASK, needed > soft)
}

/// Returns how far `tat` is ahead of `now` in µs; 0 if it has passed.
#[inline(always)]
const fn debt(tat: u64, now: u64, longest: u64) -> u64 {
    let ahead = tat.wrapping_sub(now) & TAT_MASK;
    if ahead > longest { 0 } else { ahead }
}

/// Charges one packet to its source.
#[inline(always)]
pub fn charge<M: Memory, C: Clock>(
    memory: &M,
    clock: &C,
    global: &Global,
    place: Place<'_>,
    cost: Cost,
    bounds: Bounds,
) -> Charge {
    let Place { key, line: Some(line) } = place else { return Charge::Over };
    let tick = global.tick >> 16;
    // A TAT is set a tick ahead of the coarse clock at most, which may be a tick older here.
    let bounds = Bounds { longest: bounds.longest + 2 * tick, ..bounds };
    let mut tries = 0;
    while tries < TRIES {
        let Some(index) = find(memory, clock, line, key.tag) else {
            return valve_charge(memory, clock, global.seed, key, cost, bounds, tick);
        };
        let word = line.word(memory.opaque(index));
        let held = word.load();
        // Read after the word: what another CPU wrote there by a later clock would look like more debt
        // than there can be, which is none.
        let now = clock.coarse() & TAT_MASK;
        tries += 1;
        // The swap is against what was read here, so this is what has to be the source's own or
        // free: since `find` the word may have become the bucket of another, who owes.
        let tat = if held >> TAT_BITS == key.tag && held != 0 {
            held & TAT_MASK
        } else {
            if !is_free(held, now) {
                continue;
            }
            now
        };
        match fit(tat, now, bounds, cost, tick, clock) {
            Fit::Over => return Charge::Over,
            Fit::Within(tat, near) => {
                if swap(memory, word, held, key.tag << TAT_BITS | tat) {
                    return if near { Charge::Near } else { Charge::Admitted };
                }
            }
        }
    }
    Charge::Over
}

/// Returns true for a word that no source owes anything in.
#[inline(always)]
const fn is_free(word: u64, now: u64) -> bool {
    word == 0 || debt(word & TAT_MASK, now, DEBT_MAX) == 0
}

/// Charges one packet to the bucket that the network of its source shares.
#[inline(always)]
fn valve_charge<M: Memory, C: Clock>(
    memory: &M,
    clock: &C,
    seed: Seed,
    key: Key,
    cost: Cost,
    bounds: Bounds,
    tick: u64,
) -> Charge {
    let valve = keyed::hash(seed, key.network, 1, u64::from(key.id));
    let index = (valve >> 3) as u32 & (VALVE_LINES - 1);
    let Some(line) = memory.line(Map::Valve, index) else {
        return Charge::Valve { admitted: false };
    };
    let word = line.word(valve as u32);
    let held = word.load();
    // 0 is a bucket that was never used. Taken for a time it would be debt once in a turn.
    let now = clock.coarse() & TAT_MASK;
    let tat = if held == 0 { now } else { held & TAT_MASK };
    let bounds = Bounds { longest: DEBT_MAX, ..bounds };
    let admitted = match fit(tat, now, bounds, cost, tick, clock) {
        Fit::Over => false,
        Fit::Within(tat, _) => swap(memory, word, held, tat),
    };
    Charge::Valve { admitted }
}

/// Buckets of a line.
pub const PER_LINE: u32 = crate::line::WORDS as u32;

/// Returns how many of the buckets of a line somebody owes something in: for metrics.
#[must_use]
pub fn owing(words: [u64; PER_LINE as usize], now: u64) -> u32 {
    words.into_iter().map(|word| u32::from(!is_free(word, now & TAT_MASK))).sum()
}

#[inline(always)]
fn swap(memory: &impl Memory, word: &Word, held: u64, new: u64) -> bool {
    memory.compare_exchange(word, held, new) == held
}

/// Returns the debt of a source in µs, 0 if it owes nothing: for `explain` and tests.
pub fn owed(memory: &impl Memory, key: Key, now: u64) -> u64 {
    let Some(line) = memory.line(Map::Limiter, key.line) else { return 0 };
    line.load()
        .into_iter()
        .find(|word| *word != 0 && word >> TAT_BITS == key.tag)
        .map_or(0, |word| debt(word & TAT_MASK, now & TAT_MASK, DEBT_MAX))
}

#[cfg(test)]
mod tests;
