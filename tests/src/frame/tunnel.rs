//! Packets inside of packets.

use super::{Frame, Network};

/// Port of generic UDP encapsulation.
pub(super) const GUE: u16 = 6080;
/// Port of VXLAN.
pub(super) const VXLAN: u16 = 4789;

impl Frame {
    /// Carries the IP packet of `inner` as IP in IP: protocol 4 or 41.
    #[must_use]
    pub fn ip_in_ip(self, inner: &Self) -> Self {
        let protocol = inner.ip_protocol();
        self.protocol(protocol).payload(&inner.packet())
    }

    /// Carries the IP packet of `inner` in GUE of variant 0, with as many 32-bit words of fields.
    #[must_use]
    pub fn gue(self, words: u8, inner: &Self) -> Self {
        let mut payload = vec![words & 0x1f, inner.ip_protocol(), 0, 0];
        payload.resize(4 + 4 * usize::from(words & 0x1f), 0xee);
        self.udp(50000, GUE).payload(&payload).payload(&inner.packet())
    }

    /// Carries the IP packet of `inner` in GUE of variant 1: without a header.
    #[must_use]
    pub fn gue_direct(self, inner: &Self) -> Self {
        self.udp(50000, GUE).payload(&inner.packet())
    }

    /// Carries the frame `inner` in VXLAN.
    #[must_use]
    pub fn vxlan(self, inner: &Self) -> Self {
        self.udp(50000, VXLAN).payload(&[8, 0, 0, 0, 0, 0, 42, 0]).payload(&inner.build())
    }

    /// The protocol number of its own network layer inside of another.
    const fn ip_protocol(&self) -> u8 {
        match self.network {
            Network::None => 59,
            Network::V4(..) => 4,
            Network::V6(..) => 41,
        }
    }
}
