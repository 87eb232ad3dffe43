//! IPv6 extension headers (RFC 8200 section 4 and others).

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its protocol number, which the header before it names.
    pub protocol: u8,
    /// All of it behind the number of the next header: for most, first its length in units of 8
    /// bytes less one. May lie.
    pub rest: Vec<u8>,
}

impl Extension {
    /// Any header.
    #[must_use]
    pub fn new(protocol: u8, rest: &[u8]) -> Self {
        Self { protocol, rest: rest.to_vec() }
    }

    /// Hop-by-hop options: 4 bytes of padding.
    #[must_use]
    pub fn hop_by_hop() -> Self {
        Self::padding(0)
    }

    /// Destination options: 4 bytes of padding.
    #[must_use]
    pub fn destination() -> Self {
        Self::padding(60)
    }

    /// A routing header of type 4 (segment routing) with no segment left and none named.
    #[must_use]
    pub fn routing() -> Self {
        Self::new(43, &[0, 4, 0, 0, 0, 0, 0])
    }

    /// A fragment header, `offset` units of 8 bytes into the packet.
    #[must_use]
    pub fn fragment(offset: u16, more: bool) -> Self {
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        Self::new(44, &[0, high, low, 0x77, 0x77, 0x77, 0x77])
    }

    /// An authentication header with a check value of 12 bytes. Its length counts units of 4 bytes,
    /// less two.
    #[must_use]
    pub fn authentication() -> Self {
        let mut rest = [0; 23];
        rest[0] = 4;
        Self::new(51, &rest)
    }

    /// A mobility header (RFC 6275): a binding refresh request.
    #[must_use]
    pub fn mobility() -> Self {
        Self::new(135, &[0; 7])
    }

    /// A host identity protocol header (RFC 7401) without parameters.
    #[must_use]
    pub fn host_identity() -> Self {
        let mut rest = [0; 39];
        rest[0] = 4;
        Self::new(139, &rest)
    }

    /// A shim6 payload extension header (RFC 5533).
    #[must_use]
    pub fn shim6() -> Self {
        Self::new(140, &[0, 0x80, 0, 0, 0, 0, 1])
    }

    fn padding(protocol: u8) -> Self {
        Self::new(protocol, &[0, 1, 4, 0, 0, 0, 0])
    }

    pub(super) fn build(&self, next: u8) -> Vec<u8> {
        let mut header = vec![next];
        header.extend_from_slice(&self.rest);
        header
    }
}
