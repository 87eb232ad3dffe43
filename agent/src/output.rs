//! Tables for people, JSON for programs. The only place that prints.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Prints a result: as JSON, or as `text` makes it.
pub fn print<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) {
    match format {
        Format::Table => line(&text(value)),
        Format::Json => match serde_json::to_string_pretty(value) {
            Ok(json) => line(&json),
            Err(failure) => error(&failure),
        },
    }
}

/// Whoever reads may have read enough (`weir status | head`): a closed pipe is no failure.
fn line(text: &str) {
    _ = writeln!(io::stdout(), "{}", text.trim_end());
}

/// Prints an error.
pub fn error(error: &dyn Display) {
    let label = if io::stderr().is_terminal() { "\x1b[1;31mweir:\x1b[0m" } else { "weir:" };
    _ = writeln!(io::stderr(), "{label} {error}");
}

/// Prints what does not stop anything, but should be known.
pub fn warning(warning: &dyn Display) {
    _ = writeln!(io::stderr(), "weir: warning: {warning}");
}

/// Returns rows as aligned columns below a header.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}
