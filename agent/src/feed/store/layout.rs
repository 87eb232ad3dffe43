//! What is in the file of a last good list, all numbers little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `weirlist` |
//! | 8 | 4 | version of this layout |
//! | 12 | 12 | when it was confirmed: seconds since 1970 (8), nanoseconds (4) |
//! | 24 | 4 | size of the JSON in front |
//! | 28 | 16 | entries (4 each): IPv4, IPv6, throttled IPv4, throttled IPv6 |
//! | 44 | 8 | size of the JSON of entries that end by themselves; 0: the list has none |
//! | 52 | 4 | CRC-32 of all from offset 64 |
//! | 56 | 4 | CRC-32 of the JSON in front |
//! | 60 | 4 | CRC-32 of the 60 bytes before |
//! | 64 | | JSON of what the list depends on and what its server is asked with; entries in that order, IPv4 in 5 bytes (network, length), IPv6 in 17 (upper half, lower half, length); JSON |

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    time::{Duration, SystemTime},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use weir_common::addr::{Address, V6, network_v4};

use super::{Content, Overlap, Validators};
use crate::feed::{Entries, Listing, ledger::Ledger};

const MAGIC: &[u8; 8] = b"weirlist";
const VERSION: u32 = 1;
/// Size of the head.
pub(super) const HEADER: usize = 64;
const V4: usize = 5;
const V6_SIZE: usize = 17;
/// So much is read or written at once: a multiple of both sizes of entries.
pub(super) const PIECE: usize = V4 * V6_SIZE * 1024;
/// The JSON in front is not larger.
const META_MAX: usize = 16 << 20;

/// Why a file cannot be believed.
#[derive(Debug)]
pub(super) enum Damage {
    Foreign,
    Version(u32),
    Header,
    Size { want: u64, have: u64 },
    Checksum,
    Content(String),
    Io(io::Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("is no list of weir"),
            Self::Version(version) => {
                write!(f, "is of version {version}, and this weir knows {VERSION} only")
            }
            Self::Header => f.write_str("is damaged in its head (checksum)"),
            Self::Size { want, have } => write!(f, "is cut off: has {have} of {want} bytes"),
            Self::Checksum => f.write_str("is damaged (checksum)"),
            Self::Content(what) => write!(f, "is damaged: {what}"),
            Self::Io(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a list depends on, and what its server is asked with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) basis: String,
    pub(super) validators: Validators,
}

/// The head of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    seconds: u64,
    nanoseconds: u32,
    meta: u32,
    /// IPv4, IPv6, throttled IPv4, throttled IPv6.
    counts: [u32; 4],
    ledger: u64,
    checksum: u32,
    meta_checksum: u32,
}

impl Header {
    /// Returns it with another time.
    pub(super) fn at(self, confirmed: SystemTime) -> Self {
        let since = confirmed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs(), nanoseconds: since.subsec_nanos(), ..self }
    }

    pub(super) fn confirmed(&self) -> SystemTime {
        let since =
            Duration::from_secs(self.seconds).saturating_add(Duration::from_nanos(self.nanoseconds.into()));
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now)
    }

    /// Returns true if only their times differ.
    pub(super) fn same_body(&self, other: &Self) -> bool {
        *self == Self { seconds: self.seconds, nanoseconds: self.nanoseconds, ..other.clone() }
    }

    pub(super) fn file_size(&self) -> u64 {
        let [v4, v6, throttled_v4, throttled_v6] = self.counts.map(u64::from);
        let entries = (v4 + throttled_v4) * V4 as u64 + (v6 + throttled_v6) * V6_SIZE as u64;
        (HEADER as u64 + u64::from(self.meta) + entries).saturating_add(self.ledger)
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.seconds.to_le_bytes());
        bytes.extend_from_slice(&self.nanoseconds.to_le_bytes());
        bytes.extend_from_slice(&self.meta.to_le_bytes());
        self.counts.iter().for_each(|count| bytes.extend_from_slice(&count.to_le_bytes()));
        bytes.extend_from_slice(&self.ledger.to_le_bytes());
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        bytes.extend_from_slice(&self.meta_checksum.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().unwrap_or([0; HEADER])
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self, Damage> {
        let mut rest = Numbers(bytes);
        if rest.take::<8>() != *MAGIC {
            return Err(Damage::Foreign);
        }
        let version = rest.u32();
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        let (seconds, nanoseconds, meta) = (rest.u64(), rest.u32(), rest.u32());
        let counts = [rest.u32(), rest.u32(), rest.u32(), rest.u32()];
        let (ledger, checksum, meta_checksum) = (rest.u64(), rest.u32(), rest.u32());
        let (front, _) = bytes.split_at(HEADER - 4);
        if rest.u32() != crc32fast::hash(front) {
            return Err(Damage::Header);
        }
        Ok(Self { seconds, nanoseconds, meta, counts, ledger, checksum, meta_checksum })
    }
}

/// Numbers one after the other; zeros where they end too early.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_at_checked(N).unwrap_or((&[], &[]));
        self.0 = rest;
        first.try_into().unwrap_or([0; N])
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// All of a file behind its head, to be written.
pub(super) struct Body {
    meta: Vec<u8>,
    listing: Listing,
    ledger: Vec<u8>,
}

impl Body {
    pub(super) fn new(meta: &Meta, content: &Content) -> io::Result<Self> {
        let meta = serde_json::to_vec(meta)?;
        let body = match content {
            Content::Listing(listing) => Self { meta, listing: listing.clone(), ledger: Vec::new() },
            Content::Ledger(ledger) => {
                Self { meta, listing: ledger.listing(), ledger: serde_json::to_vec(ledger)? }
            }
        };
        let Listing { entries, throttled } = &body.listing;
        let lengths = [entries.v4.len(), entries.v6.len(), throttled.v4.len(), throttled.v6.len()];
        if body.meta.len() > META_MAX || lengths.iter().any(|length| u32::try_from(*length).is_err()) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "has too much in it"));
        }
        Ok(body)
    }

    pub(super) fn header(&self, confirmed: SystemTime) -> Header {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let Listing { entries, throttled } = &self.listing;
        let counts = [entries.v4.len(), entries.v6.len(), throttled.v4.len(), throttled.v6.len()].map(count);
        let mut checksum = crc32fast::Hasher::new();
        // Nothing is written here that could fail.
        _ = self.write(&mut |piece| {
            checksum.update(piece);
            Ok(())
        });
        let (meta, ledger) = (count(self.meta.len()), self.ledger.len() as u64);
        let (checksum, meta_checksum) = (checksum.finalize(), crc32fast::hash(&self.meta));
        let header = Header { seconds: 0, nanoseconds: 0, meta, counts, ledger, checksum, meta_checksum };
        header.at(confirmed)
    }

    /// Writes it piece by piece: a second copy of a long list would be large.
    pub(super) fn write(&self, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        to(&self.meta)?;
        let mut piece = Vec::with_capacity(PIECE);
        for entries in [&self.listing.entries, &self.listing.throttled] {
            for some in entries.v4.chunks(PIECE / V4) {
                piece.clear();
                for (network, length) in some {
                    piece.extend_from_slice(&network.to_le_bytes());
                    piece.push(*length);
                }
                to(&piece)?;
            }
            for some in entries.v6.chunks(PIECE / V6_SIZE) {
                piece.clear();
                for (network, length) in some {
                    piece.extend_from_slice(&network.high.to_le_bytes());
                    piece.extend_from_slice(&network.low.to_le_bytes());
                    piece.push(*length);
                }
                to(&piece)?;
            }
        }
        to(&self.ledger)
    }
}

/// Reads a file; nothing where its list depends on something else than `basis`.
pub(super) fn read(mut file: File, basis: &str) -> Result<Option<(Header, Meta, Content)>, Damage> {
    let header = head(&mut file)?;
    let mut pieces = Pieces { file, checksum: crc32fast::Hasher::new() };
    let meta = pieces.bytes(u64::from(header.meta))?;
    // What the rest is depends on it.
    if crc32fast::hash(&meta) != header.meta_checksum {
        return Err(Damage::Checksum);
    }
    let meta: Meta = match serde_json::from_slice(&meta) {
        Ok(meta) => meta,
        Err(error) => return Err(Damage::Content(error.to_string())),
    };
    if meta.basis != basis {
        return Ok(None);
    }
    let [v4, v6, throttled_v4, throttled_v6] = header.counts;
    let entries = Entries { v4: pieces.v4(v4)?, v6: pieces.v6(v6)? };
    let throttled = Entries { v4: pieces.v4(throttled_v4)?, v6: pieces.v6(throttled_v6)? };
    let ledger = pieces.bytes(header.ledger)?;
    if pieces.checksum.finalize() != header.checksum {
        return Err(Damage::Checksum);
    }
    let content = if ledger.is_empty() {
        Content::Listing(Listing { entries: entries.into(), throttled: throttled.into() })
    } else {
        let ledger = serde_json::from_slice(&ledger);
        Content::Ledger(ledger.map_err(|error| Damage::Content(error.to_string()))?)
    };
    Ok(Some((header, meta, content)))
}

/// Returns what the list has in common with a prefix. Damage behind the head is not noticed.
pub(super) fn overlap(mut file: File, prefix: IpNet) -> Result<Overlap, Damage> {
    let header = head(&mut file)?;
    let mut pieces = Pieces { file, checksum: crc32fast::Hasher::new() };
    pieces.bytes(u64::from(header.meta))?;
    let mut found = Overlap::default();
    let (address, bits) = (Address::from(prefix.network()), prefix.prefix_len());
    for [v4, v6] in
        [[0, 1], [2, 3]].map(|pair| pair.map(|at: usize| header.counts.get(at).copied().unwrap_or(0)))
    {
        pieces.each_v4(v4, |network, length| {
            // A length that none has is damage, which is told once the list is read.
            let (Address::V4(wanted), 0..=32) = (address, length) else { return };
            if length <= bits && network_v4(wanted, length.into()) == network {
                found.around.extend(Ipv4Net::new(network.into(), length).map(IpNet::V4));
            }
            found.inside += u64::from(length > bits && network_v4(network, bits.into()) == wanted);
        })?;
        pieces.each_v6(v6, |network, length| {
            let (Address::V6(wanted), 0..=128) = (address, length) else { return };
            if length <= bits && wanted.network(length.into()) == network {
                found.around.extend(Ipv6Net::new(network.into(), length).map(IpNet::V6));
            }
            found.inside += u64::from(length > bits && network.network(bits.into()) == wanted);
        })?;
    }
    Ok(found)
}

/// Reads the entries that end by themselves. Nothing where the list has none.
pub(super) fn ledger(mut file: File) -> Result<Option<Ledger>, Damage> {
    let header = head(&mut file)?;
    if header.ledger == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(header.file_size() - header.ledger))?;
    let mut pieces = Pieces { file, checksum: crc32fast::Hasher::new() };
    let ledger = serde_json::from_slice(&pieces.bytes(header.ledger)?);
    ledger.map(Some).map_err(|error| Damage::Content(error.to_string()))
}

/// Reads the head, and compares what it says with the size of the file: it says how much memory is
/// taken for the list.
fn head(file: &mut File) -> Result<Header, Damage> {
    let mut bytes = [0; HEADER];
    let have = file.metadata()?.len();
    if have < HEADER as u64 {
        return Err(Damage::Size { want: HEADER as u64, have });
    }
    file.read_exact(&mut bytes)?;
    let header = Header::decode(&bytes)?;
    match header.file_size() {
        want if want == have => Ok(header),
        want => Err(Damage::Size { want, have }),
    }
}

/// A file, piece by piece.
struct Pieces {
    file: File,
    checksum: crc32fast::Hasher,
}

impl Pieces {
    fn bytes(&mut self, size: u64) -> Result<Vec<u8>, Damage> {
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact(&mut bytes)?;
        self.checksum.update(&bytes);
        Ok(bytes)
    }

    fn v4(&mut self, count: u32) -> Result<Vec<(u32, u8)>, Damage> {
        let mut entries = Vec::with_capacity(count as usize);
        self.each_v4(count, |network, length| entries.push((network, length)))?;
        Ok(entries)
    }

    fn v6(&mut self, count: u32) -> Result<Vec<(V6, u8)>, Damage> {
        let mut entries = Vec::with_capacity(count as usize);
        self.each_v6(count, |network, length| entries.push((network, length)))?;
        Ok(entries)
    }

    fn each_v4(&mut self, count: u32, mut take: impl FnMut(u32, u8)) -> Result<(), Damage> {
        self.each::<V4>(count, |&[a, b, c, d, length]| {
            take(u32::from_le_bytes([a, b, c, d]), length);
            length <= 32
        })
    }

    fn each_v6(&mut self, count: u32, mut take: impl FnMut(V6, u8)) -> Result<(), Damage> {
        self.each::<V6_SIZE>(count, |entry| {
            let mut rest = Numbers(entry);
            let network = V6 { high: rest.u64(), low: rest.u64() };
            let [length] = rest.take();
            take(network, length);
            length <= 128
        })
    }

    /// Reads entries of `N` bytes. `take` returns false where one cannot be.
    fn each<const N: usize>(
        &mut self,
        count: u32,
        mut take: impl FnMut(&[u8; N]) -> bool,
    ) -> Result<(), Damage> {
        let mut left = count as usize * N;
        let mut piece = vec![0; left.min(PIECE)];
        while left > 0 {
            piece.truncate(left);
            self.file.read_exact(&mut piece)?;
            self.checksum.update(&piece);
            let (entries, _) = piece.as_chunks::<N>();
            // All are looked at, so that the loop has no branch that depends on one.
            if !entries.iter().fold(true, |fine, entry| take(entry) & fine) {
                return Err(Damage::Content("has a prefix of a length that none has".to_owned()));
            }
            left -= piece.len();
        }
        Ok(())
    }
}

/// What is fuzzed of it.
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use fuzz::fuzz;
