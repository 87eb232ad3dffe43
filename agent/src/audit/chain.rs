//! How lines hang together.
//!
//! A line is `{"seq":N,"prev":"HASH",…,"hash":"HASH"}`: its number, the hash of the line before, what
//! it says, and its own hash, the SHA-256 of all of its text in front of `,"hash":`. So whoever has
//! `sha256sum` can check one, and whoever changes one has to change all that follow.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, HEX};

const SEQ: &[u8] = b"{\"seq\":";
const PREV: &[u8] = b",\"prev\":\"";
const AFTER_PREV: &[u8] = b"\",";
const HASH: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
/// Bytes behind what is hashed.
const SEAL: usize = HASH.len() + HEX + END.len();

/// The last line of a chain, and so what the next hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number; 0: there is none yet.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Link {
    /// Adds a line to the chain: `body`, a JSON object, with number and hashes. It ends in a newline.
    pub fn seal(&mut self, body: &str, into: &mut Vec<u8>) {
        let start = into.len();
        let inside = body.strip_prefix('{').and_then(|body| body.strip_suffix('}')).unwrap_or_default();
        self.seq += 1;
        into.extend_from_slice(SEQ);
        into.extend_from_slice(self.seq.to_string().as_bytes());
        into.extend_from_slice(PREV);
        into.extend_from_slice(self.hash.to_string().as_bytes());
        into.extend_from_slice(AFTER_PREV);
        into.extend_from_slice(inside.as_bytes());
        self.hash = Digest::of(into.get(start..).unwrap_or_default());
        into.extend_from_slice(HASH);
        into.extend_from_slice(self.hash.to_string().as_bytes());
        into.extend_from_slice(END);
        into.push(b'\n');
    }
}

/// What a line says of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The line itself.
    pub link: Link,
    /// The hash of the line before.
    pub prev: Digest,
}

/// What is wrong with a line by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is none of ours.
    Malformed,
    /// Its hash is not that of what it says. Its number, where it has one.
    Edited(u64),
}

/// Reads a line, without its newline.
///
/// # Errors
/// [`Flaw`]
pub fn read(line: &[u8]) -> Result<Sealed, Flaw> {
    let (seq, rest) = number(line).ok_or(Flaw::Malformed)?;
    let edited = Flaw::Edited(seq);
    let prev = rest.strip_prefix(PREV).and_then(|rest| Digest::parse(rest.get(..HEX)?)).ok_or(edited)?;
    let (text, seal) = line.len().checked_sub(SEAL).and_then(|at| line.split_at_checked(at)).ok_or(edited)?;
    let hash =
        seal.strip_prefix(HASH).and_then(|seal| Digest::parse(seal.strip_suffix(END)?)).ok_or(edited)?;
    if Digest::of(text) != hash {
        return Err(edited);
    }
    Ok(Sealed { link: Link { seq, hash }, prev })
}

/// Returns the number of a line, and what follows; whatever the rest is worth.
fn number(line: &[u8]) -> Option<(u64, &[u8])> {
    let rest = line.strip_prefix(SEQ)?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let (number, rest) = rest.split_at(digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// Returns the number that a line claims to have.
#[must_use]
pub fn claims(line: &[u8]) -> Option<u64> {
    Some(number(line)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (Vec<u8>, Vec<u8>) {
        let (mut link, mut text) = (Link::default(), Vec::new());
        link.seal(r#"{"message":"one"}"#, &mut text);
        link.seal(r#"{"message":"two"}"#, &mut text);
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        (lines.next().unwrap(), lines.next().unwrap())
    }

    #[test]
    fn a_line_names_the_one_before() {
        let (one, two) = two();
        let (first, second) = (read(&one).unwrap(), read(&two).unwrap());
        assert_eq!((first.link.seq, first.prev), (1, Digest::default()));
        assert_eq!((second.link.seq, second.prev), (2, first.link.hash));
        let json: serde_json::Value = serde_json::from_slice(&two).unwrap();
        assert_eq!(json["prev"], first.link.hash.to_string());
        assert_eq!(json["message"], "two");
    }

    #[test]
    fn every_byte_counts() {
        let (_, line) = two();
        for at in 0..line.len() {
            for other in [line[at] ^ 1, b'0', b'A'] {
                let mut changed = line.clone();
                changed[at] = other;
                assert!(changed == line || read(&changed).is_err(), "byte {at} as {other}");
            }
            assert!(read(&line[..at]).is_err());
        }
    }
}
