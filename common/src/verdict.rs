//! Verdicts and their reasons.

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on to the network stack.
    Pass,
    /// It ends here.
    Drop,
}

/// Why a packet got its verdict. Numbers are a wire format: append only, never reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Nothing speaks against it.
    Clean = 0,
    /// It carries no IP: ARP, LLDP and the like.
    NotIp = 1,
    /// IPv6 neighbour discovery on the link (RFC 4861): without it the host loses its network.
    Neighbour = 2,
    /// An allow entry, or a manual rule that allows, covers the source.
    Allow = 3,
    /// A list that does not drop covers the source: it observes, or chooses the profile of limits.
    Observe = 4,
    /// The frame ends before its headers do.
    Truncated = 5,
    /// More than two VLAN tags, or other headers of the link deeper than is followed: the source
    /// cannot be found.
    VlanDepth = 6,
    /// An IP version or header length that cannot be (RFC 791 section 3.1: IHL is at least 5).
    HeaderLength = 7,
    /// The IP packet claims to be longer than the frame, or shorter than its own header.
    TotalLength = 8,
    /// More IPv6 extension headers than any sender of good will uses.
    ExtensionChain = 9,
    /// A first fragment too short for its transport header (RFC 1858, RFC 7112).
    TinyFragment = 10,
    /// A feed lists the source.
    Feed = 11,
    /// The source is over its limit.
    Limit = 12,
    /// The source shares a bucket, because its line is full of debtors, and that bucket is empty.
    Valve = 13,
    /// It is for a management port: what speaks against it is not heard, lest the operator is locked
    /// out.
    Management = 14,
    /// A ban, or a manual rule, covers the source.
    Ban = 15,
}

impl Reason {
    /// Room for reasons in every counter.
    pub const CAPACITY: u32 = 32;

    /// All reasons, by number.
    pub const ALL: [Self; 16] = [
        Self::Clean,
        Self::NotIp,
        Self::Neighbour,
        Self::Allow,
        Self::Observe,
        Self::Truncated,
        Self::VlanDepth,
        Self::HeaderLength,
        Self::TotalLength,
        Self::ExtensionChain,
        Self::TinyFragment,
        Self::Feed,
        Self::Limit,
        Self::Valve,
        Self::Management,
        Self::Ban,
    ];

    /// Returns the name used in metrics, events and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::NotIp => "not-ip",
            Self::Neighbour => "neighbour",
            Self::Allow => "allow",
            Self::Observe => "observe",
            Self::Truncated => "truncated",
            Self::VlanDepth => "vlan-depth",
            Self::HeaderLength => "header-length",
            Self::TotalLength => "total-length",
            Self::ExtensionChain => "extension-chain",
            Self::TinyFragment => "tiny-fragment",
            Self::Feed => "feed",
            Self::Limit => "limit",
            Self::Valve => "valve",
            Self::Management => "management",
            Self::Ban => "ban",
        }
    }

    /// Returns the reason with number `wire`.
    #[must_use]
    pub fn from_wire(wire: u8) -> Option<Self> {
        Self::ALL.get(usize::from(wire)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order_and_named_apart() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert_eq!(Reason::from_wire(i as u8), Some(reason));
        }
        assert_eq!(Reason::from_wire(Reason::ALL.len() as u8), None);
        let names: std::collections::HashSet<_> = Reason::ALL.into_iter().map(Reason::as_str).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(Reason::ALL.len() <= Reason::CAPACITY as usize);
    }
}
