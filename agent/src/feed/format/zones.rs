//! Lists as name servers have them: zones of rbldnsd, and response policy zones (RPZ).
//!
//! In both the narrowest entry counts that covers an address, and it may say that it is none.

use std::{net::Ipv6Addr, str};

use weir_common::addr::{Address, V6};

use super::{address, lines, sink::Sink};
use crate::feed::{Entries, Parsed, entries::Widest};

/// What rbldnsd answers where nothing is said.
const DEFAULT: &[u8] = b"127.0.0.2";

/// Entries that are none, of whatever width.
fn exceptions() -> Parsed {
    Parsed { widest: Widest { v4: 0, v6: 0 }, ..Parsed::default() }
}

/// Parses data of rbldnsd, of the types `ip4set`, `ip4tset`, `ip4trie` and `ip6trie`. What it answers
/// is the category.
pub(super) fn rbldnsd(text: &[u8], sink: &mut Sink<'_>) {
    let mut exceptions = exceptions();
    let mut default = Vec::from(DEFAULT);
    for (line, number) in lines::lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() || matches!(line.first(), Some(b'#' | b';' | b'$')) {
            continue;
        }
        if line.starts_with(b":") {
            default = value(line, &default);
            continue;
        }
        let (is_exception, entry) = match line.strip_prefix(b"!") {
            Some(entry) => (true, entry.trim_ascii_start()),
            None => (false, line),
        };
        let word = lines::before(entry, b" \t");
        let rest = entry.get(word.len()..).unwrap_or_default().trim_ascii();
        let Some((first, last)) = ends(word) else {
            sink.parsed.reject(number, line);
            continue;
        };
        if is_exception {
            exceptions.push_range(first, last);
        } else if !sink.picks(&value(rest, &default)) {
            sink.leave_out();
        } else if !sink.parsed.push_range(first, last) {
            sink.parsed.reject(number, line);
        }
        if sink.is_full() {
            return;
        }
    }
    sink.parsed.except(&exceptions.entries);
}

/// Returns the answer in `:127.0.0.2:text` or `:2:text`; a text alone leaves it as it is.
fn value(text: &[u8], default: &[u8]) -> Vec<u8> {
    let Some(answer) = text.strip_prefix(b":").map(|text| lines::before(text, b":").trim_ascii()) else {
        return default.to_vec();
    };
    match answer {
        [] => default.to_vec(),
        _ if answer.len() <= 3 && answer.iter().all(u8::is_ascii_digit) => [b"127.0.0.", answer].concat(),
        _ => answer.to_vec(),
    }
}

/// Returns the ends of `192.0.2.1`, `192.0.2`, `192.0.2.0/25`, `192.0.2/25`, `192.0.2.1-192.0.2.9` and
/// `192.0.2.1-9`.
fn ends(word: &[u8]) -> Option<(Address, Address)> {
    if let Some(dash) = memchr::memchr(b'-', word) {
        let (first, last) = (ends(word.get(..dash)?)?.0, word.get(dash + 1..)?);
        let octet = str::from_utf8(last).ok().and_then(|text| text.parse::<u8>().ok());
        return Some(match (first, octet) {
            (Address::V4(bits), Some(octet)) => (first, Address::V4(bits & !0xff | u32::from(octet))),
            _ => (first, ends(last)?.1),
        });
    }
    if let Some((address, length)) = address::prefix(word) {
        return Some(both_ends(address, length));
    }
    // Octets that are missing are all there are, or zero in front of a length.
    let network = lines::before(word, b"/");
    let octets = network.split(|byte| *byte == b'.').count();
    let whole = [network, &b".0.0.0"[..2 * 4_usize.checked_sub(octets)?]].concat();
    let length = match word.get(network.len() + 1..) {
        Some(length) => str::from_utf8(length).ok()?.parse().ok().filter(|length| *length <= 32)?,
        None => u8::try_from(8 * octets).ok()?,
    };
    match address::prefix(&whole)? {
        (address @ Address::V4(_), 32) => Some(both_ends(address, length)),
        _ => None,
    }
}

/// Parses a response policy zone (draft-vixie-dnsop-dns-rpz): addresses of clients and of answers. What
/// is done is the category: `nxdomain`, `nodata`, `drop`, `tcp-only`, `local-data`.
pub(super) fn rpz(text: &[u8], sink: &mut Sink<'_>) {
    let mut exceptions = exceptions();
    let mut brackets = 0_usize;
    for (line, number) in lines::lines(text) {
        let line = lines::before(line, b";\r");
        let is_inside = brackets > 0;
        let count = |byte| memchr::memchr_iter(byte, line).count();
        brackets = (brackets + count(b'(')).saturating_sub(count(b')'));
        // The rest of a record, a record of the name before, the zone itself: no triggers.
        if is_inside || line.first().is_none_or(|byte| byte.is_ascii_whitespace() || b"$@".contains(byte)) {
            continue;
        }
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(owner) = words.next() else { continue };
        let is_type =
            |word: &&[u8]| !word.iter().all(u8::is_ascii_digit) && !word.eq_ignore_ascii_case(b"in");
        let Some((kind, target)) = words.find(is_type).zip(words.next()) else {
            sink.parsed.reject(number, line);
            continue;
        };
        let Some(trigger) = trigger(owner) else {
            if !kind.eq_ignore_ascii_case(b"soa") && !kind.eq_ignore_ascii_case(b"ns") {
                sink.leave_out();
            }
            continue;
        };
        match (reversed(&trigger), action(kind, target)) {
            (None, _) => sink.parsed.reject(number, line),
            (Some((address, length)), None) => exceptions.push(address, length),
            (Some(_), Some(action)) if !sink.picks(action) => sink.leave_out(),
            (Some((address, length)), Some(_)) => sink.parsed.push(address, length),
        }
        if sink.is_full() {
            return;
        }
    }
    sink.parsed.except(&exceptions.entries);
}

/// Returns the labels of an address in front of what makes it a trigger; nothing: it is about names.
fn trigger(owner: &[u8]) -> Option<Vec<&[u8]>> {
    let mut labels = Vec::new();
    for label in owner.split(|byte| *byte == b'.') {
        if [&b"rpz-client-ip"[..], b"rpz-ip"].iter().any(|known| label.eq_ignore_ascii_case(known)) {
            return Some(labels);
        }
        labels.push(label);
    }
    None
}

/// Returns what is done about it; nothing: it is let pass.
fn action(kind: &[u8], target: &[u8]) -> Option<&'static [u8]> {
    if !kind.eq_ignore_ascii_case(b"cname") {
        return Some(b"local-data");
    }
    match target.to_ascii_lowercase().as_slice() {
        b"rpz-passthru." => None,
        b"rpz-drop." => Some(b"drop"),
        b"rpz-tcp-only." => Some(b"tcp-only"),
        b"." => Some(b"nxdomain"),
        b"*." => Some(b"nodata"),
        _ => Some(b"local-data"),
    }
}

/// Returns the prefix of `24.0.2.0.192` or `48.zz.1.db8.2001`, in which `zz` is `::`.
fn reversed(labels: &[&[u8]]) -> Option<(Address, u8)> {
    let (length, labels) = labels.split_first()?;
    let labels: Vec<&str> =
        labels.iter().rev().map(|label| str::from_utf8(label)).collect::<Result<_, _>>().ok()?;
    let text = if labels.len() == 4 && !labels.contains(&"zz") {
        labels.join(".")
    } else {
        let joined =
            labels.iter().map(|label| if *label == "zz" { "" } else { label }).collect::<Vec<_>>().join(":");
        // At an end it stands for both colons.
        match (labels.first(), labels.last()) {
            (Some(&"zz"), Some(&"zz")) => "::".to_owned(),
            (Some(&"zz"), _) => format!(":{joined}"),
            (_, Some(&"zz")) => format!("{joined}:"),
            _ => joined,
        }
    };
    let text = format!("{text}/{}", str::from_utf8(length).ok()?);
    address::prefix(text.as_bytes())
}

impl Parsed {
    /// Takes what these name out of entries that are as wide or wider.
    fn except(&mut self, exceptions: &Entries) {
        if exceptions.is_empty() {
            return;
        }
        let sorted = |mut prefixes: Vec<(u128, u8)>| {
            prefixes.sort_unstable();
            prefixes
        };
        let of_v4 =
            sorted(exceptions.v4.iter().map(|(network, length)| ((*network).into(), *length)).collect());
        let of_v6 =
            sorted(exceptions.v6.iter().map(|(network, length)| (number(*network), *length)).collect());
        let entries = std::mem::take(&mut self.entries);
        for (network, length) in entries.v4 {
            for (first, last) in without(network.into(), length, 32, &of_v4) {
                let end = |bits| Address::V4(u32::try_from(bits).unwrap_or(u32::MAX));
                self.push_range(end(first), end(last));
            }
        }
        for (network, length) in entries.v6 {
            for (first, last) in without(number(network), length, 128, &of_v6) {
                let end = |bits| Address::V6(Ipv6Addr::from_bits(bits).into());
                self.push_range(end(first), end(last));
            }
        }
    }
}

fn number(address: V6) -> u128 {
    Ipv6Addr::from(address).to_bits()
}

/// Returns what is left of a prefix without those that lie in it, which are sorted.
fn without(network: u128, length: u8, width: u8, exceptions: &[(u128, u8)]) -> Vec<(u128, u128)> {
    let last_of = |network: u128, length: u8| {
        network | u128::MAX.checked_shr(128 - u32::from(width.saturating_sub(length))).unwrap_or(0)
    };
    let end = last_of(network, length);
    let from = exceptions.partition_point(|(other, _)| *other < network);
    let inside = exceptions.iter().skip(from).take_while(|(other, _)| *other <= end);
    let mut left = Vec::new();
    let mut next = Some(network);
    for &(first, length) in inside.filter(|(_, other)| *other >= length) {
        let Some(start) = next else { break };
        if start < first {
            left.push((start, first - 1));
        }
        // One may lie in another.
        next = last_of(first, length).checked_add(1).map(|after| after.max(start));
    }
    left.extend(next.filter(|start| *start <= end).map(|start| (start, end)));
    left
}

/// Returns the first and the last address of a prefix, whose host bits may be set.
fn both_ends(address: Address, length: u8) -> (Address, Address) {
    match address {
        Address::V4(bits) => {
            let rest = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            (Address::V4(bits & !rest), Address::V4(bits | rest))
        }
        Address::V6(bits) => {
            let rest = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let end = |bits| Address::V6(Ipv6Addr::from_bits(bits).into());
            (end(number(bits) & !rest), end(number(bits) | rest))
        }
    }
}
