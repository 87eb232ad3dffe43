//! Headers of transport protocols, and checksums.

use std::net::IpAddr;

/// Where there is no transport header.
const NO_NEXT_HEADER: u8 = 59;

#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    None,
    Tcp { source_port: u16, destination_port: u16, flags: u8 },
    Udp { source_port: u16, destination_port: u16 },
    Sctp { source_port: u16, destination_port: u16 },
    Icmp { kind: u8, code: u8 },
    Icmpv6 { kind: u8, code: u8 },
}

impl Transport {
    pub(super) const fn protocol(self) -> u8 {
        match self {
            Self::None => NO_NEXT_HEADER,
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Sctp { .. } => 132,
            Self::Icmp { .. } => 1,
            Self::Icmpv6 { .. } => 58,
        }
    }

    /// Returns header and payload. Source and destination are part of most checksums.
    pub(super) fn build(self, payload: &[u8], ends: Option<(IpAddr, IpAddr)>) -> Vec<u8> {
        let mut bytes = self.header(payload.len());
        bytes.extend_from_slice(payload);
        let (at, sum) = match self {
            Self::None => return bytes,
            Self::Tcp { .. } => (16, self.pseudo_checksum(&bytes, ends)),
            Self::Udp { .. } => match self.pseudo_checksum(&bytes, ends) {
                0 => (6, 0xffff), // 0 would say that there is no checksum
                sum => (6, sum),
            },
            Self::Icmpv6 { .. } => (2, self.pseudo_checksum(&bytes, ends)),
            Self::Icmp { .. } => (2, checksum(&bytes)),
            Self::Sctp { .. } => {
                let sum = crc32c(&bytes).to_le_bytes();
                bytes[8..12].copy_from_slice(&sum);
                return bytes;
            }
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The header with a checksum of 0.
    fn header(self, payload: usize) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Tcp { source_port, destination_port, flags } => {
                let mut header = ports(source_port, destination_port);
                header.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
                header
            }
            Self::Udp { source_port, destination_port } => {
                let mut header = ports(source_port, destination_port);
                header.extend_from_slice(&super::low_word(8 + payload).to_be_bytes());
                header.extend_from_slice(&[0, 0]);
                header
            }
            Self::Sctp { source_port, destination_port } => {
                let mut header = ports(source_port, destination_port);
                header.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
                header
            }
            Self::Icmp { kind, code } | Self::Icmpv6 { kind, code } => vec![kind, code, 0, 0, 0, 1, 0, 1],
        }
    }

    fn pseudo_checksum(self, bytes: &[u8], ends: Option<(IpAddr, IpAddr)>) -> u16 {
        let mut summed = Vec::new();
        if let Some((source, destination)) = ends {
            for end in [source, destination] {
                match end {
                    IpAddr::V4(v4) => summed.extend_from_slice(&v4.octets()),
                    IpAddr::V6(v6) => summed.extend_from_slice(&v6.octets()),
                }
            }
            // The fields of IPv4 are narrower than those of IPv6; the sum is the same.
            summed.extend_from_slice(&bytes.len().to_be_bytes());
            summed.extend_from_slice(&[0, self.protocol()]);
        }
        summed.extend_from_slice(bytes);
        checksum(&summed)
    }
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    let mut bytes = source.to_be_bytes().to_vec();
    bytes.extend_from_slice(&destination.to_be_bytes());
    bytes
}

/// Returns the Internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Returns the checksum of SCTP (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 0 { 0 } else { 0x82f6_3b78 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_checksums() {
        // RFC 1071 section 3, and the check value of CRC-32C.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), 0x00ff);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
