use std::{
    fs,
    io::{self, Read as _},
    net::Ipv6Addr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use weir_common::addr::{Address, V6};

use super::{
    address,
    lines::{self, Form},
};
use crate::config::Separator;

/// Bytes of a table that are too many. The largest that is known has 30 million.
const BYTES_MAX: u64 = 256 << 20;
/// Ranges of a table that are too many. The largest that is known has 600,000.
const RANGES_MAX: usize = 4_000_000;

/// Which ranges an autonomous system or a country has, as files say that are kept until they change.
#[derive(Debug, Default)]
pub struct Tables {
    files: Vec<(PathBuf, Stamp, Table)>,
}

/// What tells a file from itself before a change: device, inode, time of change, size.
type Stamp = (u64, u64, i64, i64, u64);

/// The ranges of a file, sorted.
#[derive(Debug, Default)]
struct Table {
    v4: Vec<(Key, u32, u32)>,
    v6: Vec<(Key, V6, V6)>,
}

/// Whose a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// An autonomous system's.
    Asn(u32),
    /// A country's: ISO 3166-1 alpha-2 in capitals.
    Country([u8; 2]),
}

impl Key {
    /// Parses `AS64500` or `64500`.
    pub(super) fn asn(word: &[u8]) -> Option<Self> {
        let digits = match word.get(..2) {
            Some(start) if start.eq_ignore_ascii_case(b"as") => word.get(2..)?,
            Some(_) | None => word,
        };
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok().map(Self::Asn)).flatten()
    }

    /// Parses two letters.
    pub(super) fn country(word: &[u8]) -> Option<Self> {
        match word {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self::Country([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }
}

impl Tables {
    /// Reads those of the files that have changed, and forgets what is not among them. Returns true
    /// if something did.
    ///
    /// # Errors
    /// Names the file and the line, and says what is wrong. What was read before stays.
    pub fn refresh(&mut self, paths: &[PathBuf]) -> Result<bool, String> {
        let mut changed = false;
        for path in paths {
            let stamp = stamp(path).map_err(|error| unreadable(path, &error))?;
            let known = self.files.iter().position(|(known, _, _)| known == path);
            if known.and_then(|at| self.files.get(at)).is_some_and(|(_, known, _)| *known == stamp) {
                continue;
            }
            let table = read(path)?;
            if let Some(at) = known {
                self.files.swap_remove(at);
            }
            self.files.push((path.clone(), stamp, table));
            changed = true;
        }
        let before = self.files.len();
        self.files.retain(|(path, _, _)| paths.contains(path));
        Ok(changed || self.files.len() < before)
    }

    /// Returns the first and the last address of each of its ranges.
    pub(super) fn ranges(&self, key: Key) -> impl Iterator<Item = (Address, Address)> {
        self.files.iter().flat_map(move |(_, _, table)| {
            let v4 =
                of(&table.v4, key).iter().map(|(_, first, last)| (Address::V4(*first), Address::V4(*last)));
            let v6 =
                of(&table.v6, key).iter().map(|(_, first, last)| (Address::V6(*first), Address::V6(*last)));
            v4.chain(v6)
        })
    }
}

fn of<T>(ranges: &[(Key, T, T)], key: Key) -> &[(Key, T, T)] {
    let start = ranges.partition_point(|(at, _, _)| *at < key);
    let end = ranges.partition_point(|(at, _, _)| *at <= key);
    ranges.get(start..end).unwrap_or_default()
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let about = fs::metadata(path)?;
    Ok((about.dev(), about.ino(), about.mtime(), about.mtime_nsec(), about.size()))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("table {}: cannot be read: {error}", path.display())
}

fn read(path: &Path) -> Result<Table, String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| unreadable(path, &error))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(format!("table {}: larger than {BYTES_MAX} bytes", path.display()));
    }
    parse(&text).map_err(|(line, message)| match line {
        0 => format!("table {}: {message}", path.display()),
        line => format!("table {}:{line}: {message}", path.display()),
    })
}

/// Parses lines of `start,end,whose`, addresses plain or as numbers, all with or without quotes.
/// An error has the number of its line, or 0.
fn parse(text: &[u8]) -> Result<Table, (usize, String)> {
    super::whole::check_text(text).map_err(|message| (0, message))?;
    let text = text.strip_prefix(super::whole::BYTE_ORDER_MARK).unwrap_or(text);
    let form = Form { separator: Separator::Comma, quotes: true };
    let mut table = Table::default();
    let mut cells: Vec<&[u8]> = Vec::new();
    let mut is_first = true;
    for (line, number) in lines::lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() || matches!(line.first(), Some(b'#' | b';')) {
            continue;
        }
        form.split(line, 3, &mut cells);
        match row(&cells) {
            Some(Row::Of(key, Address::V4(first), Address::V4(last))) if first <= last => {
                table.v4.push((key, first, last));
            }
            Some(Row::Of(key, Address::V6(first), Address::V6(last))) if first <= last => {
                table.v6.push((key, first, last));
            }
            Some(Row::Nobody) => {}
            // A header row.
            None if is_first => {}
            Some(Row::Of(..)) | None => {
                let start: String = String::from_utf8_lossy(line).chars().take(60).collect();
                return Err((number, format!("`{start}` is no `start,end,asn` or `start,end,country`")));
            }
        }
        is_first = false;
        if table.v4.len() + table.v6.len() > RANGES_MAX {
            return Err((number, format!("has more than {RANGES_MAX} ranges")));
        }
    }
    if table.v4.is_empty() && table.v6.is_empty() {
        return Err((0, "has no `start,end,asn` or `start,end,country` line".to_owned()));
    }
    table.v4.sort_unstable();
    table.v6.sort_unstable();
    Ok(table)
}

enum Row {
    Of(Key, Address, Address),
    /// A range of which it is not known whose it is.
    Nobody,
}

fn row(cells: &[&[u8]]) -> Option<Row> {
    let [first, last, whose] = cells else { return None };
    let first = address::address(first)?;
    let last = same_family(first, address::address(last)?);
    if matches!(*whose, b"" | b"-" | b"??" | b"None" | b"0") {
        return Some(Row::Nobody);
    }
    Some(Row::Of(Key::asn(whose).or_else(|| Key::country(whose))?, first, last))
}

/// In tables of IPv6 in numbers, small ones are addresses too: `0` is `::`.
fn same_family(first: Address, last: Address) -> Address {
    match (first, last) {
        (Address::V6(_), Address::V4(bits)) => Address::V6(Ipv6Addr::from_bits(u128::from(bits)).into()),
        _ => last,
    }
}

/// What must hold of any table: its ranges go forward.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(text: &[u8]) {
    if let Ok(table) = parse(text) {
        assert!(table.v4.iter().all(|(_, first, last)| first <= last));
        assert!(table.v6.iter().all(|(_, first, last)| first <= last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_in_all_their_forms() {
        let text = "\u{feff}# a comment\nstart,end,asn\n192.0.2.0,192.0.2.255,64500,\"Example, Inc.\"\n\
                    \"2001:db8::\",\"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\",\"AS64500\"\r\n\
                    3325256704,3325256959,DE\n203.0.113.0,203.0.113.255,??\n";
        let table = parse(text.as_bytes()).unwrap();
        assert_eq!(
            table.v4,
            [(Key::Asn(64500), 0xc000_0200, 0xc000_02ff), (Key::Country(*b"DE"), 0xc633_6400, 0xc633_64ff)]
        );
        assert_eq!(table.v6.len(), 1);
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let error = |text: &str| parse(text.as_bytes()).err().unwrap();
        assert_eq!(error("192.0.2.0,192.0.2.255,64500\nrubbish\n").0, 2);
        assert_eq!(error("192.0.2.0,192.0.2.255,64500\n192.0.2.9,192.0.2.1,64500\n").0, 2);
        assert_eq!(error("192.0.2.0,192.0.2.255,64500\n192.0.2.0,2001:db8::,64500\n").0, 2);
        assert_eq!(error("a,b,c\n").0, 0, "a header is no table");
        assert!(error("<html>").1.contains("HTML"));
    }

    #[test]
    fn files_are_read_when_they_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("asn.csv");
        let paths = [path.clone()];
        let mut tables = Tables::default();
        assert!(tables.refresh(&paths).unwrap_err().contains("asn.csv"));
        fs::write(&path, "192.0.2.0,192.0.2.255,64500\n").unwrap();
        assert_eq!(tables.refresh(&paths), Ok(true));
        assert_eq!(tables.refresh(&paths), Ok(false));
        fs::write(&path, "192.0.2.0,192.0.2.255,64500\nx\n").unwrap();
        let error = tables.refresh(&paths).unwrap_err();
        assert!(error.contains("asn.csv:2: `x`"), "{error}");
        assert_eq!(tables.ranges(Key::Asn(64500)).count(), 1, "what was read stays");
        assert_eq!(tables.refresh(&[]), Ok(true));
        assert_eq!(tables.ranges(Key::Asn(64500)).count(), 0);
    }
}
