use weir_common::addr::Address;

use super::{
    address, lines,
    sink::{Record, Sink},
};

/// What a line with a name may be long, so that it is not searched for ever.
const NAMED_MAX: usize = 1024;

/// Parses ranges: `start-end`, `start,end,…`, `start end`, `name:start-end`, prefixes and addresses.
pub(super) fn parse(text: &[u8], sink: &mut Sink<'_>) {
    let mut is_first = true;
    for (line, number) in lines::lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() || matches!(line.first(), Some(b'#' | b';')) {
            continue;
        }
        if let Some((first, last)) = pair(line).or_else(|| named_pair(line)) {
            sink.take(number, &Record { end: Some(last), ..Record::of(first) }, line);
        } else {
            let record = Record::of(first_word(line));
            // A header row.
            if !is_first || record.is_sound() {
                sink.take(number, &record, line);
            }
        }
        is_first = false;
        if sink.is_full() {
            return;
        }
    }
}

/// Returns both ends of the range with which the text begins.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = first_word(text);
    // Behind the word and what may close it: a quote.
    let start = text.iter().position(|byte| *byte != b'"' && *byte != b' ')?;
    let rest = text.get(start + first.len()..)?;
    let behind = rest.iter().position(|byte| !is_between(*byte))?;
    let between = rest.get(..behind)?;
    if between.is_empty() || !is_address(first) {
        return None;
    }
    let last = first_word(rest.get(behind..)?);
    is_address(last).then_some((first, last))
}

/// Returns both ends of the range behind a name, in which there may be colons and dashes too.
fn named_pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.get(..NAMED_MAX).map_or(Some(line), |_| None)?;
    memchr::memchr_iter(b':', line).find_map(|colon| pair(line.get(colon + 1..)?.trim_ascii_start()))
}

fn is_address(word: &[u8]) -> bool {
    matches!(address::address(word), Some(Address::V4(_) | Address::V6(_)))
}

/// Returns what stands in front of the first separator, without a quote in front.
fn first_word(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| *byte != b'"' && *byte != b' ').unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let end = text.iter().position(|byte| is_between(*byte) || matches!(byte, b'#' | b'\r'));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

const fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',' | b';' | b'-' | b'"')
}
