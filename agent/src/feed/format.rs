//! From a text to entries, one module a grammar. Pure, but for [`Tables`], which reads files.
//!
//! ```text
//! text ─► whole ─┬─► plain ────────────────────────────────────────► parsed
//!                └─► words, range, rules, zones, lines, json ─► sink ─► parsed
//!                                            tables ────────────┘
//! ```

/// What is to be known of a text before its lines.
mod whole;
/// Addresses and prefixes, one a line.
pub mod plain;
/// One address, prefix or range.
mod address;
/// Lines of columns.
mod lines;
/// Ranges of addresses, one a line.
mod range;
/// Rules of Snort and Suricata.
mod rules;
/// What name servers are told.
mod zones;
/// JSON, in one piece or a line each.
mod json;
/// What becomes of a record: whether it is selected, and the networks it stands for.
mod sink;
/// Which prefixes an autonomous system or a country has.
mod tables;

pub use tables::Tables;

use self::{
    lines::Form,
    sink::{Record, Sink},
};
use super::Parsed;
use crate::config::{self, Format, Grammar, Separator};

/// Parses the text of a feed's list, and leaves out what the feed does not select. Tables that the
/// feed selects by are read each time; [`parse_with`] is for those who keep them.
///
/// # Errors
/// What is wrong with the text as a whole, or with a table.
pub fn parse(feed: &config::Feed, text: &[u8]) -> Result<Parsed, String> {
    let mut tables = Tables::default();
    tables.refresh(&feed.select.tables)?;
    parse_with(feed, text, &tables)
}

/// Parses the text of a feed's list, and leaves out what the feed does not select.
///
/// # Errors
/// What is wrong with the text as a whole.
pub fn parse_with(feed: &config::Feed, text: &[u8], tables: &Tables) -> Result<Parsed, String> {
    whole::check_text(text)?;
    let text = text.strip_prefix(whole::BYTE_ORDER_MARK).unwrap_or(text);
    let mut sink = Sink::new(feed, tables);
    match feed.format.grammar() {
        // Of Spamhaus there is a text too.
        Grammar::JsonLines(_) if feed.format == Format::SpamhausDrop && !whole::is_json(text) => {
            sink.parsed = plain::parse_as(text, sink.parsed);
        }
        Grammar::JsonLines(json) => json::lines(&json, text, &mut sink),
        Grammar::Json(json) => json::document(&json, text, &mut sink)?,
        grammar @ (Grammar::Plain
        | Grammar::Words
        | Grammar::Range
        | Grammar::Rules
        | Grammar::Rbldnsd
        | Grammar::Rpz
        | Grammar::Columns(_)
        | Grammar::Csv(_)) => {
            whole::check_lines(text)?;
            sink.parsed.declared = whole::declared(text);
            lines_of(&grammar, text, &mut sink)?;
        }
    }
    sink.finish()
}

fn lines_of(grammar: &Grammar, text: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
    match grammar {
        Grammar::Plain => sink.parsed = plain::parse_as(text, std::mem::take(&mut sink.parsed)),
        Grammar::Words => words(text, sink),
        Grammar::Range => range::parse(text, sink),
        Grammar::Rules => rules::parse(text, sink),
        Grammar::Rbldnsd => zones::rbldnsd(text, sink),
        Grammar::Rpz => zones::rpz(text, sink),
        Grammar::Columns(columns) => {
            let separator = columns.separator.unwrap_or(Separator::Blank);
            lines::parse(columns, Form { separator, quotes: false }, text, sink)?;
        }
        Grammar::Csv(columns) => {
            let separator = columns.separator.unwrap_or(Separator::Comma);
            lines::parse(columns, Form { separator, quotes: true }, text, sink)?;
        }
        // These have no lines.
        Grammar::JsonLines(_) | Grammar::Json(_) => {}
    }
    Ok(())
}

/// Addresses and prefixes between blanks, commas and line ends.
fn words(text: &[u8], sink: &mut Sink<'_>) {
    for (line, number) in lines::lines(text) {
        let line = lines::before(line, b"#;");
        let words = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b',' | b'"'));
        for word in words.filter(|word| !word.is_empty()) {
            sink.take(number, &Record::of(word), word);
        }
        if sink.is_full() {
            return;
        }
    }
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use tables::fuzz as fuzz_tables;

/// What tests of grammars share.
#[cfg(test)]
pub(in crate::feed) mod testing;
#[cfg(test)]
mod tests;
