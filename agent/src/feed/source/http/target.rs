//! Which addresses are asked: none inside the own network, unless the configuration says so. What a
//! name resolves to is checked where the connection is made, so a name that resolves to another
//! address the second time gains nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A host has addresses inside only.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", refusal(self.0))]
pub(super) struct Forbidden(&'static str);

pub(super) fn refusal(kind: &str) -> String {
    format!("its address is {kind}; if that is meant so, set http.private")
}

/// Returns what is special about the address that a URL has for a host, if it is one and special.
pub(super) fn kind_of_host(url: &Url) -> Option<&'static str> {
    match url.host()? {
        Host::Ipv4(v4) => kind(v4.into()),
        Host::Ipv6(v6) => kind(v6.into()),
        Host::Domain(_) => None,
    }
}

/// Returns what is special about an address inside, or not of one host (RFC 6890).
fn kind(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => embedded(v6).map_or_else(|| kind_v6(v6), kind_v4),
    }
}

fn kind_v4(v4: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = v4.octets();
    match () {
        () if v4.is_loopback() => Some("loopback"),
        () if v4.is_private() => Some("private"),
        () if v4.is_link_local() => Some("link-local"),
        () if a == 100 && b & 0xc0 == 64 => Some("behind a carrier's NAT (100.64.0.0/10)"),
        () if a == 0 => Some("unspecified"),
        () if v4.is_multicast() => Some("multicast"),
        () if v4.is_broadcast() => Some("broadcast"),
        () if (a, b, c) == (192, 0, 0) => Some("reserved (192.0.0.0/24)"),
        () => None,
    }
}

fn kind_v6(v6: Ipv6Addr) -> Option<&'static str> {
    match v6.segments()[0] {
        _ if v6.is_loopback() => Some("loopback"),
        _ if v6.is_unspecified() => Some("unspecified"),
        first if first & 0xfe00 == 0xfc00 => Some("private (fc00::/7)"),
        // Site-local ones are deprecated, and still inside.
        first if first & 0xff80 == 0xfe80 => Some("link-local"),
        first if first & 0xff00 == 0xff00 => Some("multicast"),
        _ => None,
    }
}

/// Returns the IPv4 address to which a packet for this one goes: mapped, compatible, NAT64, 6to4.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        // `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0, 0, _] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Resolves names, and leaves out addresses inside.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    /// Addresses inside are allowed.
    pub(super) private: bool,
    /// A host whose addresses are not looked at: the proxy.
    pub(super) trusted: Option<Arc<str>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let any = self.private || self.trusted.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let allowed: Vec<_> =
                found.iter().copied().filter(|address| any || kind(address.ip()).is_none()).collect();
            match (allowed.is_empty(), found.first().and_then(|address| kind(address.ip()))) {
                (true, Some(kind)) => Err(Forbidden(kind).into()),
                (_, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_known_in_every_disguise() {
        for text in [
            "127.0.0.1",
            "127.255.0.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "2002:7f00:1::",
        ] {
            assert!(kind(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in [
            "192.0.2.1",
            "198.51.100.1",
            "1.1.1.1",
            "172.32.0.1",
            "172.15.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "192.0.1.1",
            "2001:db8::1",
            "2606:4700::1111",
            "::ffff:192.0.2.1",
            "64:ff9b::c000:201",
            "2002:c000:201::1",
        ] {
            assert_eq!(kind(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_host_that_is_a_number_is_an_address() {
        for url in [
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest/meta-data",
        ] {
            assert!(kind_of_host(&Url::parse(url).unwrap()).is_some(), "{url}");
        }
        assert_eq!(kind_of_host(&Url::parse("http://lists.example/").unwrap()), None);
    }

    #[tokio::test]
    async fn names_of_this_host_are_refused_unless_allowed() {
        let ask = |private, trusted: Option<&str>| {
            let resolver = Resolver { private, trusted: trusted.map(Into::into) };
            async move { resolver.resolve("localhost".parse().unwrap()).await.map(Iterator::count) }
        };
        let error = ask(false, None).await.unwrap_err();
        assert!(error.downcast_ref::<Forbidden>().is_some(), "{error}");
        assert!(ask(true, None).await.unwrap() > 0);
        assert!(ask(false, Some("localhost")).await.unwrap() > 0);
    }
}
