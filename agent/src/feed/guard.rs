//! What is not believed of a new list. Pure.

use super::{Entries, Parsed};
use crate::config::Guards;

/// Rejected lines that are too many in any list.
const REJECTED_MIN: usize = 10;
/// Short lists come and go: so many entries may a list lose whatever part of it they are, and for
/// its growth it counts as having had as many.
const SLACK: usize = 10;
/// A list may have one in so many fewer entries than it says: some headers count in other ways. A
/// short one has exactly as many.
const DECLARED_SLACK: usize = 2000;
/// More of a family's addresses than this part are no list of offenders. FireHOL's level 1, with all
/// that is not routed, names a sixth of IPv4. Of IPv6 what counts is `2000::/3`, where hosts are.
const VAST_PART: u32 = 4;

/// Why a list is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no entry.
    #[error(
        "has no entries{}; set can_be_empty if that is meant so, or put it in force with `weir feeds accept NAME`",
        left_out(*.too_wide)
    )]
    Empty {
        /// Entries that were left out.
        too_wide: usize,
    },
    /// It has fewer entries than it says itself.
    #[error(
        "says that it has {declared} entries, and has {entries}: a part is missing; it is asked again, \
         or `weir feeds accept NAME` puts it in force"
    )]
    Truncated {
        /// What it says.
        declared: usize,
        /// What it has.
        entries: usize,
    },
    /// It lost much at once.
    #[error(
        "has {after} entries and had {before}: it lost more than {shrink} %; \
         `weir feeds accept NAME` puts it in force, guards.shrink sets the bound"
    )]
    Shrink {
        /// Entries in force.
        before: usize,
        /// Entries of the new list.
        after: usize,
        /// The bound, in percent.
        shrink: u8,
    },
    /// It grew much at once.
    #[error(
        "has {after} entries and had {before}: it is more than {growth} times larger; \
         `weir feeds accept NAME` puts it in force, guards.growth sets the bound"
    )]
    Growth {
        /// Entries in force.
        before: usize,
        /// Entries of the new list.
        after: usize,
        /// The bound, in times.
        growth: u32,
    },
    /// It has too many entries.
    #[error("has {entries} entries, more than {most}; see guards.entries")]
    Entries {
        /// How many it has.
        entries: usize,
        /// The bound.
        most: u64,
    },
    /// It names nearly everybody.
    #[error("names {what}, which is no list of offenders; nothing accepts it, look at its source")]
    Vast {
        /// What of all addresses it names.
        what: &'static str,
    },
    /// Much of it is not in its format.
    #[error(
        "{rejected} of {lines} lines are not in its format, first line {line}: `{text}`; \
         look at its source and at format, guards.rejected sets the bound"
    )]
    Garbled {
        /// Lines that are no entry.
        rejected: usize,
        /// Lines that are an entry or should be.
        lines: usize,
        /// The first of them.
        line: usize,
        /// How it starts.
        text: String,
    },
}

fn left_out(too_wide: usize) -> String {
    match too_wide {
        0 => String::new(),
        n => format!(" besides {n} that are wider than guards.ipv4_prefix and guards.ipv6_prefix allow"),
    }
}

impl Refused {
    /// All causes, as metrics have them.
    pub const CAUSES: &[&str] = &["empty", "truncated", "shrink", "growth", "entries", "vast", "garbled"];

    /// Returns the cause, as metrics have it.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "empty",
            Self::Truncated { .. } => "truncated",
            Self::Shrink { .. } => "shrink",
            Self::Growth { .. } => "growth",
            Self::Entries { .. } => "entries",
            Self::Vast { .. } => "vast",
            Self::Garbled { .. } => "garbled",
        }
    }

    /// Returns true if an operator may take the list all the same.
    #[must_use]
    pub const fn acceptable(&self) -> bool {
        match self {
            Self::Empty { .. } | Self::Truncated { .. } | Self::Shrink { .. } | Self::Growth { .. } => true,
            Self::Entries { .. } | Self::Vast { .. } | Self::Garbled { .. } => false,
        }
    }
}

/// Judges a new list of a feed whose list in force has `before` entries; nothing: it has none yet.
///
/// # Errors
/// [`Refused`] where it must not be put in force. What nothing accepts is told first.
pub fn judge(guards: &Guards, before: Option<usize>, parsed: &Parsed) -> Result<(), Refused> {
    garbled(guards, parsed)?;
    vast(parsed)?;
    let entries = parsed.entries.len();
    if entries as u64 > guards.entries {
        return Err(Refused::Entries { entries, most: guards.entries });
    }
    truncated(parsed)?;
    if entries == 0 {
        let too_wide = parsed.rejected.too_wide;
        return if guards.can_be_empty { Ok(()) } else { Err(Refused::Empty { too_wide }) };
    }
    before.map_or(Ok(()), |before| changed(guards, before, entries))
}

fn garbled(guards: &Guards, parsed: &Parsed) -> Result<(), Refused> {
    let rejected = &parsed.rejected;
    let lines = parsed.entries.len() + rejected.lines + rejected.too_wide + rejected.unselected;
    if rejected.lines >= REJECTED_MIN && rejected.lines * 100 > lines * usize::from(guards.rejected) {
        let (line, text) = parsed.first_rejected.clone().unwrap_or_default();
        return Err(Refused::Garbled { rejected: rejected.lines, lines, line, text });
    }
    Ok(())
}

fn truncated(parsed: &Parsed) -> Result<(), Refused> {
    let rejected = &parsed.rejected;
    let entries = parsed.entries.len() + rejected.lines + rejected.too_wide + rejected.unselected;
    match parsed.declared {
        Some(declared) if entries < declared - declared / DECLARED_SLACK => {
            Err(Refused::Truncated { declared, entries })
        }
        Some(_) | None => Ok(()),
    }
}

fn changed(guards: &Guards, before: usize, after: usize) -> Result<(), Refused> {
    let lost = before.saturating_sub(after);
    if lost > SLACK && lost * 100 > before * usize::from(guards.shrink) {
        return Err(Refused::Shrink { before, after, shrink: guards.shrink });
    }
    if after as u64 > before.max(SLACK) as u64 * u64::from(guards.growth) {
        return Err(Refused::Growth { before, after, growth: guards.growth });
    }
    Ok(())
}

fn vast(parsed: &Parsed) -> Result<(), Refused> {
    if parsed.everything {
        return Err(Refused::Vast { what: "all addresses (a prefix of length 0)" });
    }
    if share_v4(&parsed.entries) > 1 << 32 >> VAST_PART.ilog2() {
        return Err(Refused::Vast { what: "more than a quarter of all IPv4 addresses" });
    }
    if share_v6(&parsed.entries) > 1 << 61 >> VAST_PART.ilog2() {
        return Err(Refused::Vast { what: "more than a quarter of all IPv6 networks in use (2000::/3)" });
    }
    Ok(())
}

/// Returns how many IPv4 addresses the entries name; each once, however often it is named.
fn share_v4(entries: &Entries) -> u64 {
    let size = |length: u8| 1_u64 << 32_u32.saturating_sub(length.into());
    let sum = entries.v4.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(size(*length)));
    if sum <= 1 << 32 >> VAST_PART.ilog2() {
        return sum; // as nearly always: not worth sorting
    }
    union(entries.v4.iter().map(|(network, length)| (u64::from(*network), size(*length))).collect())
}

/// Likewise, of IPv6 the /64s in 2000::/3.
fn share_v6(entries: &Entries) -> u64 {
    let size = |length: u8| 1_u64 << 64_u32.saturating_sub(length.clamp(3, 64).into());
    let inside = entries.v6.iter().filter(|(network, length)| *length >= 3 && network.high >> 61 == 1);
    let inside = inside.map(|(network, length)| (network.high, size(*length)));
    let sum = inside.clone().fold(0_u64, |sum, (_, size)| sum.saturating_add(size));
    if sum <= 1 << 61 >> VAST_PART.ilog2() {
        return sum;
    }
    union(inside.collect())
}

/// Returns how much ranges cover together, each a start and a size.
fn union(mut ranges: Vec<(u64, u64)>) -> u64 {
    ranges.sort_unstable();
    let (mut covered, mut end) = (0_u64, 0_u64);
    for (start, size) in ranges {
        let last = start.saturating_add(size);
        covered = covered.saturating_add(last.saturating_sub(start.max(end)));
        end = end.max(last);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: usize) -> Parsed {
        let v4 = (0..u32::try_from(entries).unwrap()).map(|i| (0xc000_0200 + i, 32)).collect();
        Parsed { entries: Entries { v4, v6: Vec::new() }, ..Parsed::default() }
    }

    fn cause(guards: &Guards, before: Option<usize>, parsed: &Parsed) -> &'static str {
        judge(guards, before, parsed).map_or_else(|refused| refused.cause(), |()| "")
    }

    #[test]
    fn what_a_list_may_lose_and_gain_at_once() {
        let guards = Guards::default();
        for (before, after, want) in [
            (None, 1, ""),
            (None, 100_000, ""),
            (Some(1000), 1000, ""),
            (Some(1000), 500, ""),
            (Some(1000), 499, "shrink"),
            (Some(1000), 400, "shrink"),
            (Some(1000), 1, "shrink"),
            (Some(1000), 0, "empty"),
            (Some(5), 1, ""),
            (Some(11), 1, ""),
            (Some(12), 1, "shrink"),
            (Some(1000), 10_000, ""),
            (Some(1000), 10_001, "growth"),
            (Some(1000), 100_000, "growth"),
            (Some(1), 100, ""),
            (Some(1), 101, "growth"),
            (Some(0), 101, "growth"),
            (Some(0), 10, ""),
        ] {
            assert_eq!(cause(&guards, before, &list(after)), want, "{before:?} to {after}");
        }
        let bounds = Guards { shrink: 10, growth: 2, ..guards };
        assert_eq!(cause(&bounds, Some(1000), &list(899)), "shrink");
        assert_eq!(cause(&bounds, Some(1000), &list(2001)), "growth");
        let lenient = Guards { shrink: 100, ..guards };
        assert_eq!(cause(&lenient, Some(1000), &list(1)), "");
    }

    #[test]
    fn an_empty_list_is_one_where_that_is_meant_so() {
        let meant = Guards { can_be_empty: true, ..Guards::default() };
        for before in [None, Some(0), Some(5), Some(5000)] {
            assert_eq!(cause(&Guards::default(), before, &list(0)), "empty");
            assert_eq!(cause(&meant, before, &list(0)), "");
        }
        let mut wide = list(0);
        wide.rejected.too_wide = 2;
        let message = judge(&Guards::default(), None, &wide).unwrap_err().to_string();
        assert!(message.contains("besides 2 that are wider"), "{message}");
    }

    #[test]
    fn a_list_has_what_it_says() {
        let of = |declared, entries| {
            let parsed = Parsed { declared: Some(declared), ..list(entries) };
            cause(&Guards::default(), None, &parsed)
        };
        assert_eq!(of(1500, 1500), "");
        assert_eq!(of(1500, 1499), "truncated");
        assert_eq!(of(1500, 1501), "");
        assert_eq!(of(17_008, 17_000), "");
        assert_eq!(of(17_008, 16_999), "truncated");
        assert_eq!(of(5, 0), "truncated");
        // What was left out has come all the same.
        let mut parsed = Parsed { declared: Some(100), ..list(90) };
        parsed.rejected.too_wide = 4;
        parsed.rejected.unselected = 6;
        assert_eq!(cause(&Guards::default(), None, &parsed), "");
    }

    #[test]
    fn nobody_lists_everybody() {
        let of = |prefixes: &[&str]| {
            let entries = prefixes.iter().map(|text| text.parse().unwrap()).collect();
            cause(&Guards::default(), None, &Parsed { entries, ..Parsed::default() })
        };
        let eighths =
            |first: u8, last: u8| (first..=last).map(|a| format!("{a}.0.0.0/8")).collect::<Vec<_>>();
        let of_eighths = |first, last| {
            let texts = eighths(first, last);
            of(&texts.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(of_eighths(1, 64), "");
        assert_eq!(of_eighths(1, 65), "vast");
        assert_eq!(of(&["10.0.0.0/8"; 100]), "", "the same again is no more");
        let v6 = |last: u16| (0..last).map(|i| format!("{:x}::/16", 0x2000 + i)).collect::<Vec<_>>();
        let of_v6 = |last| of(&v6(last).iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(of_v6(2048), "");
        assert_eq!(of_v6(2049), "vast");
        assert_eq!(of(&["fc00::/7", "::/8", "2001:db8::1/128"]), "");
        let everything = Parsed { everything: true, ..list(1000) };
        let refused = judge(&Guards::default(), None, &everything).unwrap_err();
        assert_eq!((refused.cause(), refused.acceptable()), ("vast", false));
    }

    #[test]
    fn bounds_of_number_and_form() {
        let few = Guards { entries: 10, ..Guards::default() };
        assert_eq!(cause(&few, None, &list(10)), "");
        assert_eq!(cause(&few, None, &list(11)), "entries");
        let mut parsed = list(100);
        parsed.rejected.lines = 11;
        parsed.first_rejected = Some((3, "<html>".to_owned()));
        assert_eq!(cause(&Guards::default(), None, &parsed), "");
        parsed.rejected.lines = 12;
        let refused = judge(&Guards::default(), None, &parsed).unwrap_err();
        assert_eq!((refused.cause(), refused.acceptable()), ("garbled", false));
        assert!(refused.to_string().contains("line 3: `<html>`"), "{refused}");
        let one_bad_of_two =
            Parsed { rejected: super::super::Rejected { lines: 1, ..Default::default() }, ..list(1) };
        assert_eq!(cause(&Guards::default(), None, &one_bad_of_two), "");
    }

    #[test]
    fn every_cause_is_named() {
        for parsed in
            [list(0), Parsed { declared: Some(9), ..list(1) }, Parsed { everything: true, ..list(1) }]
        {
            assert!(Refused::CAUSES.contains(&cause(&Guards::default(), None, &parsed)));
        }
    }
}
