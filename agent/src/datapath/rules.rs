//! Bans and manual rules, put in force at once: a few stores into memory that the kernel reads.

use std::time::Duration;

use ipnet::IpNet;
use weir_common::{
    addr::Address,
    control::Global,
    overlay::{self, FOREVER, Prefix, Refused, Rule, Sentence},
};

use super::{clock, memory::Mapped};

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
pub fn set(memory: &Mapped, prefix: IpNet, order: Order) -> Result<(), RuleError> {
    let (seed, now, prefix) = place(memory, prefix)?;
    let lasts = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(FOREVER);
    let rule = Rule {
        sentence: order.sentence,
        shadow: order.shadow,
        profile: order.profile,
        until: order.lasts.map_or(FOREVER, |duration| now.saturating_add(lasts(duration))),
    };
    overlay::insert(memory, seed, prefix, rule, now).map_err(RuleError::from)
}

/// Lifts the rule of exactly this prefix. Returns false if it had none.
///
/// # Errors
/// [`RuleError`]
pub fn lift(memory: &Mapped, prefix: IpNet) -> Result<bool, RuleError> {
    let (seed, now, prefix) = place(memory, prefix)?;
    Ok(overlay::remove(memory, seed, prefix, now))
}

/// Returns the rule of exactly this prefix, and how long it still lasts; nothing: until it is lifted.
///
/// # Errors
/// [`RuleError`]
pub fn get(memory: &Mapped, prefix: IpNet) -> Result<Option<Order>, RuleError> {
    let (seed, now, prefix) = place(memory, prefix)?;
    let left = |until: u64| (until != FOREVER).then(|| Duration::from_micros(until.saturating_sub(now)));
    Ok(overlay::get(memory, seed, prefix, now).map(|rule| Order {
        sentence: rule.sentence,
        shadow: rule.shadow,
        profile: rule.profile,
        lasts: left(rule.until),
    }))
}

fn place(memory: &Mapped, prefix: IpNet) -> Result<(weir_common::control::Seed, u64, Prefix), RuleError> {
    let global = Global::load(memory).ok_or(RuleError::Memory)?;
    let (address, length) = match (Address::from(prefix.network()), prefix) {
        // v4-mapped: such sources are folded into IPv4.
        (address @ Address::V4(_), IpNet::V6(prefix)) => (address, prefix.prefix_len().saturating_sub(96)),
        (address, prefix) => (address, prefix.prefix_len()),
    };
    if length == 0 {
        return Err(RuleError::Everything);
    }
    Ok((global.seed, clock::now_us(memory), Prefix { address, length }))
}
