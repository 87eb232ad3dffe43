use pcap_parser::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, SimplePacketBlock, UnknownBlock,
    pcapng::PcapNGOption,
};

use super::{Link, NANOSECONDS, Packet};

/// Interfaces of a section that are kept.
const INTERFACES_MAX: usize = 1 << 16;
/// Block type of packets before there was the enhanced one.
const OBSOLETE_PACKET: u32 = 2;
/// Bytes of its header, behind type and length.
const OBSOLETE_HEADER: usize = 20;
/// Options by number: `epb_flags`, and `if_tsoffset`.
const FLAGS: u16 = 2;
const OFFSET: u16 = 14;
/// Of `epb_flags` the two bits that say which way, and outbound.
const DIRECTION: u32 = 0b11;
const OUTBOUND: u32 = 0b10;

/// A section of a pcapng file: what holds for the packets in it.
#[derive(Debug, Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

/// What holds for packets of an interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Link,
    /// Units of a timestamp in a second.
    units: u64,
    /// Seconds to be added.
    offset: i64,
    /// 0: no limit.
    snaplen: u32,
}

impl Section {
    /// Returns the length that the first block in `data` claims.
    pub(super) fn block_length(&self, data: &[u8]) -> Option<u32> {
        self.word(data.get(4..8)?)
    }

    /// Returns the packet of a block; nothing for one that has none.
    pub(super) fn packet<'p>(
        &mut self,
        block: &Block<'p>,
        skipped: &mut u64,
    ) -> Result<Option<Packet<'p>>, String> {
        match block {
            Block::SectionHeader(header) => {
                same(header.block_len1, header.block_len2)?;
                *self = Self { big_endian: header.big_endian(), interfaces: Vec::new() };
            }
            Block::InterfaceDescription(description) => self.add(description)?,
            Block::EnhancedPacket(packet) => return self.enhanced(packet).map(Some),
            Block::SimplePacket(packet) => return self.simple(packet).map(Some),
            Block::Unknown(block) if block.block_type_in(self.big_endian) == OBSOLETE_PACKET => {
                return self.obsolete(block).map(Some);
            }
            Block::Unknown(block) => {
                same(block.block_len1, block.block_len2)?;
                *skipped += 1;
            }
            Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::DecryptionSecrets(_)
            | Block::ProcessInformation(_)
            | Block::Custom(_) => *skipped += 1,
        }
        Ok(None)
    }

    fn add(&mut self, description: &InterfaceDescriptionBlock<'_>) -> Result<(), String> {
        if self.interfaces.len() == INTERFACES_MAX {
            return Err(format!("more than {INTERFACES_MAX} interfaces"));
        }
        let InterfaceDescriptionBlock { linktype, snaplen, options, if_tsresol, .. } = description;
        let exponent = u32::from(if_tsresol & 0x7f);
        let units =
            if if_tsresol & 0x80 == 0 { 10u64.checked_pow(exponent) } else { 1u64.checked_shl(exponent) };
        let units = units.ok_or_else(|| format!("an interface claims a time resolution of {if_tsresol}"))?;
        let offset = value(options, OFFSET).and_then(|bytes| bytes.first_chunk());
        let offset = offset.map_or(0, |bytes: &[u8; 8]| {
            if self.big_endian { i64::from_be_bytes(*bytes) } else { i64::from_le_bytes(*bytes) }
        });
        let link = Link::from_number(u16::try_from(linktype.0).unwrap_or(u16::MAX));
        self.interfaces.push(Interface { link, units, offset, snaplen: *snaplen });
        Ok(())
    }

    fn enhanced<'p>(&self, packet: &EnhancedPacketBlock<'p>) -> Result<Packet<'p>, String> {
        let interface = self.interface(packet.if_id)?;
        let length = usize::try_from(packet.caplen).unwrap_or(usize::MAX);
        let bytes = packet.data.get(..length).ok_or("a packet is longer than its block")?;
        let flags = value(&packet.options, FLAGS).and_then(|bytes| self.word(bytes.get(..4)?)).unwrap_or(0);
        Ok(Packet {
            time: Some(interface.time(packet.ts_high, packet.ts_low)),
            link: interface.link,
            bytes,
            original: packet.origlen.max(packet.caplen),
            sent: flags & DIRECTION == OUTBOUND,
        })
    }

    /// One without a time, of the first interface.
    fn simple<'p>(&self, packet: &SimplePacketBlock<'p>) -> Result<Packet<'p>, String> {
        same(packet.block_len1, packet.block_len2)?;
        let interface = self.interface(0)?;
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        let length = usize::try_from(packet.origlen.min(snaplen)).unwrap_or(usize::MAX);
        let bytes = packet.data.get(..length).unwrap_or(packet.data);
        Ok(Packet { time: None, link: interface.link, bytes, original: packet.origlen, sent: false })
    }

    /// Interface (16 bits), drops (16), time (64), captured and original length, then the packet.
    fn obsolete<'p>(&self, block: &UnknownBlock<'p>) -> Result<Packet<'p>, String> {
        same(block.block_len1, block.block_len2)?;
        let data = block.data;
        let short = "a packet is longer than its block";
        let word = |at: usize| self.word(data.get(at..at + 4)?);
        let id = data.first_chunk().ok_or(short)?;
        let id = if self.big_endian { u16::from_be_bytes(*id) } else { u16::from_le_bytes(*id) };
        let interface = self.interface(u32::from(id))?;
        let (high, low) = word(4).zip(word(8)).ok_or(short)?;
        let (captured, original) = word(12).zip(word(16)).ok_or(short)?;
        let length = usize::try_from(captured).unwrap_or(usize::MAX);
        let bytes = data.get(OBSOLETE_HEADER..).and_then(|rest| rest.get(..length)).ok_or(short)?;
        Ok(Packet {
            time: Some(interface.time(high, low)),
            link: interface.link,
            bytes,
            original: original.max(captured),
            sent: false,
        })
    }

    fn interface(&self, id: u32) -> Result<&Interface, String> {
        let found = usize::try_from(id).ok().and_then(|id| self.interfaces.get(id));
        found.ok_or_else(|| format!("a packet of interface {id}, which the file does not describe"))
    }

    fn word(&self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

impl Interface {
    /// Returns a time in nanoseconds since 1970.
    fn time(&self, high: u32, low: u32) -> u64 {
        let units = u64::from(high) << 32 | u64::from(low);
        let nanoseconds = match self.units {
            1_000_000 => i128::from(units) * 1000,
            NANOSECONDS => i128::from(units),
            per_second => i128::from(units) * i128::from(NANOSECONDS) / i128::from(per_second),
        };
        let nanoseconds = nanoseconds + i128::from(self.offset) * i128::from(NANOSECONDS);
        u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX)
    }
}

/// Block types are kept as little-endian numbers.
trait BlockType {
    fn block_type_in(&self, big_endian: bool) -> u32;
}

impl BlockType for UnknownBlock<'_> {
    fn block_type_in(&self, big_endian: bool) -> u32 {
        if big_endian { self.block_type.swap_bytes() } else { self.block_type }
    }
}

/// The length of a block stands in front of it and behind it.
fn same(before: u32, behind: u32) -> Result<(), String> {
    if before == behind { Ok(()) } else { Err(super::CONTRADICTION.to_owned()) }
}

fn value<'o>(options: &'o [PcapNGOption<'_>], code: u16) -> Option<&'o [u8]> {
    options.iter().find(|option| option.code.0 == code).map(|option| option.value.as_ref())
}
