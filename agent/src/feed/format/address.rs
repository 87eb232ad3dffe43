use std::{
    net::{IpAddr, Ipv6Addr},
    str,
};

use ipnet::IpNet;
use weir_common::addr::{Address, V6};

use super::plain;
use crate::feed::Parsed;

/// Parses an address or a prefix; returns it with its length, whose host bits may be set.
pub(super) fn prefix(word: &[u8]) -> Option<(Address, u8)> {
    if let Some((bits, length)) = plain::parse_word(word) {
        return Some((Address::V4(bits), length));
    }
    let text = str::from_utf8(word).ok()?;
    let prefix = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let length = prefix.prefix_len();
    Some(match (Address::from(prefix.addr()), prefix) {
        // A v4-mapped prefix, whose length counts from the 96 bits in front of the address. One that
        // is wider than these is as wide as can be.
        (Address::V4(bits), IpNet::V6(_)) => (Address::V4(bits), length.saturating_sub(96)),
        (address, _) => (address, length),
    })
}

/// Parses an address or a prefix, of which a port may follow: `192.0.2.1:443`, `[2001:db8::1]:443`.
pub(super) fn prefix_or_port(word: &[u8]) -> Option<(Address, u8)> {
    if let Some(inside) = word.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inside)?;
        let port = inside.get(end + 1..)?;
        let is_whole = port.is_empty() || is_port(port.strip_prefix(b":")?);
        return is_whole.then(|| prefix(inside.get(..end)?)).flatten();
    }
    // In front of the first colon there is IPv4, or it is IPv6 without a port.
    match memchr::memchr(b':', word).map(|colon| word.split_at(colon)) {
        Some((address, [_, port @ ..]))
            if is_port(port)
                && let Some((bits, length)) = plain::parse_word(address) =>
        {
            Some((Address::V4(bits), length))
        }
        _ => prefix(word),
    }
}

fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// Parses an address, also one that is written as a number.
pub(super) fn address(word: &[u8]) -> Option<Address> {
    if let Some((Address::V4(bits), 32)) = prefix(word) {
        return Some(Address::V4(bits));
    }
    let text = str::from_utf8(word).ok()?;
    if !word.is_empty() && word.iter().all(u8::is_ascii_digit) {
        let number: u128 = text.parse().ok()?;
        return Some(match u32::try_from(number) {
            Ok(bits) => Address::V4(bits),
            Err(_) => Address::from(IpAddr::V6(Ipv6Addr::from_bits(number))),
        });
    }
    text.parse::<IpAddr>().ok().map(Address::from)
}

impl Parsed {
    /// Counts a line that is no entry, and keeps the first of them.
    pub(super) fn reject(&mut self, line: usize, text: &[u8]) {
        self.rejected.lines += 1;
        if self.first_rejected.is_none() {
            // Four bytes are the longest character.
            let start = text.get(..240).unwrap_or(text);
            let start: String = String::from_utf8_lossy(start).chars().take(60).collect();
            self.first_rejected = Some((line, start));
        }
    }

    /// Adds a prefix, unless it is too wide.
    pub(super) fn push(&mut self, address: Address, length: u8) {
        match address {
            Address::V4(bits) => self.push_v4(bits, length),
            Address::V6(bits) => self.push_v6(bits, length),
        }
    }

    pub(super) fn push_v4(&mut self, network: u32, length: u8) {
        self.everything |= length == 0;
        if length < self.widest.v4 {
            self.rejected.too_wide += 1;
        } else {
            let network = weir_common::addr::network_v4(network, u32::from(length));
            self.entries.v4.push((network, length));
        }
    }

    fn push_v6(&mut self, network: V6, length: u8) {
        self.everything |= length == 0;
        if length < self.widest.v6 {
            self.rejected.too_wide += 1;
        } else {
            self.entries.v6.push((network.network(u32::from(length)), length));
        }
    }

    /// Adds a range as the fewest prefixes, unless one of these is too wide. Returns false if it is
    /// none: its ends are of two families, or the wrong way round.
    pub(super) fn push_range(&mut self, first: Address, last: Address) -> bool {
        match (first, last) {
            (Address::V4(first), Address::V4(last)) if first <= last => {
                self.push_pieces(pieces(first.into(), last.into(), 32), |parsed, (first, length)| {
                    // Below 2^32, as the end is.
                    parsed.push_v4(u32::try_from(first).unwrap_or(u32::MAX), length);
                });
            }
            (Address::V6(first), Address::V6(last)) if first <= last => {
                let bits = |address: V6| Ipv6Addr::from(address).to_bits();
                self.push_pieces(pieces(bits(first), bits(last), 128), |parsed, (first, length)| {
                    parsed.push_v6(Ipv6Addr::from_bits(first).into(), length);
                });
            }
            _ => return false,
        }
        true
    }

    fn push_pieces(
        &mut self,
        pieces: impl Iterator<Item = (u128, u8)> + Clone,
        push: impl Fn(&mut Self, (u128, u8)),
    ) {
        let (v4, v6, too_wide) = (self.entries.v4.len(), self.entries.v6.len(), self.rejected.too_wide);
        pieces.for_each(|piece| push(self, piece));
        if self.rejected.too_wide > too_wide {
            self.entries.v4.truncate(v4);
            self.entries.v6.truncate(v6);
            self.rejected.too_wide = too_wide + 1;
        }
    }
}

/// Returns the fewest prefixes that are the range from `first` to `last`, of addresses of `width`
/// bits: at each step the largest block that starts there and ends in time.
fn pieces(first: u128, last: u128, width: u32) -> impl Iterator<Item = (u128, u8)> + Clone {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let start = next.filter(|start| *start <= last)?;
        let aligned = start.trailing_zeros().min(width);
        // Of 2^128 addresses there is one less in a number.
        let fits = (last - start).checked_add(1).map_or(128, u128::ilog2);
        let bits = aligned.min(fits);
        next = 1u128.checked_shl(bits).and_then(|size| start.checked_add(size));
        Some((start, u8::try_from(width - bits).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn ranges_are_the_fewest_prefixes() {
        let of = |first: &str, last: &str| {
            let bits = |text: &str| u128::from(text.parse::<Ipv4Addr>().unwrap().to_bits());
            let text =
                |(first, length)| format!("{}/{length}", Ipv4Addr::from_bits(u32::try_from(first).unwrap()));
            pieces(bits(first), bits(last), 32).map(text).collect::<Vec<_>>()
        };
        assert_eq!(of("192.0.2.0", "192.0.2.255"), ["192.0.2.0/24"]);
        assert_eq!(of("192.0.2.7", "192.0.2.7"), ["192.0.2.7/32"]);
        assert_eq!(
            of("192.0.2.1", "192.0.2.6"),
            ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"]
        );
        assert_eq!(of("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(of("1.0.0.0", "255.255.255.255").len(), 8);
        assert_eq!(pieces(0, u128::MAX, 128).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(pieces(1, u128::MAX, 128).count(), 128);
        assert_eq!(pieces(1, u128::MAX - 1, 128).count(), 254);
    }

    #[test]
    fn ports_and_numbers() {
        let text = |word: &str| {
            prefix_or_port(word.as_bytes())
                .map(|(address, length)| (IpAddr::from(address).to_string(), length))
        };
        assert_eq!(text("192.0.2.1:443"), Some(("192.0.2.1".to_owned(), 32)));
        assert_eq!(text("[2001:db8::1]:443"), Some(("2001:db8::1".to_owned(), 128)));
        assert_eq!(text("[2001:db8::1]"), Some(("2001:db8::1".to_owned(), 128)));
        assert_eq!(text("2001:db8::443"), Some(("2001:db8::443".to_owned(), 128)));
        for none in
            ["192.0.2.1:", "192.0.2.1:http", "[2001:db8::1]443", "[]:1", ":443", "example.org:443", ""]
        {
            assert_eq!(text(none), None, "{none}");
        }
        let number = |word: &str| address(word.as_bytes()).map(|address| IpAddr::from(address).to_string());
        assert_eq!(number("3221225985").as_deref(), Some("192.0.2.1"));
        assert_eq!(number("281473902969345").as_deref(), Some("192.0.2.1"), "::ffff:192.0.2.1 as a number");
        assert_eq!(number("42540766411282592856903984951653826561").as_deref(), Some("2001:db8::1"));
        for none in ["", "192.0.2.0/24", "340282366920938463463374607431768211456", "-1", "0x7f"] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn ranges_agree_with_a_naive_count(first: u32, length in 0u32..2000) {
            let last = first.saturating_add(length);
            let mut next = u128::from(first);
            for (start, length) in pieces(first.into(), last.into(), 32) {
                proptest::prop_assert_eq!(start, next);
                let size = 1u128 << (32 - length);
                proptest::prop_assert_eq!(start % size, 0);
                next = start + size;
            }
            proptest::prop_assert_eq!(next, u128::from(last) + 1);
        }
    }
}
