//! Addresses and prefixes as numbers in host byte order.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address. A v4-mapped IPv6 address (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) never
/// occurs here: it is the IPv4 address that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IPv4 address, first octet highest.
    V4(u32),
    /// An IPv6 address.
    V6(V6),
}

/// An IPv6 address as two halves: BPF has no 128-bit arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V6 {
    /// The upper 64 bits: the network of a host.
    pub high: u64,
    /// The lower 64 bits: the interface identifier.
    pub low: u64,
}

impl Address {
    /// Returns the address, with v4-mapped IPv6 folded into IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn from_v6(v6: V6) -> Self {
        if v6.high == 0 && v6.low >> 32 == 0xffff {
            Self::V4((v6.low & 0xffff_ffff) as u32)
        } else {
            Self::V6(v6)
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::from_v6(V6::from(v6)),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address {
            Address::V4(bits) => Self::V4(Ipv4Addr::from_bits(bits)),
            Address::V6(v6) => Self::V6(v6.into()),
        }
    }
}

impl From<Ipv6Addr> for V6 {
    fn from(ip: Ipv6Addr) -> Self {
        let bits = ip.to_bits();
        Self { high: (bits >> 64) as u64, low: (bits & u128::from(u64::MAX)) as u64 }
    }
}

impl From<V6> for Ipv6Addr {
    fn from(v6: V6) -> Self {
        Self::from_bits(u128::from(v6.high) << 64 | u128::from(v6.low))
    }
}

impl V6 {
    /// Returns the address with all bits below the first `length` cleared. `length` is at most 128.
    #[inline(always)]
    #[must_use]
    pub const fn network(self, length: u32) -> Self {
        if length <= 64 {
            Self { high: self.high & mask64(length), low: 0 }
        } else {
            Self { high: self.high, low: self.low & mask64(length - 64) }
        }
    }
}

/// Returns the address with all bits below the first `length` cleared. `length` is at most 32.
#[inline(always)]
#[must_use]
pub const fn network_v4(address: u32, length: u32) -> u32 {
    if length == 0 { 0 } else { address & (u32::MAX << (32 - length)) }
}

#[inline(always)]
const fn mask64(length: u32) -> u64 {
    if length == 0 { 0 } else { u64::MAX << (64 - length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4_mapped_is_v4() {
        let mapped: IpAddr = "::ffff:198.51.100.7".parse().unwrap();
        let plain: IpAddr = "198.51.100.7".parse().unwrap();
        assert_eq!(Address::from(mapped), Address::from(plain));
        assert_eq!(IpAddr::from(Address::from(plain)), plain);
    }

    #[test]
    fn networks_keep_their_first_bits() {
        let v6: Ipv6Addr = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        for (length, want) in [
            (0, "::"),
            (32, "2001:db8::"),
            (64, "2001:db8:ffff:ffff::"),
            (65, "2001:db8:ffff:ffff:8000::"),
            (128, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(Ipv6Addr::from(V6::from(v6).network(length)).to_string(), want);
        }
        assert_eq!(network_v4(0xc633_6407, 24), 0xc633_6400);
        assert_eq!(network_v4(0xc633_6407, 0), 0);
        assert_eq!(network_v4(0xc633_6407, 32), 0xc633_6407);
    }
}
