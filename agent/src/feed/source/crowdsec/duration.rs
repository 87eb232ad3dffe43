use std::{fmt, time::Duration};

/// A stretch of time, forwards or backwards, as Go writes it (`time.Duration.String`): `3h59m59.9s`,
/// `-1.5s`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// Forwards.
    Ahead(Duration),
    /// Backwards.
    Past(Duration),
}

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Go counts nanoseconds in 63 bits.
const MOST: u128 = 1 << 63;

impl Span {
    /// Reads one; nothing: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (past, mut rest) = match text.trim() {
            text if text.starts_with('-') => (true, text.get(1..)?),
            text => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self::Ahead(Duration::ZERO));
        }
        if rest.is_empty() {
            return None;
        }
        let mut sum = 0u128;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, unit) = rest.split_at_checked(end)?;
            let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
            let (unit, tail) = unit.split_at_checked(end)?;
            let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
            sum = sum.checked_add(nanoseconds(number, factor)?).filter(|sum| *sum <= MOST)?;
            rest = tail;
        }
        let span = Duration::from_nanos(u64::try_from(sum).ok()?);
        Some(if past { Self::Past(span) } else { Self::Ahead(span) })
    }
}

/// As Go does, to the second.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, span) = match self {
            Self::Ahead(span) => ("", span),
            Self::Past(span) => ("-", span),
        };
        let seconds = span.as_secs();
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        f.write_str(if seconds == 0 { "" } else { sign })?;
        match (hours, minutes) {
            (0, 0) => write!(f, "{rest}s"),
            (0, _) => write!(f, "{minutes}m{rest}s"),
            (_, _) => write!(f, "{hours}h{minutes}m{rest}s"),
        }
    }
}

/// Returns the number, which may have a fraction, times the factor.
fn nanoseconds(number: &str, factor: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // Digits behind the 15th are less than a nanosecond of any unit.
    let (mut part, mut scale) = (0u128, 1u128);
    for digit in fraction.bytes().take(15) {
        part = part * 10 + u128::from(digit.wrapping_sub(b'0'));
        scale *= 10;
    }
    u128::from(whole).checked_mul(factor)?.checked_add(part * factor / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        let ahead = |seconds: f64| Some(Span::Ahead(Duration::from_secs_f64(seconds)));
        for (text, want) in [
            ("3h59m59.5s", ahead(14399.5)),
            ("3600s", ahead(3600.0)),
            ("4h", ahead(14400.0)),
            ("1.5h", ahead(5400.0)),
            (".5s", ahead(0.5)),
            ("1.s", ahead(1.0)),
            ("250ms", ahead(0.25)),
            ("1m250ms", ahead(60.25)),
            ("7us", ahead(0.000_007)),
            ("7µs", ahead(0.000_007)),
            ("7μs", ahead(0.000_007)),
            ("9ns", ahead(0.000_000_009)),
            ("+1s", ahead(1.0)),
            ("0", ahead(0.0)),
            ("0s", ahead(0.0)),
            ("-1.015192402s", Some(Span::Past(Duration::from_nanos(1_015_192_402)))),
            ("-2562047h47m16.854775808s", Some(Span::Past(Duration::from_nanos(1 << 63)))),
            ("3h59m58.819234841s", Some(Span::Ahead(Duration::from_nanos(14_398_819_234_841)))),
        ] {
            assert_eq!(Span::parse(text), want, "{text}");
        }
        for text in
            ["", "-", "5", "s", "1d", "1 s", "1..5s", ".s", "1h-5m", "--1s", "1e3s", "9999999h", "4h garbage"]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        let span = |seconds| Span::Ahead(Duration::from_secs(seconds));
        for (span, text) in [
            (span(0), "0s"),
            (span(59), "59s"),
            (span(60), "1m0s"),
            (span(14_399), "3h59m59s"),
            (Span::Past(Duration::from_secs(1)), "-1s"),
            (Span::Past(Duration::ZERO), "0s"),
        ] {
            assert_eq!(span.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0u64..(1 << 32)) {
            let span = Span::Ahead(Duration::from_secs(seconds));
            prop_assert_eq!(Span::parse(&span.to_string()), Some(span));
        }

        #[test]
        fn any_text_is_read_or_not(text in "[-+0-9.hmsuµnd ]{0,24}", other in ".{0,16}") {
            _ = Span::parse(&text);
            _ = Span::parse(&other);
        }

        #[test]
        fn what_go_writes_is_what_it_meant(nanoseconds in 0u64..(1 << 62)) {
            let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            let text = format!("{}h{}m{}.{rest:09}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
            prop_assert_eq!(Span::parse(&text), Some(Span::Ahead(Duration::from_nanos(nanoseconds))));
        }
    }
}
