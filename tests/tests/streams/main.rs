//! Decisions, indicators and routes, from the servers that have them in the world: first what a source
//! makes of them, then what the kernel drops.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// `CrowdSec`'s LAPI.
mod crowdsec;
/// The TAXII server medallion.
mod taxii;
/// Files of a MISP feed.
mod misp;
/// exabgp.
mod bgp;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};
use weir::{
    config::Config,
    feed::{
        Listing, Rejected,
        source::{FetchError, Fetched, Source},
        store::Validators,
    },
};
use weir_tests::{
    agent::Agent,
    frame::{Frame, Sight},
    namespace::{Namespace, Pair},
    patience,
    wire::{Receiver, Wire},
};

/// How long news may take.
const PATIENCE_SECONDS: u64 = 30;

/// The source of a feed, asked by hand, and what it has told.
struct Asked {
    runtime: Runtime,
    source: Source,
    listing: Listing,
    rejected: Rejected,
}

impl Asked {
    /// Returns the source of a feed, as the configuration has it.
    fn new(feed: &str) -> Self {
        let text = format!(
            "interfaces: [{{name: eth0}}]\nservices: [{{name: https, ports: [443/tcp]}}]\nfeeds:\n  - {feed}\n"
        );
        let config = Config::parse(Path::new("weir.yaml"), &text).unwrap();
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            source: Source::new(&config.feeds[0]).unwrap(),
            listing: Listing::default(),
            rejected: Rejected::default(),
        }
    }

    /// Asks from a namespace. Returns whether there was something new.
    fn ask(&mut self, namespace: &Namespace) -> Result<bool, FetchError> {
        let fetched =
            namespace.run(|| Ok(self.runtime.block_on(self.source.fetch(&Validators::default())))).unwrap();
        match fetched? {
            Fetched::Unchanged => return Ok(false),
            Fetched::Ledger(ledger, rejected) => (self.listing, self.rejected) = (ledger.listing(), rejected),
            Fetched::List(parsed) => {
                self.listing = Listing { entries: parsed.entries.into(), ..Listing::default() };
                self.rejected = parsed.rejected;
            }
            Fetched::Text(..) => unreachable!("a stream has no text"),
        }
        Ok(true)
    }

    /// Returns what is listed, IPv4 as numbers in text, sorted; `~` marks what is held to limits.
    fn listed(&self) -> Vec<String> {
        let of = |entries: &weir::feed::Entries, mark: &str| {
            let v4 = entries
                .v4
                .iter()
                .map(|(bits, length)| format!("{mark}{}/{length}", Ipv4Addr::from_bits(*bits)));
            let v6 = entries.v6.iter().map(|(bits, length)| {
                let bits = u128::from(bits.high) << 64 | u128::from(bits.low);
                format!("{mark}{}/{length}", Ipv6Addr::from_bits(bits))
            });
            v4.chain(v6).collect::<Vec<_>>()
        };
        let mut all = [of(&self.listing.entries, ""), of(&self.listing.throttled, "~")].concat();
        all.sort();
        all
    }

    /// Asks until this is listed.
    fn wait_for(&mut self, namespace: &Namespace, want: &[&str]) {
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        loop {
            self.ask(namespace).unwrap();
            if self.listed() == want {
                return;
            }
            assert!(Instant::now() < deadline, "{:?} rather than {want:?}", self.listed());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Packets that are sent at once.
const PACKETS: usize = 20;

/// Sends packets from a source to a port until so many of them arrive.
fn wait_for_arrivals(
    pair: &Pair,
    agent: &Agent,
    source: Ipv4Addr,
    port: u16,
    is_right: impl Fn(usize) -> bool,
) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    let frame = Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, port).payload(b"weir").build();
    loop {
        let start = || Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source));
        let receiver = pair.server.run(start).unwrap();
        let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
        (0..PACKETS).for_each(|_| wire.send(&frame).unwrap());
        let arrived = receiver.stop().unwrap().packets(&source.into());
        if is_right(arrived) {
            return;
        }
        assert!(Instant::now() < deadline, "{arrived} of {PACKETS} from {source} arrive\n{}", agent.log());
        thread::sleep(Duration::from_millis(100));
    }
}

/// Sends packets from a source until all of them are dropped, or none is.
fn wait_for_packets(pair: &Pair, agent: &Agent, source: Ipv4Addr, dropped: bool) {
    wait_for_arrivals(pair, agent, source, 53, |arrived| arrived == if dropped { 0 } else { PACKETS });
}

/// Starts an agent with this feed.
fn started(pair: &Pair, feed: &str) -> Agent {
    let mut agent = Agent::new(weir_tests::agent::binary().unwrap(), &pair.server).unwrap();
    let config = format!(
        "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/tcp, 443/udp]}}]
feeds:
  - {feed}
limits: [{{name: per-source, service: https, packets: {{rate: 10000/s, burst: 20000, suspicious: {{rate: 1/m, burst: 5}}}}}}]
listen: {{metrics: 127.0.0.1:9646}}
tables: {{limiter: 8MiB}}
"
    );
    agent.configure(&config).unwrap();
    agent.start().unwrap();
    agent
}
