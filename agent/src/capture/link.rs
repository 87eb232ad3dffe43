use weir_common::packet::Frame;

const ETHERNET_HEADER: u32 = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Local experimental ethertype 1: what is no IP.
const NOT_IP: u16 = 0x88b5;
/// Highest length of an LLC frame (IEEE 802.3).
const LENGTH_MAX: usize = 0x05dc;
/// Protocols of Linux without an ethertype: 802.3 and 802.2 frames (include/uapi/linux/if_ether.h).
const LINUX_LLC: [u16; 2] = [0x0001, 0x0004];
/// Hardware whose protocols are no ethertypes: netlink (include/uapi/linux/if_arp.h).
const NETLINK: u16 = 824;
/// `PACKET_OUTGOING` (include/uapi/linux/if_packet.h).
const OUTGOING: u16 = 4;

/// How captured packets begin: link types of tcpdump.org/linktypes.html.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Ethernet (1).
    Ethernet,
    /// An IP packet of either version (101, 228, 229; 12 and 14 on some systems).
    Ip,
    /// Linux cooked capture (113), as on interface `any`.
    Cooked,
    /// Linux cooked capture, version 2 (276).
    Cooked2,
    /// BSD loopback (0): an address family in the byte order of whoever captured.
    Null,
    /// The same in network byte order (108).
    Loop,
    /// Any other, by its number.
    Other(u16),
}

/// A packet as the Ethernet frame that it would have been, as much of it as was captured.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'f> {
    /// What there is.
    pub bytes: &'f [u8],
    /// How many bytes there were.
    pub original: u32,
}

/// A packet as a frame.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'f> {
    /// The frame.
    pub frame: Captured<'f>,
    /// The header says that the host has sent it.
    pub sent: bool,
}

impl Link {
    /// Returns the kind with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            108 => Self::Loop,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            other => Self::Other(other),
        }
    }

    /// Returns the Ethernet frame that a packet would have been, which stands in `room` where it was no
    /// such frame. Nothing for links that are not known.
    pub fn frame<'f>(self, bytes: &'f [u8], original: u32, room: &'f mut Vec<u8>) -> Option<Framed<'f>> {
        let (header, ethertype, sent) = match self {
            Self::Ethernet => {
                return Some(Framed { frame: Captured { bytes, original }, sent: false });
            }
            Self::Other(_) => return None,
            Self::Ip => (0, version(bytes), false),
            Self::Null | Self::Loop => (4, family(bytes), false),
            Self::Cooked => {
                (16, linux(half(bytes, 14), half(bytes, 2), bytes, 16), half(bytes, 0) == Some(OUTGOING))
            }
            Self::Cooked2 => {
                let sent = bytes.get(10).is_some_and(|kind| u16::from(*kind) == OUTGOING);
                (20, linux(half(bytes, 0), half(bytes, 8), bytes, 20), sent)
            }
        };
        room.clear();
        if let Some(payload) = bytes.get(header..) {
            room.extend([0; 12]);
            room.extend(ethertype.to_be_bytes());
            room.extend(payload);
        }
        // The header is at most 20 bytes.
        #[expect(clippy::cast_possible_truncation, reason = "at most 20")]
        let original = original.saturating_sub(header as u32).saturating_add(ETHERNET_HEADER);
        Some(Framed { frame: Captured { bytes: room, original }, sent })
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// What is neither version is malformed IPv4, not something else.
fn version(bytes: &[u8]) -> u16 {
    match bytes.first().map(|first| first >> 4) {
        Some(6) => IPV6,
        Some(_) | None => IPV4,
    }
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on BSDs.
fn family(bytes: &[u8]) -> u16 {
    let number = match bytes {
        [0, 0, high, low, ..] | [low, high, 0, 0, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    match number {
        2 => IPV4,
        10 | 24 | 28 | 30 => IPV6,
        _ => NOT_IP,
    }
}

/// Returns what stands in an Ethernet header for a protocol of Linux.
fn linux(protocol: Option<u16>, hardware: Option<u16>, bytes: &[u8], header: usize) -> u16 {
    match protocol {
        Some(_) if hardware == Some(NETLINK) => NOT_IP,
        Some(llc) if LINUX_LLC.contains(&llc) => {
            let length = bytes.len().saturating_sub(header).min(LENGTH_MAX);
            u16::try_from(length).unwrap_or(0)
        }
        Some(ethertype) => ethertype,
        None => NOT_IP,
    }
}

impl Captured<'_> {
    /// Returns true if the frame had more bytes than were captured.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.original as usize
    }
}

/// Headers are read from what there is; lengths are those that the frame had.
impl Frame for Captured<'_> {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u16; N]> {
        self.bytes.load(offset)
    }

    fn head<const N: usize>(&self) -> Option<[u16; N]> {
        self.bytes.head()
    }

    fn holds(&self, length: u32) -> bool {
        self.original >= length
    }

    fn length(&self) -> u32 {
        self.original
    }

    fn again(&self) -> Self {
        *self
    }
}
