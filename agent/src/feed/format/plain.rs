//! Addresses and prefixes, one a line.
//!
//! The grammar of FireHOL netsets, blocklist.de, CINS, IPsum levels and most others: comments from
//! `#` or `;`, empty lines, CRLF, a byte order mark, anything behind the first word. IPv4 is parsed
//! by hand, since lists are long and nearly all IPv4; the rest goes to the standard library.

use std::{net::IpAddr, str};

use ipnet::IpNet;
use memchr::memchr;
use weir_common::addr::Address;

use crate::feed::Parsed;

/// Parses a list.
#[must_use]
pub fn parse(text: &[u8]) -> Parsed {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut parsed = Parsed::default();
    // A line of an address list is about 15 bytes long.
    parsed.entries.v4.reserve(text.len() / 15);
    let mut number = 0;
    let mut rest = text;
    while !rest.is_empty() {
        number += 1;
        // Nearly every line is an IPv4 address or prefix and nothing else.
        if let Some((network, length, after)) = parse_v4(rest)
            && let Some((b'\n', next)) = after.split_first()
        {
            parsed.push_v4(network, length);
            rest = next;
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
    match parse_v4(word) {
        Some((network, length, [])) => parsed.push_v4(network, length),
        Some(_) | None => parse_other(word, number, parsed),
    }
}

/// Returns what stands in front of the first blank, comma or comment.
fn first_word(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b',' | b'#' | b';'));
    &line[..end.unwrap_or(line.len())]
}

/// Parses `a.b.c.d` or `a.b.c.d/n` with decimal numbers without leading zeros, which some tools
/// read as octal. Returns network, length and what follows.
fn parse_v4(text: &[u8]) -> Option<(u32, u8, &[u8])> {
    let (a, rest) = octet(text)?;
    let (b, rest) = octet(rest.strip_prefix(b".")?)?;
    let (c, rest) = octet(rest.strip_prefix(b".")?)?;
    let (d, rest) = octet(rest.strip_prefix(b".")?)?;
    let address = a << 24 | b << 16 | c << 8 | d;
    let Some(slashed) = rest.strip_prefix(b"/") else { return Some((address, 32, rest)) };
    let (length, rest) = octet(slashed)?;
    (length <= 32).then_some((address, u8::try_from(length).ok()?, rest))
}

/// Parses a number from 0 to 255 of one to three digits; returns it and what follows.
fn octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |at: usize| text.get(at).map(|byte| u32::from(byte.wrapping_sub(b'0'))).filter(|d| *d < 10);
    let first = digit(0)?;
    let Some(second) = digit(1) else { return Some((first, &text[1..])) };
    if first == 0 {
        return None;
    }
    let two = first * 10 + second;
    let Some(third) = digit(2) else { return Some((two, &text[2..])) };
    let three = two * 10 + third;
    (three < 256 && digit(3).is_none()).then_some((three, &text[3..]))
}

fn parse_other(word: &[u8], line: usize, parsed: &mut Parsed) {
    let text = str::from_utf8(word).unwrap_or_default();
    let prefix = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(prefix) = prefix else {
        parsed.reject(line, word);
        return;
    };
    match (Address::from(prefix.addr()), prefix) {
        // A v4-mapped prefix, whose length counts from the 96 bits in front of the address.
        (Address::V4(bits), IpNet::V6(v6)) => match v6.prefix_len().checked_sub(96) {
            Some(length) => parsed.push_v4(bits, length),
            None => parsed.rejected.too_wide += 1,
        },
        (Address::V4(bits), IpNet::V4(v4)) => parsed.push_v4(bits, v4.prefix_len()),
        (Address::V6(bits), _) => parsed.push_v6(bits, prefix.prefix_len()),
    }
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

        #[test]
        fn never_panics(text: Vec<u8>) {
            _ = parse(&text);
        }
    }
}
