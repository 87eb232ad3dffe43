use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::{Decision, Request, Verdict, Why, quota::Descriptor};

/// How long a decision may take where a route says nothing else.
pub const DEADLINE: Duration = Duration::from_millis(20);
/// When a client may come again that a route refuses because it cannot be decided.
const UNDECIDED_AGAIN: Duration = Duration::from_secs(1);
/// First bits of an IPv6 address that make one client: whoever has an address has the /64 around it.
const IPV6_CLIENT_BITS: u8 = 64;

/// What holds for some requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// The host.
    pub host: Pattern,
    /// The path.
    pub path: Pattern,
    /// Methods, in upper case; none: all.
    pub methods: Vec<String>,
    /// Requests pass that cannot be decided in time.
    pub open: bool,
    /// How long a decision may take.
    pub deadline: Duration,
    /// Quotas that requests are charged to.
    pub charges: Vec<Charge>,
}

/// A quota that requests are charged to.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// Its domain.
    pub domain: Arc<str>,
    /// What its descriptor is made of.
    pub parts: Vec<Part>,
}

/// What an entry of a descriptor is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who the request is charged to.
    Consumer,
    /// The name of the route.
    Route,
    /// The address of the client; of IPv6 its /64.
    Client,
    /// The host.
    Host,
    /// The method.
    Method,
    /// A header, by its name in lower case.
    Header(String),
}

/// What a text may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// Anything.
    #[default]
    Any,
    /// This.
    Exact(String),
    /// It begins so.
    Prefix(String),
    /// These, in this order, with anything between them; the first one begins it, and the last one ends
    /// it.
    Glob(Vec<String>),
}

impl Pattern {
    /// Reads one with `*` for anything, and without `otherwise`.
    #[must_use]
    pub fn new(text: &str, otherwise: impl Fn(String) -> Self) -> Self {
        if text.contains('*') {
            return Self::Glob(text.split('*').map(str::to_owned).collect());
        }
        otherwise(text.to_owned())
    }

    /// Returns true for a text that it stands for.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(whole) => whole == text,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Glob(pieces) => glob(pieces, text),
        }
    }
}

/// The first place is as good as any for a piece, so there is nothing to go back to.
fn glob(pieces: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last.as_str())
}

impl Route {
    /// Returns the first route that a request is on.
    #[must_use]
    pub fn of<'r>(routes: &'r [Self], request: &Request) -> Option<&'r Self> {
        routes.iter().find(|route| {
            let method = route.methods.is_empty() || route.methods.contains(&request.method);
            method && route.host.matches(&request.host) && route.path.matches(&request.path)
        })
    }

    /// Returns the descriptors that a request is charged to, by domain. One that lacks a value is left
    /// out.
    #[must_use]
    pub fn descriptors(&self, request: &Request) -> Vec<(&str, Descriptor)> {
        let descriptor = |charge: &Charge| {
            let entries = charge.parts.iter().map(|part| Some((part.key(), self.value(part, request)?)));
            Some(Descriptor { entries: entries.collect::<Option<_>>()?, hits: None })
        };
        self.charges.iter().filter_map(|charge| Some((&*charge.domain, descriptor(charge)?))).collect()
    }

    fn value(&self, part: &Part, request: &Request) -> Option<String> {
        match part {
            Part::Consumer => request.consumer.clone(),
            Part::Route => Some(self.name.to_string()),
            Part::Client => Some(client(request.client.address)),
            Part::Host => Some(request.host.clone()),
            Part::Method => Some(request.method.clone()),
            Part::Header(name) => request.headers.get(name).cloned(),
        }
    }
}

impl Part {
    /// Returns the key of its entry.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Consumer => "consumer".to_owned(),
            Self::Route => "route".to_owned(),
            Self::Client => "client".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Method => "method".to_owned(),
            Self::Header(name) => format!("header:{name}"),
        }
    }
}

fn client(address: IpAddr) -> String {
    match (address, IpNet::new(address, IPV6_CLIENT_BITS)) {
        (IpAddr::V6(_), Ok(network)) => network.trunc().to_string(),
        _ => address.to_string(),
    }
}

/// What becomes of a request that cannot be decided: it passes, or it may come again in a moment.
#[must_use]
pub fn undecided(open: bool) -> Decision {
    if open {
        return Decision::allow(Why::Undecided);
    }
    Decision { retry_after: Some(UNDECIDED_AGAIN), ..Decision::of(Verdict::Throttle, Why::Undecided) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Client;

    fn request(address: &str) -> Request {
        let client = Client { address: address.parse().unwrap(), direct: false };
        Request { host: "api.example.org".to_owned(), path: "/v1/orders".to_owned(), ..Request::of(client) }
    }

    fn route(name: &str, host: &str, path: &str, methods: &[&str]) -> Route {
        Route {
            name: name.into(),
            host: Pattern::new(host, Pattern::Exact),
            path: Pattern::new(path, Pattern::Prefix),
            methods: methods.iter().map(ToString::to_string).collect(),
            open: true,
            deadline: DEADLINE,
            charges: Vec::new(),
        }
    }

    #[test]
    fn a_pattern_is_exact_a_prefix_or_a_glob() {
        for (pattern, text, want) in [
            ("/api/", "/api/x", true),
            ("/api/", "/ap", false),
            ("/api/*/edit", "/api/1/2/edit", true),
            ("/api/*/edit", "/api/edit", false),
            ("/api/*/edit", "/api/1/edit/x", false),
            ("*", "", true),
            ("*.png", "/a.png", true),
            ("*.png", ".pn", false),
            ("/a*b*a", "/aba", true),
            ("/a*b*a", "/ab", false),
            ("aa*aa", "aaa", false),
            ("*aab", "aaab", true),
        ] {
            assert_eq!(Pattern::new(pattern, Pattern::Prefix).matches(text), want, "{pattern} {text}");
        }
        assert!(!Pattern::new("example.org", Pattern::Exact).matches("example.org.evil"));
        assert!(Pattern::Any.matches("anything"));
    }

    #[test]
    fn the_first_route_that_matches_holds() {
        let routes = [
            route("writes", "*", "/v1/", &["POST", "PUT"]),
            route("other", "www.example.org", "/", &[]),
            route("api", "*.example.org", "/v1", &[]),
        ];
        assert_eq!(Route::of(&routes, &request("192.0.2.1")).map(|route| &*route.name), Some("api"));
        assert_eq!(Route::of(&routes[..2], &request("192.0.2.1")), None);
    }

    #[test]
    fn descriptors_are_made_of_the_request_and_need_all_their_values() {
        let charge = |parts: &[Part]| Charge { domain: "api".into(), parts: parts.to_vec() };
        let route = Route {
            charges: vec![
                charge(&[Part::Client, Part::Route]),
                charge(&[Part::Consumer]),
                charge(&[Part::Header("x-plan".to_owned()), Part::Method]),
            ],
            ..route("all", "*", "*", &[])
        };
        let mut request = request("2001:db8:0:1:2:3:4:5");
        let entries = |request: &Request| -> Vec<_> {
            route.descriptors(request).into_iter().map(|(_, descriptor)| descriptor.entries).collect()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let client = pairs(&[("client", "2001:db8:0:1::/64"), ("route", "all")]);
        assert_eq!(entries(&request), std::slice::from_ref(&client));
        request.headers.insert("x-plan".to_owned(), "gold".to_owned());
        assert_eq!(entries(&request), [client, pairs(&[("header:x-plan", "gold"), ("method", "GET")])]);
    }
}
