use std::cmp::Ordering;

use super::Snapshot;

/// What is shown of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Section {
    /// Addresses.
    #[default]
    Sources,
    /// Verdicts and reasons.
    Reasons,
    /// Lists.
    Feeds,
    /// Limits.
    Limits,
    /// Interfaces.
    Interfaces,
}

impl Section {
    /// All of them, in the order in which Tab goes through them.
    pub const ALL: [Self; 5] = [Self::Sources, Self::Reasons, Self::Feeds, Self::Limits, Self::Interfaces];

    /// Returns its title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sources => "Sources",
            Self::Reasons => "Reasons",
            Self::Feeds => "Feeds",
            Self::Limits => "Limits",
            Self::Interfaces => "Interfaces",
        }
    }

    /// Returns the columns and how wide they are.
    #[must_use]
    pub const fn columns(self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Sources => {
                &[("SOURCE", 24), ("PPS", 9), ("PACKETS", 10), ("VERDICT", 10), ("REASON", 15), ("BY", 30)]
            }
            Self::Reasons => &[("REASON", 16), ("VERDICT", 10), ("PPS", 9), ("BYTES/S", 9), ("PACKETS", 10)],
            Self::Feeds => &[
                ("FEED", 20),
                ("ENTRIES", 9),
                ("DROP/S", 9),
                ("WOULD/S", 9),
                ("PASS/S", 9),
                ("PACKETS", 10),
                ("STATE", 30),
            ],
            Self::Limits => &[
                ("LIMIT", 22),
                ("ON", 12),
                ("WITHIN/S", 9),
                ("NEAR/S", 9),
                ("DROP/S", 9),
                ("WOULD/S", 9),
                ("PACKETS", 10),
            ],
            Self::Interfaces => &[
                ("INTERFACE", 16),
                ("MODE", 8),
                ("PASS/S", 9),
                ("DROP/S", 9),
                ("WOULD/S", 9),
                ("BYTES/S", 9),
            ],
        }
    }

    /// Returns the column by which it is sorted at first.
    pub(super) const fn sorted_by(self) -> usize {
        match self {
            Self::Sources => 1,
            Self::Reasons | Self::Feeds | Self::Interfaces => 2,
            Self::Limits => 4,
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Sorted by the alphabet.
    Text(String),
    /// Sorted by size, the largest first.
    Number(f64),
}

impl Cell {
    /// Returns what is shown.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => short(*number),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => other.total_cmp(one),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is, whatever its place: the selection stays with it.
    pub key: String,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// Returns the rows of a section that have `filter` in any cell, sorted by a column; the other way round
/// with `reverse`.
#[must_use]
pub(super) fn rows(
    snapshot: &Snapshot,
    section: Section,
    filter: &str,
    column: usize,
    reverse: bool,
) -> Vec<Row> {
    let mut rows = all(snapshot, section);
    let filter = filter.to_lowercase();
    rows.retain(|row| row.cells.iter().any(|cell| cell.text().to_lowercase().contains(&filter)));
    rows.sort_by(|one, other| {
        let order = match (one.cells.get(column), other.cells.get(column)) {
            (Some(one), Some(other)) => one.order(other),
            (_, _) => Ordering::Equal,
        };
        let order = if reverse { order.reverse() } else { order };
        order.then_with(|| one.key.cmp(&other.key))
    });
    rows
}

/// Returns all rows of a section, sorted as at first.
#[must_use]
pub fn rows_as_sorted(snapshot: &Snapshot, section: Section) -> Vec<Row> {
    rows(snapshot, section, "", section.sorted_by(), false)
}

fn all(snapshot: &Snapshot, section: Section) -> Vec<Row> {
    let text = |text: &str| Cell::Text(text.to_owned());
    let number = Cell::Number;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let count = |count: u64| Cell::Number(count as f64);
    match section {
        Section::Sources => snapshot
            .sources
            .iter()
            .map(|row| Row {
                key: row.source.to_string(),
                cells: vec![
                    text(&row.source.to_string()),
                    number(row.packets_per_second),
                    number(row.packets),
                    text(&row.verdict),
                    text(&row.reason),
                    text(&row.by),
                ],
            })
            .collect(),
        Section::Reasons => snapshot
            .reasons
            .iter()
            .map(|row| Row {
                key: format!("{} {}", row.reason, row.verdict),
                cells: vec![
                    text(row.reason),
                    text(row.verdict),
                    number(row.packets_per_second),
                    number(row.bytes_per_second),
                    count(row.packets),
                ],
            })
            .collect(),
        Section::Feeds => snapshot
            .feeds
            .iter()
            .map(|row| Row {
                key: row.feed.clone(),
                cells: vec![
                    text(&row.feed),
                    count(row.entries as u64),
                    number(row.rates.drop),
                    number(row.rates.would_drop),
                    number(row.rates.pass),
                    count(row.packets),
                    text(&row.state),
                ],
            })
            .collect(),
        Section::Limits => snapshot
            .limits
            .iter()
            .map(|row| Row {
                key: row.limit.clone(),
                cells: vec![
                    text(&row.limit),
                    text(row.service.as_deref().unwrap_or("all")),
                    number(row.within_per_second),
                    number(row.near_per_second),
                    number(row.dropped_per_second),
                    number(row.would_drop_per_second),
                    count(row.packets),
                ],
            })
            .collect(),
        Section::Interfaces => snapshot
            .interfaces
            .iter()
            .map(|row| Row {
                key: row.interface.clone(),
                cells: vec![
                    text(&row.interface),
                    text(row.mode.unwrap_or("-")),
                    number(row.rates.pass),
                    number(row.rates.drop),
                    number(row.rates.would_drop),
                    number(row.rates.bytes),
                ],
            })
            .collect(),
    }
}

/// Returns a number in few characters: `0`, `3.2`, `950`, `12.5k`, `3.1M`.
#[must_use]
pub(super) fn short(number: f64) -> String {
    const SUFFIXES: [&str; 5] = ["", "k", "M", "G", "T"];
    if number < 0.05 {
        return "0".to_owned();
    }
    let (mut scaled, mut at) = (number, 0);
    while scaled >= 999.5 && at + 1 < SUFFIXES.len() {
        scaled /= 1000.0;
        at += 1;
    }
    let digits = usize::from(scaled < 99.95 && (at > 0 || scaled.fract() > 0.05));
    format!("{scaled:.digits$}{}", SUFFIXES[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{snapshot::FeedRow, sources::tests::view};

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.01, "0"),
            (3.2, "3.2"),
            (7.0, "7"),
            (950.0, "950"),
            (999.9, "1.0k"),
            (12_500.0, "12.5k"),
            (125_000.0, "125k"),
            (3.1e6, "3.1M"),
            (5e15, "5000T"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        let mut sources = crate::top::Sources::default();
        for (source, packets) in [("192.0.2.7", 3), ("198.51.100.9", 8), ("192.0.2.8", 5)] {
            (0..packets).for_each(|_| sources.take(&view(source, "drop", "feed")));
        }
        sources.close(1.0, &std::collections::BTreeMap::new());
        let feed = |name: &str, drop| FeedRow {
            feed: name.to_owned(),
            entries: 10,
            rates: crate::top::snapshot::Rates { drop, ..Default::default() },
            packets: 0,
            state: "ok".to_owned(),
        };
        let snapshot = Snapshot {
            sources: sources.rows(),
            feeds: vec![feed("a", 1.0), feed("b", 3.0)],
            ..Snapshot::default()
        };
        let keys = |section, filter, column, reverse| -> Vec<String> {
            rows(&snapshot, section, filter, column, reverse).into_iter().map(|row| row.key).collect()
        };
        assert_eq!(keys(Section::Sources, "", 1, false), ["198.51.100.9", "192.0.2.8", "192.0.2.7"]);
        assert_eq!(keys(Section::Sources, "", 0, false), ["192.0.2.7", "192.0.2.8", "198.51.100.9"]);
        assert_eq!(keys(Section::Sources, "192.0.2", 1, true), ["192.0.2.7", "192.0.2.8"]);
        assert_eq!(keys(Section::Feeds, "", 2, false), ["b", "a"]);
        assert!(keys(Section::Sources, "FEED", 1, false).len() == 3, "whatever the case");
        for section in Section::ALL {
            assert!(section.sorted_by() < section.columns().len());
            for row in rows(&snapshot, section, "", 0, false) {
                assert_eq!(row.cells.len(), section.columns().len(), "{section:?}");
            }
        }
    }
}
