use std::net::IpAddr;

use ipnet::IpNet;

/// Who has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// The packets of the request come from this very address, so that a ban in the kernel hits the
    /// client and nobody else.
    pub direct: bool,
}

/// Longest chain of hops that is followed.
const HOPS_MAX: usize = 32;

/// Finds the client of a request behind proxies that are trusted: the last address, from the right, of
/// `forwarded` (the values of X-Forwarded-For in the order of the message) and `peer` that is not one
/// of theirs. What an untrusted hop says is not believed, and a value that is no address ends the walk:
/// then the hop that wrote it is held to be the client.
#[must_use]
pub fn find<'f>(
    trusted: &[IpNet],
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'f str>,
) -> Client {
    let peer = peer.to_canonical();
    let mut address = peer;
    for hop in forwarded.rev().flat_map(|value| value.rsplit(',')).take(HOPS_MAX) {
        if !is_trusted(trusted, address) {
            break;
        }
        let Some(before) = parse(hop) else { break };
        address = before;
    }
    Client { address, direct: address == peer }
}

/// Returns true for a hop whose word about the one before it is believed.
#[must_use]
pub fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|prefix| prefix.contains(&address))
}

/// Reads an address as proxies write it: alone, with a port, or in brackets.
#[must_use]
pub fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let address =
        text.parse().ok().or_else(|| text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|text| text.parse().unwrap()).into();
        for (peer, forwarded, address, direct) in [
            ("198.51.100.7", &[][..], "198.51.100.7", true),
            ("198.51.100.7", &["203.0.113.1"], "198.51.100.7", true), // anybody can write that
            ("10.0.0.1", &["203.0.113.1"], "203.0.113.1", false),
            ("10.0.0.1", &["192.0.2.66, 203.0.113.1"], "203.0.113.1", false), // forged at the left
            ("10.0.0.1", &["192.0.2.66", "203.0.113.1, 10.9.9.9"], "203.0.113.1", false),
            ("10.0.0.1", &["10.1.1.1"], "10.1.1.1", false),
            ("10.0.0.1", &[], "10.0.0.1", true),
            ("10.0.0.1", &["203.0.113.1, nonsense"], "10.0.0.1", true),
            ("10.0.0.1", &["unknown"], "10.0.0.1", true),
            ("2001:db8:ffff::1", &["[2001:db8::5]:443"], "2001:db8::5", false),
            ("::ffff:10.0.0.1", &["203.0.113.1:1234"], "203.0.113.1", false),
            ("10.0.0.1", &["::ffff:203.0.113.1"], "203.0.113.1", false),
        ] {
            let client = find(&trusted, peer.parse().unwrap(), forwarded.iter().copied());
            assert_eq!(client, Client { address: address.parse().unwrap(), direct }, "{peer} {forwarded:?}");
        }
    }
}
