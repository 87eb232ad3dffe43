//! Bans and manual rules, put in force at once: a few stores into memory that the kernel reads.

use std::{collections::HashSet, time::Duration};

use ipnet::IpNet;
use weir_common::{
    addr::Address,
    control::{Global, Seed},
    line::Memory,
    map::Map,
    overlay::{self, FOREVER, Key, Prefix, Refused, Rule, Sentence},
};

use super::clock;

/// What a rule is to do, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it does.
    pub sentence: Sentence,
    /// Counts what it would drop.
    pub shadow: bool,
    /// The profile of [`Sentence::Limit`]; see [`weir_common::limit::PROFILE_NAMES`].
    pub profile: u8,
    /// How long; nothing: until it is lifted.
    pub lasts: Option<Duration>,
}

/// When a rule ends, on the clock of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End(u64);

impl End {
    /// Returns the end of a rule that lasts so long from now on; nothing: until it is lifted.
    #[must_use]
    pub fn after(memory: &impl Memory, lasts: Option<Duration>) -> Self {
        Self(end(clock::now_us(memory), lasts))
    }

    /// Returns how long it is until then; nothing: for ever.
    #[must_use]
    pub fn left(self, memory: &impl Memory) -> Option<Duration> {
        left(self.0, clock::now_us(memory))
    }

    /// Returns true if it is over.
    #[must_use]
    pub fn has_come(self, memory: &impl Memory) -> bool {
        self.0 <= clock::now_us(memory)
    }
}

fn end(now: u64, lasts: Option<Duration>) -> u64 {
    let micros = |lasts: Duration| u64::try_from(lasts.as_micros()).unwrap_or(FOREVER);
    lasts.map_or(FOREVER, |lasts| now.saturating_add(micros(lasts)).min(FOREVER))
}

fn left(end: u64, now: u64) -> Option<Duration> {
    (end != FOREVER).then(|| Duration::from_micros(end.saturating_sub(now)))
}

/// Why a rule is not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No prefix is that wide.
    #[error("a rule for all addresses is a policy; use a list, or `enforce`")]
    Everything,
    /// There are too many rules.
    #[error(
        "the table of rules is full ({} are meant to fit); let some end, or put them into a list",
        overlay::CAPACITY
    )]
    Full,
    /// Too many prefix lengths.
    #[error(
        "rules of {} other prefix lengths are in force, and that is the most; put wide prefixes into a list",
        overlay::LENGTHS_MAX
    )]
    Lengths,
    /// The map is not there.
    #[error("the kernel's maps are not those of this version; run `weir unload`, then start again")]
    Memory,
}

impl From<Refused> for RuleError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Lengths => Self::Lengths,
            Refused::Memory => Self::Memory,
        }
    }
}

/// Puts a rule in force for `prefix`, or changes the one that it has.
///
/// # Errors
/// [`RuleError`]; nothing is changed then.
pub fn set(memory: &impl Memory, prefix: IpNet, order: Order) -> Result<(), RuleError> {
    let (seed, now, prefix) = (seed(memory)?, clock::now_us(memory), place(prefix)?);
    let Order { sentence, shadow, profile, lasts } = order;
    let rule = Rule { sentence, shadow, profile, until: end(now, lasts) };
    overlay::insert(memory, seed, prefix, rule, now).map_err(RuleError::from)
}

/// Lifts the rule of exactly this prefix. Returns false if it had none.
///
/// # Errors
/// [`RuleError`]
pub fn lift(memory: &impl Memory, prefix: IpNet) -> Result<bool, RuleError> {
    Ok(overlay::remove(memory, seed(memory)?, place(prefix)?, clock::now_us(memory)))
}

/// Returns the rule of exactly this prefix, and how long it still lasts; nothing: until it is lifted.
///
/// # Errors
/// [`RuleError`]
pub fn get(memory: &impl Memory, prefix: IpNet) -> Result<Option<Order>, RuleError> {
    let now = clock::now_us(memory);
    Ok(overlay::get(memory, seed(memory)?, place(prefix)?, now).map(|rule| Order {
        sentence: rule.sentence,
        shadow: rule.shadow,
        profile: rule.profile,
        lasts: left(rule.until, now),
    }))
}

/// Lifts all rules but those of these prefixes. Returns how many were in force.
///
/// # Errors
/// [`RuleError::Memory`]
pub fn retain(memory: &impl Memory, prefixes: impl Iterator<Item = IpNet>) -> Result<usize, RuleError> {
    let seed = seed(memory)?;
    let kept: Vec<Prefix> = prefixes.filter_map(|prefix| place(prefix).ok()).collect();
    let keys: HashSet<Key> = kept.iter().map(|prefix| Key::of(seed, *prefix)).collect();
    let lifted = overlay::retain(memory, clock::now_us(memory), |key| keys.contains(&key));
    overlay::set_lengths(memory, kept.into_iter());
    Ok(lifted)
}

/// Returns true if packets look for rules of the lengths of all these prefixes.
pub fn looks_for(memory: &impl Memory, prefixes: impl Iterator<Item = IpNet>) -> bool {
    let Some(line) = memory.line(Map::Overlay, 0) else { return false };
    let [v4, v6] = [0, 1].map(|family| line.word(family).load().to_le_bytes());
    prefixes.filter_map(|prefix| place(prefix).ok()).all(|Prefix { address, length }| match address {
        Address::V4(_) => v4.contains(&length),
        Address::V6(_) => v6.contains(&length),
    })
}

/// Gives back the prefix lengths that none of these prefixes has. They must be those of all rules.
pub fn give_back_lengths(memory: &impl Memory, prefixes: impl Iterator<Item = IpNet>) {
    overlay::set_lengths(memory, prefixes.filter_map(|prefix| place(prefix).ok()));
}

/// Returns how many rules are in force.
pub fn count(memory: &impl Memory) -> usize {
    overlay::count(memory, clock::now_us(memory))
}

fn seed(memory: &impl Memory) -> Result<Seed, RuleError> {
    Global::load(memory).map(|global| global.seed).ok_or(RuleError::Memory)
}

fn place(prefix: IpNet) -> Result<Prefix, RuleError> {
    let (address, length) = match (Address::from(prefix.network()), prefix) {
        // v4-mapped: such sources are folded into IPv4.
        (address @ Address::V4(_), IpNet::V6(prefix)) => (address, prefix.prefix_len().saturating_sub(96)),
        (address, prefix) => (address, prefix.prefix_len()),
    };
    if length == 0 {
        return Err(RuleError::Everything);
    }
    Ok(Prefix { address, length })
}
