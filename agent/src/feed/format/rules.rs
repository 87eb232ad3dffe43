//! Rules of Snort and Suricata: `drop ip [192.0.2.1,198.51.100.0/24] any -> $HOME_NET any (msg:…;)`.
//!
//! What counts are rules about all that a source sends. One that asks for a port, a flow or a payload
//! is about some of it, and nothing follows from it.

use super::{
    lines,
    sink::{Record, Sink},
};

/// Actions of rules against somebody.
const AGAINST: &[&[u8]] =
    &[b"alert", b"block", b"drop", b"reject", b"rejectboth", b"rejectdst", b"rejectsrc", b"sdrop"];
/// Actions of other rules.
const OTHERS: &[&[u8]] = &[b"activate", b"config", b"dynamic", b"log", b"pass", b"react"];
/// Protocols in which a source can do harm, whatever it sends.
const PROTOCOLS: &[&[u8]] = &[b"ip", b"tcp"];
/// Options that say nothing about packets, but about the rule and what is done about it.
const ABOUT: &[&[u8]] = &[
    b"classtype",
    b"detection_filter",
    b"gid",
    b"metadata",
    b"msg",
    b"priority",
    b"reference",
    b"rev",
    b"sid",
    b"tag",
    b"target",
    b"threshold",
];

/// A rule, as far as it matters.
struct Rule<'a> {
    action: &'a [u8],
    protocol: &'a [u8],
    source: &'a [u8],
    source_port: &'a [u8],
    direction: &'a [u8],
    destination: &'a [u8],
    destination_port: &'a [u8],
    options: &'a [u8],
}

/// Parses rules, one a line.
pub(super) fn parse(text: &[u8], sink: &mut Sink<'_>) {
    for (line, number) in lines::lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match Rule::of(line) {
            Some(rule) if rule.is_about_sources() => {
                for word in members(rule.source) {
                    sink.take(number, &Record::of(word), word);
                }
            }
            Some(_) => sink.leave_out(),
            None => sink.parsed.reject(number, line),
        }
        if sink.is_full() {
            return;
        }
    }
}

impl<'a> Rule<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let open = memchr::memchr(b'(', line).unwrap_or(line.len());
        let (head, options) = line.split_at(open);
        let options = match options.strip_prefix(b"(") {
            Some(inside) => inside.strip_suffix(b")")?,
            None => options,
        };
        let mut words = Vec::new();
        let mut rest = head.trim_ascii();
        while !rest.is_empty() {
            let (word, behind) = rest.split_at(end_of_word(rest));
            words.push(word);
            rest = behind.trim_ascii_start();
        }
        let [action, protocol, source, source_port, direction, destination, destination_port] = words[..]
        else {
            return None;
        };
        let is_rule = AGAINST.contains(&action) || OTHERS.contains(&action);
        let rule =
            Self { action, protocol, source, source_port, direction, destination, destination_port, options };
        is_rule.then_some(rule)
    }

    fn is_about_sources(&self) -> bool {
        let is_free = |word: &[u8]| word == b"any" || word.starts_with(b"$");
        AGAINST.contains(&self.action)
            && PROTOCOLS.contains(&self.protocol)
            // All but some are no list, and who stands behind a variable is not said.
            && members(self.source).all(|word| !is_free(word) && !word.starts_with(b"!"))
            && self.source_port == b"any"
            && matches!(self.direction, b"->" | b"<>")
            && is_free(self.destination)
            && self.destination_port == b"any"
            && options(self.options).all(|(name, value)| is_about_the_rule(name, value))
    }
}

/// Returns where a word ends: at a blank that is in no bracket.
fn end_of_word(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let end = text.iter().position(|byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && byte.is_ascii_whitespace()
    });
    end.unwrap_or(text.len())
}

/// Returns what stands between brackets, commas and blanks.
fn members(group: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = group.split(|byte| matches!(byte, b'[' | b']' | b',') || byte.is_ascii_whitespace());
    words.filter(|word| !word.is_empty())
}

/// Returns names and values of options. A semicolon in a value is behind a backslash.
fn options(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        text = text.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        let is_end = |at: &usize| at.checked_sub(1).and_then(|before| text.get(before)) != Some(&b'\\');
        let end = memchr::memchr_iter(b';', text).find(is_end).unwrap_or(text.len());
        let option = text.get(..end)?;
        text = text.get(end + 1..).unwrap_or_default();
        let colon = memchr::memchr(b':', option).unwrap_or(option.len());
        let value = option.get(colon + 1..).unwrap_or_default();
        Some((option.get(..colon)?.trim_ascii(), value.trim_ascii()))
    })
}

fn is_about_the_rule(name: &[u8], value: &[u8]) -> bool {
    match name {
        // Notes that the rule was met, for other rules.
        b"flowbits" | b"xbits" => value.starts_with(b"set,") || value == b"noalert",
        // Every connection begins with it.
        b"flags" => value == b"S" || value.starts_with(b"S,"),
        _ => ABOUT.contains(&name),
    }
}
