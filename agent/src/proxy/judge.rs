//! What is decided, for every surface: the world as it is, and the settings as they are, under one
//! handle that is cheap to clone.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;

use super::{Surface, counts::Counts};
use crate::{
    config::{Config, l7},
    datapath::{memory::Mapped, onlooker::Onlooker},
    decision::{self, Client, Decision, Policy, Request, Sanctions, Source, client, source::Names},
    escalate::{Cause, Ladder, Offence},
    record::seconds,
    rules::Bulletin,
};

/// Longest value of a header, host or path that is looked at, in bytes; what is longer is cut there.
const VALUE_BYTES_MAX: usize = 4096;

/// What a proxy says of a request, before it is known who the client is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'s> {
    /// Who has connected to the proxy. Nothing: it does not say.
    pub peer: Option<IpAddr>,
    /// Who the proxy holds to be the client, where it has settings of its own for that.
    pub client: Option<IpAddr>,
    /// Values of X-Forwarded-For, in the order of the message.
    pub forwarded: &'s [&'s str],
    /// Method.
    pub method: &'s str,
    /// Host, with a port or without.
    pub host: &'s str,
    /// Path, with a query or without.
    pub path: &'s str,
    /// Fingerprint of the client's TLS.
    pub tls: Option<&'s str>,
}

/// What became of a request, as a proxy tells it.
#[derive(Clone, Copy, Debug)]
pub struct Feedback {
    /// Who had sent it.
    pub client: Client,
    /// The status that it got.
    pub status: u16,
    /// It got it because of us: then it is no offence.
    pub ours: bool,
}

/// What is in force in the kernel.
#[derive(Debug)]
pub struct World {
    /// Its maps.
    pub memory: Arc<Mapped>,
    /// The names behind its numbers.
    pub names: Names,
}

/// Decides about requests.
#[derive(Clone, Debug)]
pub struct Judge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ArcSwap<Settings>,
    world: ArcSwap<World>,
    sanctions: ArcSwap<Sanctions>,
    ladder: Ladder,
    counts: Counts,
}

/// What the configuration says.
#[derive(Clone, Debug)]
struct Settings {
    clients: l7::Clients,
    policy: Policy,
}

impl Settings {
    fn new(config: &Config) -> Self {
        Self { clients: config.l7.clients.clone(), policy: Policy { shadow: config.enforce.is_shadow() } }
    }
}

impl Judge {
    /// Returns a judge over what is in force.
    ///
    /// # Errors
    /// If two metrics have one name.
    pub fn new(config: &Config, world: World, ladder: Ladder) -> prometheus::Result<Self> {
        Ok(Self(Arc::new(Inner {
            settings: ArcSwap::from_pointee(Settings::new(config)),
            world: ArcSwap::from_pointee(world),
            sanctions: ArcSwap::default(),
            ladder,
            counts: Counts::new()?,
        })))
    }

    /// Sets what is in force.
    pub fn set(&self, config: &Config, world: World) {
        self.0.settings.store(Arc::new(Settings::new(config)));
        self.0.world.store(Arc::new(world));
    }

    /// Follows the rules that proxies hold and the kernel does not, for ever.
    pub async fn follow(&self, bulletin: &Bulletin) {
        loop {
            let (number, rules) = bulletin.all();
            self.0.sanctions.store(Arc::new(Sanctions::new(rules.into_iter())));
            bulletin.changed(number).await;
        }
    }

    /// Returns true where the whole policy is in shadow mode: nothing is to be dropped.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.0.settings.load().policy.shadow
    }

    /// Returns what is counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Makes one spelling of what a proxy says. `header` finds the value of a header by its name in
    /// lower case.
    #[must_use]
    pub fn request<'s>(&self, seen: &Seen<'s>, header: impl Fn(&str) -> Option<&'s str>) -> Request {
        let settings = self.0.settings.load();
        let l7::Clients { headers, consumer, .. } = &settings.clients;
        let value = |name: &String| Some((name.clone(), cut(header(name)?)));
        let path = seen.path.split(['?', '#']).next().unwrap_or_default();
        Request {
            client: self.client(seen),
            peer: seen.peer.map(|peer| peer.to_canonical()),
            method: cut(seen.method).to_ascii_uppercase(),
            host: cut(without_port(seen.host)).to_ascii_lowercase(),
            path: cut(path),
            headers: headers.iter().filter_map(value).collect::<BTreeMap<_, _>>(),
            consumer: consumer.as_deref().and_then(&header).map(cut),
            tls: seen.tls.map(cut),
        }
    }

    /// Finds out who has sent a request.
    #[must_use]
    pub fn client(&self, seen: &Seen<'_>) -> Client {
        let settings = self.0.settings.load();
        let trusted = &settings.clients.trusted;
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let found = match (seen.peer, seen.client) {
            (Some(peer), None) => client::find(trusted, peer, seen.forwarded.iter().copied()),
            (peer, Some(client)) => {
                let (peer, address) = (peer.map(|peer| peer.to_canonical()), client.to_canonical());
                Client { address, direct: peer == Some(address) }
            }
            (None, None) => client::find(trusted, unknown, std::iter::empty()),
        };
        // A hop is never the one to be punished.
        Client { direct: found.direct && !client::is_trusted(trusted, found.address), ..found }
    }

    /// Decides about a request.
    #[expect(clippy::unused_async, reason = "quotas may lie elsewhere")]
    pub async fn decide(&self, surface: Surface, request: &Request) -> Decision {
        let started = Instant::now();
        let source = self.source(request.client.address);
        let decision = decision::decide(&self.0.settings.load().policy, request, &source);
        self.0.counts.decided(surface, &decision, started.elapsed());
        decision
    }

    /// Returns what is known of a source.
    #[must_use]
    pub fn source(&self, address: IpAddr) -> Source {
        let world = self.0.world.load();
        let source = world.names.source(&Onlooker::new(&*world.memory), address);
        let (sanctions, now) = (self.0.sanctions.load(), seconds(SystemTime::now()));
        let source = source.with_sanction(sanctions.of(address, now), now);
        Source { risk: self.0.ladder.risk(address), ..source }
    }

    /// Takes note of what became of a request.
    pub fn feedback(&self, feedback: Feedback) {
        let Feedback { client, status, ours } = feedback;
        if !ours {
            self.0.ladder.note(Offence { client, cause: Cause::Status(status) });
        }
    }
}

/// Cuts a value at the end of a character.
fn cut(value: &str) -> String {
    value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or_default().to_owned()
}

/// Returns a host without its port (RFC 9110, section 7.2).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port() {
        for (host, name) in [
            ("api.example.org", "api.example.org"),
            ("api.example.org:8443", "api.example.org"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(without_port(host), name);
        }
        assert_eq!(cut(&"ä".repeat(VALUE_BYTES_MAX)).len(), VALUE_BYTES_MAX);
    }
}
