//! Prefixes, times and numbers with units, as people write them.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;

/// An address or a prefix: `192.0.2.7`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub IpNet);

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(prefix) if prefix.trunc() == prefix => Ok(Self(prefix)),
            Ok(prefix) => Err(format!("has bits behind its prefix; write {}", prefix.trunc())),
            Err(_) => Err("is no address or prefix; write one like 192.0.2.0/24".to_owned()),
        }
    }
}

/// How long a rule lasts: `30s`, `10m`, `1h 30m`, `7d`, or `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasts(pub Option<Duration>);

impl Lasts {
    /// The longest time that has an end.
    pub const MAX: Duration = Duration::from_hours(10 * 365 * 24);
}

impl FromStr for Lasts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write a time like 30s, 10m, 1h or 7d, or `forever`";
        if text == "forever" {
            return Ok(Self(None));
        }
        match humantime::parse_duration(text) {
            Ok(lasts) if lasts < Duration::from_secs(1) => Err(format!("less than a second; {FORM}")),
            Ok(lasts) if lasts > Self::MAX => Err(format!("more than ten years; {FORM}")),
            Ok(lasts) => Ok(Self(Some(lasts))),
            Err(_) => Err(FORM.to_owned()),
        }
    }
}

/// A rate: `1000/s`, `10k/s`, `90/m`, `10MB/s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Units a second.
    pub per_second: f64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write a number and a time, like 1000/s, 10k/s, 90/m or 10MB/s";
        let (number, time) = text.split_once('/').ok_or_else(|| FORM.to_owned())?;
        let seconds = match time.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => return Err(format!("`{other}` is not a time; use s, m or h")),
        };
        let Bytes(count) = number.trim().parse().map_err(|_| FORM.to_owned())?;
        #[expect(clippy::cast_precision_loss, reason = "rates above 2^53 are refused later")]
        let per_second = count as f64 / seconds;
        Ok(Self { per_second })
    }
}

/// A count or an amount of memory: `2000`, `10k`, `1.5M`, `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Suffixes and what they stand for: decimal, and binary with `i` (IEC 80000-13).
const SUFFIXES: [(&str, u64); 7] = [
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("", 1),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write a number, like 2000, 10k or 64MiB".to_owned();
        let lower = text.trim().to_ascii_lowercase();
        let plain = lower.strip_suffix('b').unwrap_or(&lower);
        let (suffix, factor) =
            SUFFIXES.into_iter().find(|(suffix, _)| plain.ends_with(suffix)).ok_or_else(form)?;
        let number = plain.strip_suffix(suffix).unwrap_or(plain).trim();
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(|| "too large".to_owned());
        }
        let fraction: f64 = number.parse().map_err(|_| form())?;
        #[expect(clippy::cast_precision_loss, reason = "the factors are powers of ten or two below 2^31")]
        let value = fraction * factor as f64;
        if !value.is_finite() || !(0.0..=1e15).contains(&value) {
            return Err(form());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10^15")]
        Ok(Self(value.round() as u64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 30 && n.is_multiple_of(1 << 30) => write!(f, "{} GiB", n >> 30),
            n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => write!(f, "{} MiB", n >> 20),
            n => write!(f, "{n} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let seconds = |text: &str| text.parse::<Lasts>().unwrap().0.map(|lasts| lasts.as_secs());
        for (text, want) in [("30s", 30), ("10m", 600), ("1h", 3600), ("1h 30m", 5400), ("7d", 604_800)] {
            assert_eq!(seconds(text), Some(want), "{text}");
        }
        assert_eq!(seconds("forever"), None);
        for text in ["", "0", "0s", "10", "-1h", "1 fortnight", "11y", "20ms", "forever and a day"] {
            assert!(text.parse::<Lasts>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, want) in
            [("1000/s", 1000.0), ("10k/s", 10_000.0), ("90/m", 1.5), ("10MB/s", 1e7), ("1.5k/s", 1500.0)]
        {
            let got = text.parse::<Rate>().unwrap().per_second;
            assert!((got - want).abs() < 1e-9, "{text}: {got}");
        }
        for text in ["1000", "1000/d", "x/s", "/s", "-1/s", "1e999/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        for (text, want) in
            [("2000", 2000), ("10k", 10_000), ("64MiB", 64 << 20), ("8 GiB", 8 << 30), ("1B", 1)]
        {
            assert_eq!(text.parse::<Bytes>().unwrap().0, want, "{text}");
        }
        for text in ["", "k", "-1", "99999999999999999999", "1T"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
