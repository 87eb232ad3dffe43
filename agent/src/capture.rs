//! Captures: pcap and pcapng, from a file or a pipe, packet by packet, in constant memory.
//!
//! pcap: draft-ietf-opsawg-pcap; pcapng: draft-ietf-opsawg-pcapng. The crate pcap-parser reads records
//! and blocks. What it takes differently from the drafts (binary resolutions, offsets of big-endian
//! files) or leaves to others (simple and obsolete packet blocks, bounds) is here.

/// From where the bytes come: a file or a pipe, compressed or not.
mod input;
/// Kinds of links, and the Ethernet frame that a packet of each would have been.
mod link;
/// Blocks of pcapng.
mod block;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pcap_parser::{
    LegacyPcapBlock, PcapBlockOwned, PcapError, PcapHeader, create_reader, traits::PcapReaderIterator,
};

use self::{block::Section, input::Progress};
pub use self::{
    input::Compression,
    link::{Captured, Framed, Link},
};

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 20;
/// The longest record or block that is read, in bytes. tcpdump cuts packets at 256 KiB.
const RECORD_MAX: usize = 16 << 20;
/// Packets of a pcap file are no longer than this, or than its header says: libpcap's own bound.
const SNAPLEN_MAX: u32 = 256 << 10;
const NANOSECONDS: u64 = 1_000_000_000;

/// A capture that is being read.
pub struct Capture {
    name: PathBuf,
    reader: Box<dyn PcapReaderIterator + Send>,
    progress: Arc<Progress>,
    capacity: usize,
    compression: Compression,
    form: Form,
    /// Packets so far.
    packets: u64,
    /// Blocks of pcapng so far that hold no packet and are not understood.
    skipped: u64,
}

/// What is known of a file by what stands in it.
enum Form {
    Pcap(Pcap),
    Pcapng(Section),
}

/// What the header of a pcap file says of its packets.
#[derive(Clone, Copy, Debug)]
struct Pcap {
    link: Link,
    /// Fractions of a second that a timestamp counts.
    fractions: u32,
    longest: u32,
    big_endian: bool,
}

/// A packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'p> {
    /// When it was captured, in nanoseconds since 1970. Nothing where the file does not say.
    pub time: Option<u64>,
    /// How it begins.
    pub link: Link,
    /// Its bytes, as many as were captured.
    pub bytes: &'p [u8],
    /// How many it had, at least as many.
    pub original: u32,
    /// The host that captured it has sent it, as far as the file says so.
    pub sent: bool,
}

/// Why a file is no capture that can be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is something else.
    #[error("{}: {message}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        message: String,
    },
}

/// Where a capture breaks off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{}: packet {packet}, byte {offset}: {message}", file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The number of the packet that cannot be read, from 1.
    pub packet: u64,
    /// How many bytes stand before it; of a compressed file, uncompressed ones.
    pub offset: u64,
    /// What is wrong.
    pub message: String,
}

impl Capture {
    /// Opens a capture; `-` is standard input. Files of gzip and zstd are uncompressed on the way.
    ///
    /// # Errors
    /// [`CaptureError`] where it cannot be read, or is no capture.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let unreadable = |error| CaptureError::Unreadable { path: path.to_owned(), error };
        let (input, compression, progress) = input::open(path).map_err(unreadable)?;
        Self::of(path, input, compression, progress)
    }

    /// Reads a capture from any source of bytes; `name` is for messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_reader(name: &Path, reader: impl io::Read + Send + 'static) -> Result<Self, CaptureError> {
        let unreadable = |error| CaptureError::Unreadable { path: name.to_owned(), error };
        let (input, compression, progress) = input::from(reader, None).map_err(unreadable)?;
        Self::of(name, input, compression, progress)
    }

    fn of(
        name: &Path,
        input: input::Input,
        compression: Compression,
        progress: Arc<Progress>,
    ) -> Result<Self, CaptureError> {
        let unknown =
            |message: &str| CaptureError::Unknown { path: name.to_owned(), message: message.to_owned() };
        let reader = create_reader(BUFFER, input).map_err(|error| match (error, progress.take_error()) {
            (_, Some(error)) => CaptureError::Unreadable { path: name.to_owned(), error },
            (PcapError::Eof, None) => unknown("is empty"),
            (PcapError::Incomplete(_), None) => unknown("is shorter than the header of a capture"),
            (_, None) => unknown("is no capture: give a pcap or pcapng file, as tcpdump -w writes it"),
        })?;
        let form = Form::Pcapng(Section::default());
        let name = name.to_owned();
        Ok(Self { name, reader, progress, capacity: BUFFER, compression, form, packets: 0, skipped: 0 })
    }

    /// Returns how many bytes of the file have been read, and how many it has, where that is known.
    #[must_use]
    pub fn progress(&self) -> (u64, Option<u64>) {
        self.progress.get()
    }

    /// Returns how the file is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Returns what kind of file it is, once something of it was read: `pcap` or `pcapng`.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match self.form {
            Form::Pcap(_) => "pcap",
            Form::Pcapng(_) => "pcapng",
        }
    }

    /// Returns how many blocks of pcapng were of unknown kinds, and so left out.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Hands out packets, at most `most` of them. Returns false at the end of the file.
    ///
    /// # Errors
    /// [`Damage`] where the file breaks off. What was handed out before is right; there is no more.
    pub fn read(&mut self, most: u64, mut take: impl FnMut(&Packet<'_>)) -> Result<bool, Damage> {
        let until = self.packets.saturating_add(most);
        while self.packets < until {
            let Self { reader, form, packets, skipped, .. } = self;
            let length = match reader.next() {
                Ok((length, block)) => {
                    let taken = form.take(&block, packets, skipped, &mut take);
                    drop(block);
                    match taken {
                        Ok(()) => length,
                        Err(message) => return Err(self.damage(&message)),
                    }
                }
                Err(PcapError::Eof) => return Ok(false),
                Err(PcapError::Incomplete(_)) => {
                    self.refill()?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    self.grow()?;
                    continue;
                }
                Err(PcapError::UnexpectedEof) => return Err(self.cut_off()),
                Err(PcapError::ReadError) => return Err(self.unread()),
                Err(_) => return Err(self.damage("what stands here is no block of pcapng")),
            };
            reader.consume(length);
        }
        Ok(true)
    }

    fn refill(&mut self) -> Result<(), Damage> {
        if self.reader.refill().is_err() { Err(self.unread()) } else { Ok(()) }
    }

    fn grow(&mut self) -> Result<(), Damage> {
        if let Some(why) = self.impossible() {
            return Err(self.damage(&why));
        }
        self.capacity *= 2;
        if self.capacity > RECORD_MAX || !self.reader.grow(self.capacity) {
            return Err(self.damage("a record claims to be longer than 16 MiB"));
        }
        self.refill()
    }

    /// Says why the file ends within a record.
    fn cut_off(&self) -> Damage {
        let why = self.impossible();
        self.damage(why.as_deref().unwrap_or("the file ends within this record: it is cut off"))
    }

    /// Says why it is not for want of bytes that the next record cannot be read, if that is so: its length
    /// cannot be, or a block of pcapng is there to its end.
    fn impossible(&self) -> Option<String> {
        let data = self.reader.data();
        match &self.form {
            Form::Pcap(pcap) => pcap.impossible(data),
            Form::Pcapng(section) => {
                let length = usize::try_from(section.block_length(data)?).ok()?;
                (length <= data.len()).then(|| CONTRADICTION.to_owned())
            }
        }
    }

    /// Says why there are no more bytes.
    fn unread(&self) -> Damage {
        let error = self.progress.take_error();
        self.damage(
            &error.map_or_else(|| "cannot be read".to_owned(), |error| format!("cannot be read: {error}")),
        )
    }

    fn damage(&self, message: &str) -> Damage {
        Damage {
            file: self.name.clone(),
            packet: self.packets + 1,
            offset: self.reader.consumed() as u64,
            message: message.to_owned(),
        }
    }
}

const CONTRADICTION: &str = "the lengths in this block contradict each other";

impl Form {
    fn take(
        &mut self,
        block: &PcapBlockOwned<'_>,
        packets: &mut u64,
        skipped: &mut u64,
        take: &mut impl FnMut(&Packet<'_>),
    ) -> Result<(), String> {
        let packet = match (&mut *self, block) {
            (_, PcapBlockOwned::LegacyHeader(header)) => {
                *self = Self::Pcap(Pcap::of(header));
                return Ok(());
            }
            (Self::Pcap(pcap), PcapBlockOwned::Legacy(record)) => Some(pcap.packet(record)?),
            (Self::Pcapng(section), PcapBlockOwned::NG(block)) => section.packet(block, skipped)?,
            (Self::Pcap(_), PcapBlockOwned::NG(_)) | (Self::Pcapng(_), PcapBlockOwned::Legacy(_)) => {
                return Err("pcap and pcapng in one file".to_owned());
            }
        };
        if let Some(packet) = packet {
            *packets += 1;
            take(&packet);
        }
        Ok(())
    }
}

impl Pcap {
    fn of(header: &PcapHeader) -> Self {
        // The upper half of the field says how long the frame check sequence is.
        let link = Link::from_number(u16::try_from(header.network.0 & 0xffff).unwrap_or(u16::MAX));
        let fractions = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
        Self { link, fractions, longest: header.snaplen.max(SNAPLEN_MAX), big_endian: header.is_bigendian() }
    }

    /// Says what is wrong with the length of the first record in `data`, if something is.
    fn impossible(&self, data: &[u8]) -> Option<String> {
        let length = *data.get(8..)?.first_chunk()?;
        self.check(if self.big_endian { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) })
            .err()
    }

    /// Refuses a length that no packet has. Records are not marked: after damage numbers are all that
    /// tells a record from anything else.
    fn check(&self, length: u32) -> Result<(), String> {
        let longest = self.longest;
        if length <= longest {
            return Ok(());
        }
        Err(format!("a record claims {length} bytes, and no packet here has more than {longest}"))
    }

    fn packet<'p>(&self, record: &LegacyPcapBlock<'p>) -> Result<Packet<'p>, String> {
        let LegacyPcapBlock { ts_sec, ts_usec, caplen, origlen, data } = record;
        self.check(*caplen)?;
        if *ts_usec >= self.fractions {
            return Err(format!(
                "a record claims a time of {ts_usec} fractions of a second, of {}",
                self.fractions
            ));
        }
        let fraction = u64::from(*ts_usec) * (NANOSECONDS / u64::from(self.fractions));
        Ok(Packet {
            time: Some(u64::from(*ts_sec) * NANOSECONDS + fraction),
            link: self.link,
            bytes: data,
            original: (*origlen).max(*caplen),
            sent: false,
        })
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("name", &self.name)
            .field("packets", &self.packets)
            .finish_non_exhaustive()
    }
}
