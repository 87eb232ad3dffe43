//! What is decided, for every surface: the world as it is, and the settings as they are, under one
//! handle that is cheap to clone.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::time::timeout;

use super::{
    Surface,
    counts::Counts,
    quotas::{self, Quotas},
};
use crate::{
    audit::Audit,
    config::{Config, l7},
    datapath::{memory::Mapped, onlooker::Onlooker},
    decision::{
        self, Client, Decision, Policy, Request, Route, Sanctions, Source, Standing, Verdict, Why, client,
        quota::{Charged, Descriptor},
        route::undecided,
        source::Names,
    },
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
    /// Name that the proxy gives the route.
    pub route: Option<&'s str>,
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
    audit: Audit,
    counts: Counts,
}

/// What the configuration says.
#[derive(Clone, Debug)]
struct Settings {
    clients: l7::Clients,
    policy: Policy,
    quotas: Quotas,
}

impl Settings {
    fn new(config: &Config, quotas: Quotas) -> Self {
        Self { clients: config.l7.clients.clone(), policy: Policy::new(config), quotas }
    }
}

impl Settings {
    /// Asks quotas, unless it is settled without, within the time that the route grants.
    async fn conclude(&self, request: &Request, standing: Standing) -> Decision {
        let route = Route::of(&self.policy.routes, request).filter(|_| !standing.settled);
        let Some(route) = route.filter(|route| !route.charges.is_empty()) else {
            return decision::conclude(&self.policy, standing, &[]);
        };
        if let Ok(Ok(charged)) = timeout(route.deadline, self.charge(route, request)).await {
            return decision::conclude(&self.policy, standing, &charged);
        }
        let Decision { verdict, why, retry_after, .. } = undecided(route.open);
        let decision = Decision { verdict, why, retry_after, ..standing.decision };
        decision::conclude(&self.policy, Standing { decision, settled: true, ..standing }, &[])
    }

    async fn charge(&self, route: &Route, request: &Request) -> Result<Vec<Charged>, quotas::Away> {
        let descriptors = route.descriptors(request);
        self.quotas.charge(descriptors.iter().map(|(domain, descriptor)| (domain, descriptor)), 1).await
    }
}

impl Judge {
    /// Returns a judge over what is in force.
    ///
    /// # Errors
    /// If two metrics have one name.
    pub fn new(config: &Config, world: World, ladder: Ladder, audit: Audit) -> prometheus::Result<Self> {
        let counts = Counts::new()?;
        let quotas = Quotas::new(&config.l7.quotas, &counts.registry)?;
        ladder.register(&counts.registry)?;
        Ok(Self(Arc::new(Inner {
            settings: ArcSwap::from_pointee(Settings::new(config, quotas)),
            world: ArcSwap::from_pointee(world),
            sanctions: ArcSwap::default(),
            ladder,
            audit,
            counts,
        })))
    }

    /// Sets what is in force.
    pub fn set(&self, config: &Config, world: World) {
        let quotas = self.0.settings.load().quotas.with(&config.l7.quotas);
        self.0.settings.store(Arc::new(Settings::new(config, quotas)));
        self.0.ladder.set(&config.l7.escalation);
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
            route: seen.route.map(cut),
            consumer: consumer.as_deref().and_then(&header).map(cut),
            tls: seen.tls.map(cut),
        }
    }

    /// Finds out who has sent a request.
    #[must_use]
    pub fn client(&self, seen: &Seen<'_>) -> Client {
        who(&self.0.settings.load().clients, seen)
    }

    /// Decides about a request, and charges its quotas.
    pub async fn decide(&self, surface: Surface, request: &Request) -> Decision {
        let started = Instant::now();
        let settings = self.0.settings.load_full();
        let source = self.source(request.client.address);
        let standing = decision::before_quotas(&settings.policy, request, &source);
        standing.failed.iter().for_each(|rule| self.0.counts.rule_failed(rule));
        let decision = settings.conclude(request, standing).await;
        if decision.verdict != Verdict::Allow {
            self.note(request.client, &settings.policy, &decision.why);
            // That it is banned, the ban tells.
            if decision.why != Why::Banned {
                let Decision { verdict, why, .. } = &decision;
                self.0.audit.decided(request.client.address, *verdict, why, surface.as_str());
            }
        }
        self.0.counts.decided(surface, &decision, started.elapsed());
        decision
    }

    /// Takes note of what has been refused.
    fn note(&self, client: Client, policy: &Policy, why: &Why) {
        let cause = match why {
            Why::Risk => Cause::Refused,
            // Who does not stop is banned anew as soon as that is over.
            Why::Banned => Cause::Banned,
            Why::Quota(_) => Cause::Quota,
            Why::Rule(name) => {
                let weight = policy.rules.iter().find(|rule| rule.name == *name).map(|rule| rule.score);
                Cause::Rule { name: Arc::clone(name), weight: weight.unwrap_or_default() }
            }
            Why::Clean | Why::Allowed | Why::Listed | Why::OverLimit | Why::Undecided => return,
        };
        self.0.ladder.note(Offence { client, cause });
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

    /// Asks what quotas of a domain say of descriptors, one answer for each, and charges them, unless
    /// one of them refuses. Descriptors that do not say what they are charged are charged `hits`; there
    /// 0 is 1, as in Envoy's service, whereas 0 in a descriptor only looks. Where that cannot be told
    /// no limit holds.
    pub async fn quota(&self, domain: &str, descriptors: &[Descriptor], hits: u32) -> Vec<Charged> {
        let settings = self.0.settings.load_full();
        let asked = descriptors.iter().map(|descriptor| (domain, descriptor));
        let Ok(mut charged) = settings.quotas.charge(asked, hits.max(1)).await else {
            return vec![Charged::default(); descriptors.len()];
        };
        for charged in &mut charged {
            charged.answer.shadow |= settings.policy.shadow;
        }
        charged
    }

    /// Takes note of what became of a request.
    pub fn feedback(&self, surface: Surface, Feedback { client, status, ours }: Feedback) {
        self.0.counts.told(surface, status, ours);
        // What we have refused was noted then.
        if !ours {
            self.0.ladder.note(Offence { client, cause: Cause::Status(status) });
        }
    }
}

/// Finds out who has sent a request, and whether its packets come from there.
fn who(l7::Clients { trusted, direct, .. }: &l7::Clients, seen: &Seen<'_>) -> Client {
    let forwarded = seen.forwarded.iter().copied();
    let found = match (seen.peer, seen.client) {
        (Some(peer), None) => client::find(trusted, peer, forwarded),
        // It may be a hop itself: a balancer speaks PROXY and has a CDN in front of it.
        (peer, Some(client)) => {
            let Client { address, .. } = client::find(trusted, client, forwarded);
            Client { address, direct: peer.map(|peer| peer.to_canonical()) == Some(address) }
        }
        (None, None) => Client { address: Ipv4Addr::UNSPECIFIED.into(), direct: false },
    };
    // A hop is never the one to be punished.
    Client { direct: *direct && found.direct && !client::is_trusted(trusted, found.address), ..found }
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
mod tests;
