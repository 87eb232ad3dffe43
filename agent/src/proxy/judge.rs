//! What is decided, for every surface: the world as it is, and the settings as they are, under one
//! handle that is cheap to clone.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;

use super::{Surface, counts::Counts};
use crate::{
    config::{
        Config,
        l7::{self, escalation::Mode},
    },
    datapath::{memory::Mapped, onlooker::Onlooker},
    decision::{
        self, Client, Decision, Policy, Sanctions, Source, Verdict, Why, client, risk::Thresholds,
        source::Names,
    },
    escalate::{Cause, Ladder, Offence},
    record::seconds,
    rules::Bulletin,
};

/// What a proxy says of a request, before it is known who the client is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'s> {
    /// Who has connected to the proxy. Nothing: it does not say.
    pub peer: Option<IpAddr>,
    /// Who the proxy holds to be the client, where it has settings of its own for that.
    pub client: Option<IpAddr>,
    /// Values of X-Forwarded-For, in the order of the message.
    pub forwarded: &'s [&'s str],
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
        let escalation = &config.l7.escalation;
        let thresholds = Thresholds {
            challenge_at: escalation.challenge_at,
            throttle_at: escalation.throttle_at,
            shadow: escalation.mode == Mode::Shadow,
        };
        let policy = Policy {
            shadow: config.enforce.is_shadow(),
            thresholds: (escalation.mode != Mode::Off).then_some(thresholds),
        };
        Self { clients: config.l7.clients.clone(), policy }
    }
}

impl Judge {
    /// Returns a judge over what is in force.
    ///
    /// # Errors
    /// If two metrics have one name.
    pub fn new(config: &Config, world: World, ladder: Ladder) -> prometheus::Result<Self> {
        let counts = Counts::new()?;
        ladder.register(&counts.registry)?;
        Ok(Self(Arc::new(Inner {
            settings: ArcSwap::from_pointee(Settings::new(config)),
            world: ArcSwap::from_pointee(world),
            sanctions: ArcSwap::default(),
            ladder,
            counts,
        })))
    }

    /// Sets what is in force.
    pub fn set(&self, config: &Config, world: World) {
        self.0.settings.store(Arc::new(Settings::new(config)));
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

    /// Returns what is counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Finds out who has sent a request.
    #[must_use]
    pub fn client(&self, seen: &Seen<'_>) -> Client {
        let settings = self.0.settings.load();
        let trusted = &settings.clients.trusted;
        let found = match (seen.peer, seen.client) {
            (Some(peer), None) => client::find(trusted, peer, seen.forwarded.iter().copied()),
            // It may be a hop itself: a balancer speaks PROXY and has a CDN in front of it.
            (peer, Some(client)) => {
                let Client { address, .. } = client::find(trusted, client, seen.forwarded.iter().copied());
                Client { address, direct: peer.map(|peer| peer.to_canonical()) == Some(address) }
            }
            (None, None) => Client { address: Ipv4Addr::UNSPECIFIED.into(), direct: false },
        };
        // A hop is never the one to be punished.
        Client { direct: found.direct && !client::is_trusted(trusted, found.address), ..found }
    }

    /// Decides about a request of a client.
    #[must_use]
    pub fn decide(&self, surface: Surface, client: Client) -> Decision {
        let started = Instant::now();
        let source = self.source(client.address);
        let decision = decision::decide(&self.0.settings.load().policy, &source);
        // Envoy does not say here whether the client is direct; its log does.
        if decision.verdict != Verdict::Allow && surface != Surface::Grpc {
            match decision.why {
                Why::Risk => self.0.ladder.note(Offence { client, cause: Cause::Refused }),
                // Who does not stop is banned anew as soon as that is over.
                Why::Banned => self.0.ladder.note(Offence { client, cause: Cause::Banned }),
                Why::Clean | Why::Allowed | Why::Listed | Why::OverLimit => {}
            }
        }
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
    pub fn feedback(&self, surface: Surface, feedback: Feedback) {
        let Feedback { client, status, ours } = feedback;
        self.0.counts.told(surface, status, ours);
        if !ours {
            self.0.ladder.note(Offence { client, cause: Cause::Status(status) });
        } else if surface == Surface::Grpc && self.0.ladder.refuses(client.address) {
            self.0.ladder.note(Offence { client, cause: Cause::Refused });
        }
    }
}
