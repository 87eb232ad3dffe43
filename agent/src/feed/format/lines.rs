//! CSV is read line by line and not by a library: lists have headers in comments, blanks in front of
//! quotes and no line end inside them, and a quote that is never closed must not swallow the rest.

use std::iter;

use memchr::memchr;

use super::sink::{self, Record, Sink};
use crate::config::{Column, Columns, Separator, Subject};

/// Columns that a header row may have.
const COLUMNS_MAX: usize = 1000;

/// Returns the lines of a text and their numbers from 1, without line ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut rest = text;
    let mut number = 0;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..end)?;
        rest = rest.get(end + 1..).unwrap_or_default();
        number += 1;
        Some((line, number))
    })
}

/// Returns what stands in front of the first of these bytes.
pub(super) fn before<'a>(line: &'a [u8], bytes: &[u8]) -> &'a [u8] {
    let end = line.iter().position(|byte| bytes.contains(byte)).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

/// How lines are taken apart.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// What stands between cells.
    pub(super) separator: Separator,
    /// Cells may be in quotes.
    pub(super) quotes: bool,
}

impl Form {
    const fn separates(self, byte: u8) -> bool {
        match self.separator {
            Separator::Blank => matches!(byte, b' ' | b'\t'),
            Separator::Tab => byte == b'\t',
            Separator::Comma => byte == b',',
            Separator::Semicolon => byte == b';',
            Separator::Pipe => byte == b'|',
            Separator::Any => matches!(byte, b' ' | b'\t' | b',' | b';' | b'|'),
        }
    }

    /// Several separators in a row are one.
    const fn merges(self) -> bool {
        matches!(self.separator, Separator::Blank | Separator::Any)
    }

    /// Returns the cell with which `rest` begins, and what follows; nothing: the line ends.
    fn cell(self, rest: &[u8]) -> (&[u8], Option<&[u8]>) {
        let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
        let trimmed = rest.get(start..).unwrap_or_default();
        if self.quotes
            && let Some(inside) = trimmed.strip_prefix(b"\"")
            && let Some((end, behind)) = quoted(inside)
        {
            let next = behind.iter().position(|byte| self.separates(*byte));
            let next = next.map(|at| self.skip(behind.get(at + 1..).unwrap_or_default()));
            return (inside.get(..end).unwrap_or_default(), next);
        }
        let end = rest.iter().position(|byte| self.separates(*byte));
        let cell = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().trim_ascii();
        (cell, end.map(|end| self.skip(rest.get(end + 1..).unwrap_or_default())))
    }

    fn skip(self, rest: &[u8]) -> &[u8] {
        if !self.merges() {
            return rest;
        }
        let start = rest.iter().position(|byte| !self.separates(*byte)).unwrap_or(rest.len());
        rest.get(start..).unwrap_or_default()
    }

    /// Takes the first `most` cells out of a line.
    pub(super) fn split<'a>(self, line: &'a [u8], most: usize, cells: &mut Vec<&'a [u8]>) {
        cells.clear();
        let mut rest = Some(line);
        while let Some(text) = rest
            && cells.len() < most
        {
            let (cell, next) = self.cell(text);
            cells.push(cell);
            rest = next;
        }
    }
}

/// Returns where a text in quotes ends, in which two quotes stand for one, and what is behind it.
fn quoted(inside: &[u8]) -> Option<(usize, &[u8])> {
    let mut from = 0;
    loop {
        let end = from + memchr(b'"', inside.get(from..)?)?;
        match inside.get(end + 1) {
            Some(b'"') => from = end + 2,
            _ => return Some((end, inside.get(end + 1..)?)),
        }
    }
}

/// Numbers of columns, once the header row is known.
struct Places {
    subject: i16,
    end: Option<i16>,
    score: Option<i16>,
    category: Option<i16>,
    only: Option<i16>,
}

impl Places {
    /// Returns the places in a header row; nothing where a column is not in it.
    fn find(columns: &Columns, header: &[&[u8]]) -> Option<Self> {
        let place = |column: &Column| match column {
            Column::Number(number) => Some(*number),
            Column::Name(name) => {
                let at = header.iter().position(|cell| cell.eq_ignore_ascii_case(name.as_bytes()))?;
                i16::try_from(at + 1).ok()
            }
        };
        let maybe = |column: Option<&Column>| match column {
            Some(column) => place(column).map(Some),
            None => Some(None),
        };
        Some(Self {
            subject: place(columns.subject()?.1)?,
            end: maybe(columns.end.as_ref())?,
            score: maybe(columns.score.as_ref())?,
            category: maybe(columns.category.as_ref())?,
            only: maybe(columns.only.as_ref().map(|only| &only.column))?,
        })
    }

    /// Returns how many cells of a line are needed.
    fn most(&self) -> usize {
        let places = [Some(self.subject), self.end, self.score, self.category, self.only];
        let number = |place: i16| usize::try_from(place).unwrap_or(usize::MAX);
        places.into_iter().flatten().map(number).max().unwrap_or(0)
    }
}

fn at<'a>(cells: &[&'a [u8]], place: i16) -> Option<&'a [u8]> {
    let distance = usize::from(place.unsigned_abs());
    let index = if place > 0 { distance.checked_sub(1)? } else { cells.len().checked_sub(distance)? };
    cells.get(index).copied()
}

/// Parses lines of columns.
///
/// # Errors
/// Says which column is not in the header row.
pub(super) fn parse(columns: &Columns, form: Form, text: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
    let Some((subject, _)) = columns.subject() else { return Err("format: has no address".to_owned()) };
    let comment = columns.comment.as_deref().unwrap_or("#;").as_bytes();
    let mut cells: Vec<&[u8]> = Vec::new();
    let mut places = Places::find(columns, &[]);
    let (mut skip, mut is_first) = (columns.skip, true);
    for (line, number) in lines(text) {
        // A tab in front is an empty column.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let trimmed = line.trim_ascii_start();
        let is_comment = trimmed.first().is_some_and(|byte| comment.contains(byte));
        let Some(places) = &places else {
            places = header(columns, form, trimmed, is_comment)?;
            is_first = is_first && (is_comment || trimmed.is_empty());
            continue;
        };
        if trimmed.is_empty() || is_comment {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        let line = if form.merges() { trimmed } else { line };
        form.split(line, places.most(), &mut cells);
        let name = at(&cells, places.subject).unwrap_or_default();
        let cell = |place: Option<i16>| place.and_then(|place| at(&cells, place));
        if let Some(only) = &columns.only
            && !only.values.contain(cell(places.only).unwrap_or_default())
        {
            // The header row is no entry.
            if !is_first || cell(places.end).is_some() || Record::of(name).is_sound() {
                sink.leave_out();
            }
            is_first = false;
            continue;
        }
        let record = Record {
            subject,
            name,
            end: cell(places.end).filter(|end| !end.is_empty()),
            score: cell(places.score).and_then(sink::score),
            picked: !sink.is_picky() || cell(places.category).is_some_and(|category| sink.picks(category)),
        };
        if !is_first || is_entry(&record) {
            sink.take(number, &record, line);
        }
        is_first = false;
        if sink.is_full() {
            break;
        }
    }
    Ok(())
}

/// A first line that is no entry is a header row.
fn is_entry(record: &Record<'_>) -> bool {
    // Names of columns are no countries, but `CC` could be one.
    record.is_sound() && !(record.subject == Subject::Country && record.name.eq_ignore_ascii_case(b"cc"))
}

/// Looks for the header row, which a comment may be. The first line that is none must be it.
fn header(columns: &Columns, form: Form, line: &[u8], is_comment: bool) -> Result<Option<Places>, String> {
    let start = line.iter().position(|byte| !b"#; \t".contains(byte)).unwrap_or(line.len());
    let names = line.get(start..).unwrap_or_default();
    // Zeek's word for it.
    let names = names.strip_prefix(b"fields\t").unwrap_or(names);
    let mut cells = Vec::new();
    form.split(names, COLUMNS_MAX, &mut cells);
    let found = Places::find(columns, &cells);
    if found.is_some() || is_comment || line.is_empty() {
        return Ok(found);
    }
    let only = columns.only.as_ref().map(|only| &only.column);
    let wanted = [
        columns.subject().map(|(_, column)| column),
        columns.end.as_ref(),
        columns.score.as_ref(),
        columns.category.as_ref(),
        only,
    ];
    let missing = wanted.into_iter().flatten().find_map(|column| match column {
        Column::Name(name) if !cells.iter().any(|cell| cell.eq_ignore_ascii_case(name.as_bytes())) => {
            Some(name)
        }
        Column::Name(_) | Column::Number(_) => None,
    });
    let start: String = String::from_utf8_lossy(line.get(..240).unwrap_or(line)).chars().take(80).collect();
    Err(format!(
        "has no column `{}`; its header row is `{start}`: name one of these, or number columns from 1",
        missing.map_or("", String::as_str)
    ))
}
