//! Tables for people, JSON for programs. The only place that prints.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::record;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document; of what goes on and on, one a line.
    Json,
}

/// Prints a result: as JSON, or as `text` makes it.
pub fn print<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) {
    match format {
        Format::Table => _ = lines(&text(value)),
        Format::Json => match serde_json::to_string_pretty(value) {
            Ok(json) => _ = lines(&json),
            Err(failure) => error(&failure),
        },
    }
}

/// Prints lines as they are. Whoever reads may have read enough (`weir status | head`): a closed pipe
/// is no failure of a command, but the end of one that goes on.
///
/// # Errors
/// What standard output says.
pub fn lines(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{}", text.trim_end())
}

/// Prints bytes as they are.
pub fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Prints a line of what goes on and on.
///
/// # Errors
/// If nobody reads any more.
pub fn flow(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Returns whether to use colours, where there is a terminal or not: no where `NO_COLOR` is set
/// (<https://no-color.org>) or the terminal is dumb.
#[must_use]
pub fn coloured(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints an error.
pub fn error(error: &dyn Display) {
    let label = if coloured(io::stderr().is_terminal()) { "\x1b[1;31mweir:\x1b[0m" } else { "weir:" };
    _ = writeln!(io::stderr(), "{label} {error}");
}

/// Prints what does not stop anything, but should be known.
pub fn warning(warning: &dyn Display) {
    _ = writeln!(io::stderr(), "weir: warning: {warning}");
}

/// Returns a number and what it counts: `1 entry`, `2 entries`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    if number == N::from(1) {
        return format!("1 {one}");
    }
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ if one.ends_with(['s', 'x']) => format!("{number} {one}es"),
        _ => format!("{number} {one}s"),
    }
}

/// Returns a time as people say it: in its two largest units, below ten seconds to a tenth.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return if seconds > 0.0 && seconds < 0.1 { "0.1s".to_owned() } else { format!("{seconds:.1}s") };
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates, at more than there ever was")]
    #[expect(clippy::cast_sign_loss, reason = "at least 10")]
    let seconds = seconds.round() as u64;
    whole(seconds)
}

/// Returns a time of whole seconds, likewise in its two largest units: `1d`, `59m 59s`.
#[must_use]
pub fn whole(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        if count > 0 {
            words.push(format!("{count}{name}"));
        }
        if words.len() == 2 || (count == 0 && words.len() == 1) {
            break;
        }
    }
    words.join(" ")
}

/// Returns how long ago something was.
#[must_use]
pub fn ago(seconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 at most")]
    let seconds = seconds as f64;
    if seconds < 1.0 { "just now".to_owned() } else { format!("{} ago", duration(seconds)) }
}

/// Returns a time in seconds since 1970 as a date (RFC 3339).
#[must_use]
pub fn date(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(record::time(seconds)).to_string()
}

/// How far long work is: a bar on a terminal, and nothing elsewhere.
#[derive(Debug)]
pub struct Bar(ProgressBar);

/// Work on fewer bytes is over before anybody has read the bar.
const BAR_BYTES_MIN: u64 = 32 << 20;

impl Bar {
    /// Shows how many of `total` bytes are read; nothing: nobody knows how many there are.
    #[must_use]
    pub fn bytes(total: Option<u64>) -> Self {
        let (bar, template) = match total {
            Some(few) if few < BAR_BYTES_MIN => return Self(ProgressBar::hidden()),
            Some(total) => (ProgressBar::new(total), "{wide_bar} {bytes} of {total_bytes}, {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {bytes}, {bytes_per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Says how many bytes are read.
    pub fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Returns rows as aligned columns below a header. A terminal that is too narrow for them has long cells
/// wrapped; whatever else reads them has each row on a line.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let width = table.width();
    wrapped(table, width)
}

/// Wraps between words alone: half an address is of no use. Where that is not enough, rows stay whole.
fn wrapped(mut table: Table, width: Option<u16>) -> String {
    let words = longest_words(&table);
    // Each column has a blank on both sides.
    let least: usize = words.iter().map(|word| word + 2).sum();
    if let Some(width) = width.filter(|width| least <= usize::from(*width)) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        let least = |word| Width::Fixed(u16::try_from(word + 2).unwrap_or(u16::MAX));
        table.set_constraints(words.into_iter().map(|word| ColumnConstraint::LowerBoundary(least(word))));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Returns how long the longest word of each column is.
fn longest_words(table: &Table) -> Vec<usize> {
    let longest = |cell: &Cell| cell.content().split(' ').map(|word| word.chars().count()).max();
    let header = table.header().into_iter();
    let mut words = Vec::new();
    for row in header.chain(table.row_iter()) {
        for (at, cell) in row.cell_iter().enumerate() {
            words.resize(words.len().max(at + 1), 0);
            words[at] = longest(cell).unwrap_or(0).max(words[at]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        for (number, one, text) in [
            (1, "address", "1 address"),
            (0, "address", "0 addresses"),
            (2, "entry", "2 entries"),
            (3, "day", "3 days"),
            (1_000, "case", "1000 cases"),
            (2, "prefix", "2 prefixes"),
        ] {
            assert_eq!(counted(number, one), text);
        }
    }

    #[test]
    fn tables_are_wrapped_between_words_or_not_at_all() {
        let of = |width| {
            let mut table = Table::new();
            table.load_style(NOTHING).set_header(["NAME", "ABOUT"]);
            table.add_row(["2001:db8::9", "what is known of it, at some length"]);
            wrapped(table, width)
        };
        let longest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        assert_eq!((of(None).lines().count(), of(Some(15)) == of(None)), (2, true));
        let narrow = of(Some(32));
        assert!(longest(&narrow) <= Some(32) && narrow.lines().count() > 2, "{narrow}");
        assert!(narrow.contains("2001:db8::9") && narrow.contains("length"), "{narrow}");
    }

    #[test]
    fn times_are_told_in_two_units() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (0.004, "0.1s"),
            (9.94, "9.9s"),
            (59.7, "1m"),
            (61.0, "1m 1s"),
            (3600.0, "1h"),
            (7265.0, "2h 1m"),
            (86_400.0 * 3.0 + 5.0, "3d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        let seconds = [0, 1, 9, 3599, 86_400].map(whole);
        assert_eq!(seconds, ["0s", "1s", "9s", "59m 59s", "1d"]);
        assert_eq!((ago(0).as_str(), ago(75).as_str()), ("just now", "1m 15s ago"));
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
    }
}
