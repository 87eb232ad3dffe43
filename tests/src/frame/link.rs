//! What stands between Ethernet and IP, besides tags.

use super::{IPV4, IPV6, low_word};

const MPLS: u16 = 0x8847;
const PPPOE_SESSION: u16 = 0x8864;

/// A header of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// LLC and SNAP with this organisation; the ethertype becomes a length.
    Snap([u8; 3]),
    /// A PPPoE session with PPP in it. The PPP protocol follows from what is inside.
    Pppoe,
    /// MPLS labels, the last of them marked as such.
    Mpls(Vec<u32>),
}

impl Link {
    /// Puts the header before `payload`, which is of type `ethertype`; returns both of the result.
    pub(super) fn wrap(&self, ethertype: u16, payload: &[u8]) -> (u16, Vec<u8>) {
        match self {
            Self::Snap(organisation) => {
                let mut bytes = vec![0xaa, 0xaa, 0x03];
                bytes.extend_from_slice(organisation);
                bytes.extend_from_slice(&ethertype.to_be_bytes());
                bytes.extend_from_slice(payload);
                (low_word(bytes.len()), bytes)
            }
            Self::Pppoe => {
                let protocol: u16 = match ethertype {
                    IPV4 => 0x0021,
                    IPV6 => 0x0057,
                    MPLS => 0x0281,
                    other => other,
                };
                let mut bytes = vec![0x11, 0, 0, 7];
                bytes.extend_from_slice(&low_word(payload.len() + 2).to_be_bytes());
                bytes.extend_from_slice(&protocol.to_be_bytes());
                bytes.extend_from_slice(payload);
                (PPPOE_SESSION, bytes)
            }
            Self::Mpls(labels) => {
                let mut bytes = Vec::new();
                for (i, label) in labels.iter().enumerate() {
                    let last = u32::from(i + 1 == labels.len());
                    bytes.extend_from_slice(&(label << 12 | last << 8 | 64).to_be_bytes());
                }
                bytes.extend_from_slice(payload);
                (MPLS, bytes)
            }
        }
    }
}
