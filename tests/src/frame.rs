//! Frames, well formed or not.
//!
//! What is not said has a sensible value, lengths and checksums are right, and any of it can be
//! made wrong:
//!
//! ```
//! use weir_tests::frame::{Frame, tpid};
//!
//! let source = "198.51.100.7".parse().unwrap();
//! let destination = "192.0.2.1".parse().unwrap();
//! let syn = Frame::new().vlan(tpid::VLAN, 5).ipv4(source, destination).tcp(1234, 443).syn();
//! let cut = syn.clone().truncate(30).build();
//! assert_eq!(cut, syn.build()[..30]);
//! ```

/// What stands between Ethernet and IP.
mod link;
/// IPv6 extension headers.
mod extension;
/// What stands in a frame, for those who count.
mod sight;
/// Headers of transport protocols.
mod transport;
/// Packets inside of packets.
mod tunnel;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use transport::Transport;

pub use extension::Extension;
pub use link::Link;
pub use sight::Sight;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Tag protocol identifiers.
pub mod tpid {
    /// IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad, the outer tag of two.
    pub const QINQ: u16 = 0x88a8;
    /// The same before it was standardised.
    pub const QINQ_OLD: u16 = 0x9100;
}

/// Flags of a TCP header.
pub mod tcp {
    /// Last segment.
    pub const FIN: u8 = 0x01;
    /// First segment.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Acknowledgement.
    pub const ACK: u8 = 0x10;
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Local experimental ethertype 1, where nothing else is said.
const EXPERIMENTAL: u16 = 0x88b5;
const IPV4_HEADER: usize = 20;
/// Shortest frame on a real cable, without frame check sequence.
const SHORTEST: usize = 60;

#[derive(Clone, Copy, Debug)]
enum Network {
    None,
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// A frame in the making. Methods may be called in any order; only VLAN tags and extension headers
/// stand in the order in which they are added.
#[derive(Clone, Debug)]
pub struct Frame {
    destination: Mac,
    source: Mac,
    tags: Vec<(u16, u16)>,
    links: Vec<Link>,
    ethertype: Option<u16>,
    network: Network,
    hop_limit: u8,
    protocol: Option<u8>,
    fragment: u16,
    length: Option<u16>,
    ihl: Option<u8>,
    options: Vec<u8>,
    extensions: Vec<Extension>,
    transport: Transport,
    payload: Vec<u8>,
    padded: bool,
    overwrites: Vec<(usize, Vec<u8>)>,
    truncated: Option<usize>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            destination: [0x02, 0, 0, 0, 0, 0x02],
            source: [0x02, 0, 0, 0, 0, 0x01],
            tags: Vec::new(),
            links: Vec::new(),
            ethertype: None,
            network: Network::None,
            hop_limit: 64,
            protocol: None,
            fragment: 0,
            length: None,
            ihl: None,
            options: Vec::new(),
            extensions: Vec::new(),
            transport: Transport::None,
            payload: Vec::new(),
            padded: false,
            overwrites: Vec::new(),
            truncated: None,
        }
    }
}

impl Frame {
    /// An Ethernet header and nothing else, from the client to the server of a
    /// [`Pair`](crate::namespace::Pair).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the destination Ethernet address.
    #[must_use]
    pub fn destination_mac(self, destination: Mac) -> Self {
        Self { destination, ..self }
    }

    /// Sets the source Ethernet address.
    #[must_use]
    pub fn source_mac(self, source: Mac) -> Self {
        Self { source, ..self }
    }

    /// Adds a VLAN tag behind those that are there. See [`tpid`]; `id` is the whole tag control
    /// information, so that bits 12 to 15 are priority and drop eligibility.
    #[must_use]
    pub fn vlan(mut self, tpid: u16, id: u16) -> Self {
        self.tags.push((tpid, id));
        self
    }

    /// Adds a header between tags and IP, behind those that are there.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.links.push(link);
        self
    }

    /// Sets the ethertype behind all headers of the link. Without it: that of the IP version.
    #[must_use]
    pub fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype: Some(ethertype), ..self }
    }

    /// Adds an IPv4 or IPv6 header.
    ///
    /// # Panics
    /// If the addresses are of different families.
    #[must_use]
    #[expect(clippy::panic, reason = "a mistake in a test")]
    pub fn ip(self, source: IpAddr, destination: IpAddr) -> Self {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(source, destination),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => panic!("{source} cannot send to {destination}"),
        }
    }

    /// Adds an IPv4 header.
    #[must_use]
    pub fn ipv4(self, source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { network: Network::V4(source, destination), ..self }
    }

    /// Adds an IPv6 header.
    #[must_use]
    pub fn ipv6(self, source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { network: Network::V6(source, destination), ..self }
    }

    /// Sets the IPv4 time to live or IPv6 hop limit. Without it: 64.
    #[must_use]
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    /// Sets the IP protocol. Without it: that of the transport header, or 59 (none).
    #[must_use]
    pub fn protocol(self, protocol: u8) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// Makes it a fragment, `offset` units of 8 bytes into the packet: through the IPv4 header, or
    /// through an IPv6 fragment header at this place in the chain.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = offset & 0x1fff | u16::from(more) << 13;
        self.extension(Extension::fragment(offset, more))
    }

    /// Sets IPv4 total length or IPv6 payload length, whatever the frame holds.
    #[must_use]
    pub fn ip_length(self, length: u16) -> Self {
        Self { length: Some(length), ..self }
    }

    /// Sets the IPv4 header length in units of 4 bytes, whatever the frame holds.
    #[must_use]
    pub fn ihl(self, ihl: u8) -> Self {
        Self { ihl: Some(ihl), ..self }
    }

    /// Adds IPv4 options, which are filled up to a multiple of 4 bytes.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options.extend_from_slice(options);
        self
    }

    /// Adds an IPv6 extension header behind those that are there.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Adds a TCP header: an acknowledgement, unless [`Frame::syn`] or [`Frame::flags`] follow.
    #[must_use]
    pub fn tcp(self, source_port: u16, destination_port: u16) -> Self {
        let transport = Transport::Tcp { source_port, destination_port, flags: tcp::ACK };
        Self { transport, ..self }
    }

    /// Makes the TCP segment ask for a connection.
    #[must_use]
    pub fn syn(self) -> Self {
        self.flags(tcp::SYN)
    }

    /// Sets all flags of the TCP segment, see [`tcp`].
    #[must_use]
    pub fn flags(mut self, new: u8) -> Self {
        if let Transport::Tcp { flags, .. } = &mut self.transport {
            *flags = new;
        }
        self
    }

    /// Adds a UDP header.
    #[must_use]
    pub fn udp(self, source_port: u16, destination_port: u16) -> Self {
        Self { transport: Transport::Udp { source_port, destination_port }, ..self }
    }

    /// Adds an SCTP header.
    #[must_use]
    pub fn sctp(self, source_port: u16, destination_port: u16) -> Self {
        Self { transport: Transport::Sctp { source_port, destination_port }, ..self }
    }

    /// Adds an ICMP header.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8) -> Self {
        Self { transport: Transport::Icmp { kind, code }, ..self }
    }

    /// Adds an ICMPv6 header.
    #[must_use]
    pub fn icmpv6(self, kind: u8, code: u8) -> Self {
        Self { transport: Transport::Icmpv6 { kind, code }, ..self }
    }

    /// Adds bytes behind all headers.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload.extend_from_slice(payload);
        self
    }

    /// Fills the frame up to the 60 bytes of the shortest one on a cable, behind the IP packet.
    #[must_use]
    pub fn padded(self) -> Self {
        Self { padded: true, ..self }
    }

    /// Replaces what is `offset` bytes into the finished frame; checksums stay.
    #[must_use]
    pub fn overwrite(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.overwrites.push((offset, bytes.to_vec()));
        self
    }

    /// Cuts the finished frame off behind `length` bytes.
    #[must_use]
    pub fn truncate(self, length: usize) -> Self {
        Self { truncated: Some(length), ..self }
    }

    /// Returns the frame, without frame check sequence.
    ///
    /// # Panics
    /// If an [overwrite](Self::overwrite) reaches beyond its end.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&self.destination);
        frame.extend_from_slice(&self.source);
        for (tpid, tci) in &self.tags {
            frame.extend_from_slice(&tpid.to_be_bytes());
            frame.extend_from_slice(&tci.to_be_bytes());
        }
        let ethertype = self.ethertype.unwrap_or(match self.network {
            Network::None => EXPERIMENTAL,
            Network::V4(..) => IPV4,
            Network::V6(..) => IPV6,
        });
        let innermost = (ethertype, self.packet());
        let (ethertype, payload) = self
            .links
            .iter()
            .rev()
            .fold(innermost, |(ethertype, payload), link| link.wrap(ethertype, &payload));
        frame.extend_from_slice(&ethertype.to_be_bytes());
        frame.extend_from_slice(&payload);
        if self.padded && frame.len() < SHORTEST {
            frame.resize(SHORTEST, 0);
        }
        for (offset, bytes) in &self.overwrites {
            frame[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        if let Some(length) = self.truncated {
            frame.truncate(length);
        }
        frame
    }

    /// Returns the IP packet alone, to be the payload of another.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        match self.network {
            Network::None => self.transport.build(&self.payload, None),
            Network::V4(source, destination) => self.packet_v4(source, destination),
            Network::V6(source, destination) => self.packet_v6(source, destination),
        }
    }

    fn packet_v4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let body = self.transport.build(&self.payload, Some((source.into(), destination.into())));
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let header_length = IPV4_HEADER + options.len();
        let ihl = self.ihl.unwrap_or(low_byte(header_length / 4) & 0xf);
        let total = self.length.unwrap_or(low_word(header_length + body.len()));
        let mut packet = vec![0x40 | ihl & 0xf, 0];
        packet.extend_from_slice(&total.to_be_bytes());
        packet.extend_from_slice(&[0x77, 0x77]); // identification
        packet.extend_from_slice(&self.fragment.to_be_bytes());
        packet.extend_from_slice(&[self.hop_limit, self.protocol.unwrap_or(self.transport.protocol()), 0, 0]);
        packet.extend_from_slice(&source.octets());
        packet.extend_from_slice(&destination.octets());
        packet.extend_from_slice(&options);
        let sum = transport::checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&body);
        packet
    }

    fn packet_v6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let body = self.transport.build(&self.payload, Some((source.into(), destination.into())));
        let mut next = self.protocol.unwrap_or(self.transport.protocol());
        let mut chain = Vec::new();
        for extension in self.extensions.iter().rev() {
            chain.splice(..0, extension.build(next));
            next = extension.protocol;
        }
        let length = self.length.unwrap_or(low_word(chain.len() + body.len()));
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend_from_slice(&length.to_be_bytes());
        packet.extend_from_slice(&[next, self.hop_limit]);
        packet.extend_from_slice(&source.octets());
        packet.extend_from_slice(&destination.octets());
        packet.extend_from_slice(&chain);
        packet.extend_from_slice(&body);
        packet
    }
}

/// A length of 2^16 and more does not fit its field: the field holds what is left of it, as in a
/// jumbogram.
fn low_word(length: usize) -> u16 {
    u16::try_from(length & 0xffff).unwrap_or(0)
}

fn low_byte(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or(0)
}

#[cfg(test)]
mod tests;
