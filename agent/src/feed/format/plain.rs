//! Addresses and prefixes, one a line.
//!
//! The grammar of FireHOL netsets, blocklist.de, CINS, IPsum levels and most others: comments from
//! `#` or `;`, empty lines, CRLF, a byte order mark, anything behind the first word. IPv4 is parsed
//! by hand, since lists are long and nearly all IPv4; the rest goes to the standard library.

use memchr::memchr;

use super::address;
use crate::feed::Parsed;

/// What an IPv4 prefix takes at most, with the byte behind it.
const WINDOW: usize = "255.255.255.255/32\n".len();

/// Parses a list.
#[must_use]
pub fn parse(text: &[u8]) -> Parsed {
    parse_as(text, Parsed::default())
}

/// Parses a list, and adds it to `parsed`.
#[must_use]
pub(in crate::feed) fn parse_as(text: &[u8], mut parsed: Parsed) -> Parsed {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // A line of an address list is about 15 bytes long.
    parsed.entries.v4.reserve(text.len() / 15);
    let mut number = 0;
    let mut rest = text;
    while !rest.is_empty() {
        number += 1;
        // Nearly every line is an IPv4 address or prefix and nothing else.
        if let Some(window) = rest.first_chunk()
            && let Some((network, length, end)) = parse_v4(window)
            && rest.get(end) == Some(&b'\n')
        {
            parsed.push_v4(network, length);
            rest = &rest[end + 1..];
            continue;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        parse_line(&rest[..end], number, &mut parsed);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    parsed
}

fn parse_line(line: &[u8], number: usize, parsed: &mut Parsed) {
    let word = first_word(line);
    if word.is_empty() {
        return;
    }
    match address::prefix(word) {
        Some((address, length)) => parsed.push(address, length),
        None => parsed.reject(number, word),
    }
}

/// Parses a word that is an IPv4 address or prefix and nothing else.
pub(super) fn parse_word(word: &[u8]) -> Option<(u32, u8)> {
    let mut window = [b'\n'; WINDOW];
    window.get_mut(..word.len())?.copy_from_slice(word);
    let (network, length, end) = parse_v4(&window)?;
    (end == word.len()).then_some((network, length))
}

/// Returns what stands in front of the first blank, comma or comment.
fn first_word(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b',' | b'#' | b';'));
    &line[..end.unwrap_or(line.len())]
}

/// Parses `a.b.c.d` or `a.b.c.d/n` with decimal numbers without leading zeros, which some tools
/// read as octal. Returns network, length and where it ends.
///
/// All four numbers at once, so that nothing is guessed by the processor: how many digits each has
/// it would guess wrong two times a line.
#[inline]
fn parse_v4(window: &[u8; WINDOW]) -> Option<(u32, u8, usize)> {
    let (low, high) = (window.first_chunk()?, window[8..].first_chunk()?);
    let (low, high) = (u64::from_le_bytes(*low), u64::from_le_bytes(*high));
    let others = bits_of(no_digits(low)) | bits_of(no_digits(high)) << 8;
    let dots = bits_of(equal(low, b'.')) | bits_of(equal(high, b'.')) << 8;
    // The first three bytes that are no digits, which must be dots, and the fourth.
    let second = others & others.wrapping_sub(1);
    let third = second & second.wrapping_sub(1);
    let fourth = third & third.wrapping_sub(1);
    if (others ^ fourth) & !dots != 0 || fourth == 0 {
        return None;
    }
    let ends = [others, second, third, fourth].map(|bits| bits.trailing_zeros() as usize);
    let a = number(window, 0, ends[0])?;
    let b = number(window, ends[0] + 1, ends[1])?;
    let c = number(window, ends[1] + 1, ends[2])?;
    let d = number(window, ends[2] + 1, ends[3])?;
    let address = a << 24 | b << 16 | c << 8 | d;
    let end = ends[3];
    if window[end] != b'/' {
        return Some((address, 32, end));
    }
    let digit = |at: usize| window.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let first = digit(end + 1)?;
    match digit(end + 2) {
        None => Some((address, first, end + 2)),
        Some(second) => {
            let length = first * 10 + second;
            (first != 0 && length <= 32 && digit(end + 3).is_none()).then_some((address, length, end + 3))
        }
    }
}

/// Returns the number from 0 to 255 of the one to three digits in `window[start..end]`.
#[inline]
fn number(window: &[u8; WINDOW], start: usize, end: usize) -> Option<u32> {
    /// The smallest numbers of one, two and three digits.
    const SMALLEST: [u32; 3] = [0, 10, 100];
    let smallest = *SMALLEST.get((end - start).wrapping_sub(1))?;
    let digits = u32::from_le_bytes(*window.get(start..)?.first_chunk()?) & 0x0f0f_0f0f;
    // The last digit as the highest byte, zeros in front of the first.
    let digits = digits << (32 - 8 * (end - start));
    let number = (digits >> 24) + (digits >> 16 & 15) * 10 + (digits >> 8 & 15) * 100;
    (number >= smallest && number < 256).then_some(number)
}

const TOPS: u64 = 0x8080_8080_8080_8080;

/// Returns the top bit of each byte that is no decimal digit.
#[inline]
const fn no_digits(word: u64) -> u64 {
    let digits = word ^ 0x3030_3030_3030_3030;
    (((digits & !TOPS) + 0x7676_7676_7676_7676) | digits) & TOPS
}

/// Returns the top bit of each byte that is `byte`.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (0x0101_0101_0101_0101 * byte as u64);
    !(((differs & !TOPS) + !TOPS) | differs) & TOPS
}

/// Returns the top bits of eight bytes as the eight lowest bits, the first byte's the lowest.
#[inline]
const fn bits_of(tops: u64) -> u64 {
    (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn entries(text: &str) -> Vec<String> {
        let parsed = parse(text.as_bytes());
        let v4 = parsed.entries.v4.iter().map(|(n, l)| format!("{}/{l}", Ipv4Addr::from_bits(*n)));
        let v6 = parsed.entries.v6.iter().map(|(n, l)| format!("{}/{l}", Ipv6Addr::from(*n)));
        v4.chain(v6).collect()
    }

    #[test]
    fn takes_what_real_lists_contain() {
        let text = "\u{feff}# FireHOL header\r\n\
                    192.0.2.1\r\n\
                    192.0.2.128/25 ; SBL123\n\
                    \n\
                    198.51.100.7\t10\n\
                    203.0.113.9\t\t# 2016-11-10 09:11:03\t\t56\n\
                    ; comment\n\
                    \x20 203.0.113.77/24\n\
                    2001:db8::/32\n\
                    2001:db8::1\n\
                    ::ffff:192.0.2.9\n\
                    192.0.2.200,category,100";
        assert_eq!(
            entries(text),
            [
                "192.0.2.1/32",
                "192.0.2.128/25",
                "198.51.100.7/32",
                "203.0.113.9/32",
                "203.0.113.0/24",
                "192.0.2.9/32",
                "192.0.2.200/32",
                "2001:db8::/32",
                "2001:db8::1/128",
            ]
        );
    }

    #[test]
    fn rejects_what_is_no_address_and_says_where() {
        let parsed =
            parse(b"192.0.2.1\n<html>\n1.2.3\n1.2.3.4.5\n1.2.3.256\n01.2.3.4\n1.2.3.4/33\nexample.org\n");
        assert_eq!(parsed.entries.len(), 1);
        assert_eq!(parsed.rejected.lines, 7);
        assert_eq!(parsed.first_rejected, Some((2, "<html>".to_owned())));
    }

    #[test]
    fn leaves_out_what_is_wider_than_a_list_may_name() {
        let parsed = parse(b"0.0.0.0/0\n10.0.0.0/7\n10.0.0.0/8\n::/0\n2001::/15\n2001::/16\n::ffff:0:0/90\n");
        assert_eq!((parsed.entries.v4.len(), parsed.entries.v6.len()), (1, 1));
        assert_eq!(parsed.rejected.too_wide, 5);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_standard_library(bits: u32, length in 8u8..=32) {
            let text = format!("{}/{length}", Ipv4Addr::from_bits(bits));
            let want: ipnet::Ipv4Net = text.parse().unwrap();
            proptest::prop_assert_eq!(entries(&text), [want.trunc().to_string()]);
        }

        /// Much that is nearly an address, in front of other lines and as the last.
        #[test]
        fn agrees_with_the_standard_library_on_what_is_none(
            word in "[0-9]{0,4}[.]{0,2}[0-9]{1,3}[.][0-9./]{1,3}[.][0-9]{0,4}[/x. ]{0,1}[0-9]{0,3}",
        ) {
            let first = word.split(' ').next().unwrap();
            let address = first.parse::<Ipv4Addr>().ok().map(|address| (address.to_bits(), 32));
            let prefix = first.parse::<ipnet::Ipv4Net>().ok();
            let prefix = prefix.map(|net| (u32::from(net.network()), net.prefix_len()));
            let want: Vec<_> = address.or(prefix).filter(|(_, length)| *length >= 8).into_iter().collect();
            for text in [word.clone(), format!("{word}\n"), format!("{word}\n# and a comment behind it\n")] {
                let parsed = parse(text.as_bytes());
                proptest::prop_assert_eq!(&parsed.entries.v4, &want, "{}", text);
            }
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            _ = parse(&text);
        }
    }
}
