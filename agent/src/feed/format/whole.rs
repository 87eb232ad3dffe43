/// Which UTF-8 needs not, but Windows writes.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Lines of a header in which a declared count may stand.
const HEADER_LINES: usize = 100;

/// Starts of texts that are no list, and what they are.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\xff\xfe", "is UTF-16; publish UTF-8"),
    (b"\xfe\xff", "is UTF-16; publish UTF-8"),
    (b"\x1f\x8b", "is compressed with gzip under a name that does not say so; name it .gz, or unpack it"),
    (
        b"\x28\xb5\x2f\xfd",
        "is compressed with zstd under a name that does not say so; name it .zst, or unpack it",
    ),
    (b"PK\x03\x04", "is a zip archive under a name that does not say so; name it .zip, or unpack it"),
    (b"%PDF-", "is a PDF, not a list"),
];
/// Starts of pages, without regard to case.
const PAGES: &[&[u8]] =
    &[b"<!doctype", b"<html", b"<head", b"<body", b"<!--", b"<?xml", b"<script", b"<title"];

/// Refuses what is no text, and pages that a server sends instead of a list.
pub(super) fn check_text(text: &[u8]) -> Result<(), String> {
    if let Some((_, what)) = FOREIGN.iter().find(|(start, _)| text.starts_with(start)) {
        return Err((*what).to_owned());
    }
    // UTF-16 without a mark: every other byte of ASCII is zero.
    let start = text.get(..64).unwrap_or(text);
    let zeros = memchr::memchr_iter(0, start).count();
    if zeros > 0 {
        let what = if zeros * 3 >= start.len() { "is UTF-16" } else { "is no text" };
        return Err(format!("{what}; publish UTF-8"));
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start();
    let is_start =
        |page: &&[u8]| text.get(..page.len()).is_some_and(|start| start.eq_ignore_ascii_case(page));
    match PAGES.iter().find(|page| is_start(page)) {
        Some(page) if page.starts_with(b"<?") => Err("is an XML document, not a list".to_owned()),
        Some(_) => Err("is an HTML page, not a list; look at the URL in a browser".to_owned()),
        None => Ok(()),
    }
}

/// Returns true if the text is a JSON object, or several.
pub(super) fn is_json(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// Refuses JSON where lines are expected: a server's words on what it did not like, mostly.
pub(super) fn check_lines(text: &[u8]) -> Result<(), String> {
    if !is_json(text) {
        return Ok(());
    }
    let start: String = String::from_utf8_lossy(text.get(..60).unwrap_or(text)).trim().into();
    Err(format!(
        "is JSON, and its format reads lines: `{start}`; use format json or json-lines if it is the list"
    ))
}

/// Returns the count of entries that a text declares: FireHOL's `# Entries : 6273 subnets, …` and
/// abuse.ch's `# Number of entries: 7` in front, abuse.ch's `# END (1487 entries)` behind.
pub(super) fn declared(text: &[u8]) -> Option<usize> {
    let lines = super::lines::lines(text).map(|(line, _)| line.trim_ascii()).take(HEADER_LINES);
    let mut comments = lines.take_while(|line| line.is_empty() || line.starts_with(b"#"));
    if let Some(count) = comments.find_map(|line| count_behind(line, &["entries", "number of entries"])) {
        return Some(count);
    }
    let text = text.trim_ascii_end();
    let last = memchr::memrchr(b'\n', text).map_or(text, |at| text.get(at + 1..).unwrap_or_default());
    let last = last.strip_prefix(b"# END (")?;
    number(last).filter(|(_, rest)| rest.starts_with(b" entries")).map(|(count, _)| count)
}

/// Returns the number in `# name : number …`.
fn count_behind(comment: &[u8], names: &[&str]) -> Option<usize> {
    let comment = comment.strip_prefix(b"#")?;
    let colon = comment.iter().position(|byte| *byte == b':')?;
    let (name, value) = (comment.get(..colon)?.trim_ascii(), comment.get(colon + 1..)?.trim_ascii_start());
    let is_named = names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    is_named.then(|| number(value)).flatten().map(|(count, _)| count)
}

fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let digits = std::str::from_utf8(text.get(..end)?).ok()?;
    Some((digits.parse().ok()?, text.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_told() {
        let refusal = |text: &[u8]| check_text(text).unwrap_err();
        assert!(refusal(b"\xff\xfe1\0.\0").contains("UTF-16"));
        assert!(refusal(b"1\x009\x002\0.\x000\0\n\0").contains("publish UTF-8"));
        assert!(refusal(b"\n <!DOCTYPE html><p>busy").contains("HTML"));
        assert!(refusal(b"\xef\xbb\xbf<HTML>").contains("HTML"));
        assert!(refusal(b"<?xml version='1.0'?><Error/>").contains("XML"));
        assert!(refusal(b"\x1f\x8b\x08").contains("gzip"));
        assert!(refusal(b"\x7fELF\x02\x01\x01\0").contains("no text"));
        for text in [&b""[..], b"192.0.2.1", b"\xef\xbb\xbf192.0.2.1", b"{}", b"# <html>"] {
            assert_eq!(check_text(text), Ok(()));
        }
        assert!(check_lines(b" {\"error\": \"slow down\"}").unwrap_err().contains("slow down"));
        assert_eq!(check_lines(b"[2001:db8::1]:443"), Ok(()));
    }

    #[test]
    fn declared_counts_are_found() {
        let firehol = b"#\n# firehol_level1\n#\n# Entries         : 6273 subnets, 680864624 unique IPs\n#\n192.0.2.0/24\n";
        assert_eq!(declared(firehol), Some(6273));
        assert_eq!(declared(b"# Number of entries: 7\r\n192.0.2.1\r\n"), Some(7));
        assert_eq!(declared(b"192.0.2.1\n# END (1487 entries)\n"), Some(1487));
        for none in
            [&b""[..], b"192.0.2.1\n# Entries : 5\n", b"# Entries: many\n", b"# END (x entries)", b"#"]
        {
            assert_eq!(declared(none), None);
        }
    }
}
