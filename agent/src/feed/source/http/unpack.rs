//! From what comes over the wire to a text: gzip and zstd as the server packs it, and lists that are
//! themselves `.gz`, `.zst` or `.zip`. Nothing unpacks beyond its cap, or far beyond what lists do.

use std::io::{self, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use url::Url;
use zip::ZipArchive;

use super::Reply;

/// A text grows so many times when it is unpacked, and no more.
const RATIO_MAX: u64 = 100;
/// Up to here it may grow as it likes.
const RATIO_FREE: u64 = 1 << 20;
/// Files that an archive may have.
const MEMBERS_MAX: usize = 64;
/// Encodings that may be laid over one another.
const ENCODINGS_MAX: usize = 2;
/// RFC 9659: what a client must be able to unpack is at most 8 MiB wide.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ZIP: &[u8] = b"PK\x03\x04";
const ZIP_EMPTY: &[u8] = b"PK\x05\x06";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Zstd,
    Zip,
}

impl Coding {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            _ if bytes.starts_with(GZIP) => Some(Self::Gzip),
            _ if bytes.starts_with(ZSTD) => Some(Self::Zstd),
            _ if bytes.starts_with(ZIP) || bytes.starts_with(ZIP_EMPTY) => Some(Self::Zip),
            _ => None,
        }
    }
}

/// How an answer is packed, as it says.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    /// `Content-Encoding`, in the order in which they were laid on.
    encodings: Vec<Coding>,
    /// What the list itself is, by its name or `Content-Type`.
    announced: Option<Coding>,
}

/// Why it cannot be unpacked: the cause in a word, and in words.
type Failure = (&'static str, String);

impl Packing {
    pub(super) fn of(reply: &Reply, url: &Url) -> Result<Self, String> {
        let names = reply.headers.iter().filter(|(name, _)| name == "content-encoding");
        let names = names.flat_map(|(_, value)| value.split(','));
        let mut encodings = Vec::new();
        for name in names.map(|name| name.trim().to_ascii_lowercase()) {
            match name.as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => encodings.push(Coding::Gzip),
                "zstd" => encodings.push(Coding::Zstd),
                _ => {
                    return Err(format!(
                        "is encoded in `{name}`, which was not asked for; only gzip and zstd are"
                    ));
                }
            }
        }
        if encodings.len() > ENCODINGS_MAX {
            return Err(format!("is encoded {} times over", encodings.len()));
        }
        Ok(Self { encodings, announced: announced(reply, url) })
    }

    /// Returns true if there is nothing to do.
    pub(super) fn is_plain(&self, body: &[u8]) -> bool {
        self.encodings.is_empty() && self.announced.is_none() && Coding::of_bytes(body).is_none()
    }

    /// Unpacks an answer to at most `cap` bytes.
    pub(super) fn unpack(&self, mut body: Vec<u8>, cap: u64) -> Result<Vec<u8>, Failure> {
        for coding in self.encodings.iter().rev() {
            body = unpack(*coding, &body, cap, "its body")?;
        }
        match (Coding::of_bytes(&body), self.announced) {
            (Some(coding), _) => unpack(coding, &body, cap, "the list"),
            // Some servers call a `.gz` file an encoded one; then that was it.
            (None, Some(announced)) if self.encodings.is_empty() => {
                Err(("encoding", format!("is called {0}, but is not {0}", announced.as_str())))
            }
            (None, Some(_) | None) => Ok(body),
        }
    }
}

fn announced(reply: &Reply, url: &Url) -> Option<Coding> {
    let kind = reply.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = url.path().rsplit('/').next().unwrap_or_default();
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
    match (kind.as_str(), suffix.as_deref()) {
        ("application/gzip" | "application/x-gzip", _) | (_, Some("gz")) => Some(Coding::Gzip),
        ("application/zip" | "application/x-zip-compressed", _) | (_, Some("zip")) => Some(Coding::Zip),
        ("application/zstd", _) | (_, Some("zst")) => Some(Coding::Zstd),
        (_, _) => None,
    }
}

fn unpack(coding: Coding, packed: &[u8], cap: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let broken = |error: io::Error| {
        let name = coding.as_str();
        ("encoding", format!("{what} is no whole {name}: {error}; it is asked again later"))
    };
    let mut text = Text { bytes: Vec::new(), cap, packed: packed.len() as u64 };
    match coding {
        Coding::Gzip => text.read(MultiGzDecoder::new(packed), &broken)?,
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(packed).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            text.read(decoder, &broken)?;
        }
        Coding::Zip => archive(packed, &mut text, &broken)?,
    }
    Ok(text.bytes)
}

/// Reads all files of an archive as one text. Their names do not matter: nothing is written.
fn archive(packed: &[u8], text: &mut Text, broken: &dyn Fn(io::Error) -> Failure) -> Result<(), Failure> {
    let refused = |error: zip::result::ZipError| broken(io::Error::other(error.to_string()));
    let mut archive = ZipArchive::new(Cursor::new(packed)).map_err(refused)?;
    if archive.len() > MEMBERS_MAX {
        return Err(("size", format!("has {} files in its archive, more than {MEMBERS_MAX}", archive.len())));
    }
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(refused)?;
        if member.is_dir() {
            continue;
        }
        text.read(member, broken)?;
        if text.bytes.last().is_some_and(|byte| *byte != b'\n') {
            text.bytes.push(b'\n');
        }
    }
    Ok(())
}

/// A text as it is unpacked.
struct Text {
    bytes: Vec<u8>,
    cap: u64,
    packed: u64,
}

impl Text {
    fn read(&mut self, mut from: impl Read, broken: &dyn Fn(io::Error) -> Failure) -> Result<(), Failure> {
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            };
            self.bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
            let size = self.bytes.len() as u64;
            if size > RATIO_FREE && size > self.packed.saturating_mul(RATIO_MAX) {
                let message = format!("unpacks to more than {RATIO_MAX} times its size, as no list does");
                return Err(("ratio", message));
            }
            if size > self.cap {
                return Err(("size", format!("unpacks to more than {} bytes; see guards.bytes", self.cap)));
            }
        }
    }
}

/// Any body, packed in whatever way: it never becomes larger than is allowed.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    const CAP: u64 = 1 << 20;
    let Some((kinds, body)) = input.split_first() else { return };
    let kind = |bits: u8| match bits & 3 {
        0 => None,
        1 => Some(Coding::Gzip),
        2 => Some(Coding::Zip),
        _ => Some(Coding::Zstd),
    };
    let encodings = [kind(*kinds), kind(kinds >> 2)].into_iter().flatten().collect();
    let packing = Packing { encodings, announced: kind(kinds >> 4) };
    if let Ok(text) = packing.unpack(body.to_vec(), CAP) {
        assert!(text.len() as u64 <= CAP.max(body.len() as u64), "{} bytes", text.len());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in members {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(*name, options.compression_method(zip::CompressionMethod::Deflated)).unwrap();
            writer.write_all(text).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn packing(path: &str, headers: &[(&str, &str)]) -> Result<Packing, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let reply = Reply { status: 200, headers: headers.iter().map(own).collect(), body: Vec::new() };
        Packing::of(&reply, &Url::parse(&format!("https://lists.example/{path}?a=b.gz")).unwrap())
    }

    fn unpacked(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>, Failure> {
        packing(path, headers).map_err(|message| ("encoding", message))?.unpack(body.to_vec(), 4 << 20)
    }

    const LIST: &[u8] = b"192.0.2.1\n198.51.100.0/24\n";

    #[test]
    fn every_packing_gives_the_list() {
        let twice = [gzip(b"192.0.2.1\n"), gzip(b"198.51.100.0/24\n")].concat();
        let zstd = zstd::encode_all(LIST, 3).unwrap();
        for (name, path, headers, body) in [
            ("plain", "list.txt", &[][..], LIST.to_vec()),
            ("gzip", "list.txt", &[("content-encoding", "gzip")], gzip(LIST)),
            ("gzip in two members", "list.txt", &[("content-encoding", "x-gzip")], twice),
            ("zstd", "list.txt", &[("content-encoding", "zstd")], zstd.clone()),
            ("both", "list.txt", &[("content-encoding", "zstd, gzip")], gzip(&zstd)),
            (".gz", "list.gz", &[], gzip(LIST)),
            (".gz, encoded by itself", "list.gz", &[("content-encoding", "gzip")], gzip(LIST)),
            (".gz, encoded once more", "list.gz", &[("content-encoding", "gzip")], gzip(&gzip(LIST))),
            ("gzip by type", "list", &[("content-type", "application/x-gzip")], gzip(LIST)),
            ("gzip by its bytes", "list", &[], gzip(LIST)),
            (".zst", "list.zst", &[], zstd),
            (".zip", "list.zip", &[], zip(&[("list.txt", LIST)])),
            (
                ".zip of two, with paths",
                "list",
                &[],
                zip(&[("../../etc/a", b"192.0.2.1"), ("/b", b"198.51.100.0/24\n")]),
            ),
        ] {
            let text = unpacked(path, headers, &body).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(text, LIST, "{name}");
        }
        assert!(packing("list.txt", &[]).unwrap().is_plain(LIST));
        assert!(!packing("list.txt", &[]).unwrap().is_plain(&gzip(LIST)));
    }

    #[test]
    fn what_is_not_as_it_says_is_refused() {
        let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
        let long: Vec<u8> = (0..20_000).flat_map(|i| format!("192.0.2.{i}\n").into_bytes()).collect();
        for (name, path, headers, body) in [
            ("not gzip", "list.txt", &[("content-encoding", "gzip")][..], LIST.to_vec()),
            ("not zstd", "list.txt", &[("content-encoding", "zstd")], gzip(LIST)),
            ("half a gzip", "list.txt", &[("content-encoding", "gzip")], half(gzip(&long))),
            ("a gzip without its end", "list.gz", &[], gzip(LIST)[..gzip(LIST).len() - 4].to_vec()),
            (
                "half a zstd",
                "list",
                &[("content-encoding", "zstd")],
                half(zstd::encode_all(&long[..], 3).unwrap()),
            ),
            ("half a zip", "list.zip", &[], half(zip(&[("a", &long)]))),
            ("no zip", "list.zip", &[], LIST.to_vec()),
            ("no gz", "list.gz", &[], LIST.to_vec()),
            ("deflate", "list", &[("content-encoding", "deflate")], LIST.to_vec()),
            ("br", "list", &[("content-encoding", "br")], LIST.to_vec()),
            ("thrice", "list", &[("content-encoding", "gzip, gzip, gzip")], LIST.to_vec()),
        ] {
            let error = unpacked(path, headers, &body).expect_err(name);
            assert_eq!(error.0, "encoding", "{name}: {error:?}");
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let zeros = vec![0; 64 << 20];
        for bomb in [gzip(&zeros), zstd::encode_all(&zeros[..], 3).unwrap(), zip(&[("a", &zeros)])] {
            let error = packing("list", &[]).unwrap().unpack(bomb, 256 << 20).unwrap_err();
            assert_eq!(error.0, "ratio", "{error:?}");
        }
        // One that lists could be, but too large.
        let large: Vec<u8> = (0..600_000).flat_map(|i| format!("2001:db8::{i:x}\n").into_bytes()).collect();
        assert_eq!(unpacked("list", &[], &gzip(&large)).unwrap_err().0, "size");
        let many: Vec<(String, &[u8])> = (0..100).map(|i| (i.to_string(), LIST)).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        assert_eq!(unpacked("list.zip", &[], &zip(&many)).unwrap_err().0, "size");
    }
}
