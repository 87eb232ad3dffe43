//! A gateway: namespaces, lists, agent, proxy; and those who send, count and ask all the time.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use weir_tests::{
    agent::{Agent, binary},
    metrics::Metrics,
    namespace::Pair,
    patience, traffic,
    web::Server,
};

use crate::{
    flow::{Flow, LIMIT, LISTED_V6, Sources},
    ledger::Ledger,
    requests::{HOP, Requests},
    sender::Traffic,
};

/// Where the agent answers proxies.
pub(crate) const HTTP: SocketAddr = local(9650);
pub(crate) const SPOP: SocketAddr = local(9651);
pub(crate) const LOGS: SocketAddr = local(9653);
pub(crate) const GRPC: SocketAddr = local(9654);
/// Where the server of the lists is: an address that lists may come from.
const PUBLIC: &str = "192.0.2.80";
/// The second interface, which comes and goes.
pub(crate) const SECOND: &str = "eth1";
/// The disk of the state directory.
const DISK: &str = "size=4m";
/// How long the agent may take for something.
const PATIENCE_SECONDS: u64 = 30;
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);
/// Bans that faults are tried with.
pub(crate) const EXTRA_BANS: [&str; 2] = ["100.127.254.9", "100.127.254.10"];
/// A clean source of the helper [`traffic`] is judged on the second interface.
pub(crate) const STEADY: [&str; 2] = [LISTED_V6, "198.51.100.7"];

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// A gateway under traffic.
#[derive(Debug)]
pub struct Stand {
    /// The two ends of the cable.
    pub pair: Pair,
    /// The agent.
    pub agent: Agent,
    /// The server of the lists.
    pub lists: Server,
    /// Who sends.
    pub sources: Arc<Sources>,
    /// What was counted.
    pub ledger: Arc<Ledger>,
    /// What chance says.
    pub random: fastrand::Rng,
    traffic: Option<Traffic>,
    requests: Option<Requests>,
    /// What interface and agent had counted before it began.
    before: Counted,
    /// Requests go through a proxy.
    pub(crate) has_proxy: bool,
    /// The program of the agent.
    pub(crate) program: PathBuf,
}

/// Frames that have come in, as the interface says, and as weir does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The interface of the kernel.
    pub received: u64,
    /// The sum over all reasons.
    pub judged: u64,
}

impl Stand {
    /// Builds one whose choices the seed makes, and has the traffic begin.
    ///
    /// # Errors
    /// If the kernel refuses (it takes root), or the agent does not start.
    pub fn start(seed: u64, list: &Path) -> Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let sources = Arc::new(Sources::load(list, &mut random)?);
        let pair = Pair::new()?;
        pair.add_cable(SECOND, 1)?;
        pair.bridge(&[Pair::INTERFACE, SECOND])?;
        pair.server.ip(&format!("addr add {PUBLIC}/32 dev lo"))?;
        let lists = Server::start_at(Some(&pair.server), PUBLIC.parse()?)?;
        let program = binary()?;
        let agent = Agent::new(&program, &pair.server)?;
        let state = agent.directory().join("state");
        fs::create_dir(&state).context("make the state directory")?;
        let disk = || Ok(mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), Some(DISK))?);
        pair.server.run(disk).context("mount a small disk")?;
        let ledger = Arc::new(Ledger::default());
        let mut stand = Self {
            pair,
            agent,
            lists,
            sources,
            ledger,
            random,
            traffic: None,
            requests: None,
            before: Counted::default(),
            has_proxy: false,
            program,
        };
        stand.put_back()?;
        stand.agent.start()?;
        stand.wait("the lists in force", Self::has_all_lists)?;
        let banned: Vec<_> = stand.sources.of(Flow::Banned).iter().map(ToString::to_string).collect();
        let mut command = vec!["ban", "--for", "forever"];
        command.extend(banned.iter().map(String::as_str));
        stand.say(&command)?;
        stand.before = stand.counted()?;
        let requests = Requests::start(&stand.pair.server, &stand.ledger)?;
        stand.has_proxy = requests.has_proxy();
        stand.requests = Some(requests);
        stand.traffic = Some(Traffic::start(&stand.pair, &stand.sources, &stand.ledger)?);
        Ok(stand)
    }

    /// Ends traffic and requests, and returns what was received and judged since they began.
    ///
    /// # Errors
    /// If frames were lost between the interface and the count.
    pub fn quiet(&mut self) -> Result<Counted> {
        self.requests = None;
        if let Some(traffic) = self.traffic.take() {
            traffic.stop().context("the traffic")?;
        }
        let now = self.counted()?;
        Ok(Counted {
            received: now.received - self.before.received,
            judged: now.judged.saturating_sub(self.before.judged),
        })
    }

    /// Returns what interface and agent have counted so far.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn counted(&self) -> Result<Counted> {
        let path = format!("/sys/class/net/{}/statistics/rx_packets", Pair::INTERFACE);
        let received = self.pair.server.run(|| {
            let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            text.trim().parse().with_context(|| format!("read {path}"))
        })?;
        let interface = [("interface", Pair::INTERFACE)];
        Ok(Counted { received, judged: self.agent.metrics()?.count("weir_packets_total", &interface) })
    }

    /// Returns the configuration, with the second interface in a mode or without it.
    #[must_use]
    pub fn config(&self, second: Option<&str>) -> String {
        let allowed: Vec<_> = self.sources.of(Flow::Allowed).iter().map(|a| format!("{a}/32")).collect();
        let second = second.map_or_else(String::new, |mode| format!(", {{name: {SECOND}, mode: {mode}}}"));
        format!(
            "enforce: enforce
interfaces: [{{name: {interface}, mode: native}}{second}]
services: [{{name: https, ports: [443/udp]}}]
allow: [{allowed}]
feeds:
  - {{name: ipsum, url: '{ipsum}', action: drop, interval: 1s, http: {{insecure: true, timeout: 2s}}, guards: {{bytes: 8MiB}}}}
  - {{name: steady, url: '{steady}', action: drop, interval: 1s, http: {{insecure: true}}, guards: {{growth: 1000000, shrink: 100}}}}
  - {{name: local, path: '{directory}/local.netset', action: drop, guards: {{growth: 1000000, shrink: 100}}}}
limits: [{{name: per-source, service: https, packets: {{rate: {rate}/s, burst: {burst}}}}}]
listen: {{metrics: {metrics}}}
tables: {{limiter: 8MiB}}
audit: {{size: 256KiB, files: 2}}
l7:
  listen: {{grpc: ['{GRPC}'], http: ['{HTTP}'], haproxy: ['{SPOP}'], logs: ['{LOGS}']}}
  clients: {{trusted_proxies: [{HOP}/32]}}
  escalation: {{mode: 'off'}}
",
            interface = Pair::INTERFACE,
            allowed = allowed.join(", "),
            ipsum = self.lists.url("/ipsum"),
            steady = self.lists.url("/steady"),
            directory = self.agent.directory().display(),
            rate = LIMIT.0,
            burst = LIMIT.1,
            metrics = Agent::METRICS,
        )
    }

    /// Has lists and configuration as they should be.
    fn put_back(&self) -> Result<()> {
        self.lists.list("/ipsum", self.sources.list.clone());
        self.lists.list("/steady", STEADY.map(|line| format!("{line}\n")).concat());
        self.agent.write("local.netset", "203.0.113.77\n")?;
        self.agent.configure(&self.config(Some("auto")))
    }

    fn has_all_lists(metrics: &Metrics, stand: &Self) -> bool {
        stand.lists_in(metrics) && metrics.count("weir_feed_held", &[]) == 0
    }

    /// Returns whether all lists are in force as they should be.
    pub(crate) fn lists_in(&self, metrics: &Metrics) -> bool {
        let entries = |feed| metrics.count("weir_feed_entries", &[("feed", feed)]);
        let wanted = [("ipsum", self.sources.listed.len()), ("steady", STEADY.len()), ("local", 1)];
        wanted.into_iter().all(|(feed, wanted)| entries(feed) == wanted as u64)
    }

    /// Checks that what is enforced is what should be, by what the agent says; the frames say the rest.
    pub(crate) fn unchanged(&self) -> Result<()> {
        let metrics = self.agent.metrics()?;
        let entries = metrics.series("weir_feed_entries").map(|(series, value)| format!("{series} {value}"));
        ensure!(
            self.lists_in(&metrics),
            "lists are not as they were: {}",
            entries.collect::<Vec<_>>().join(", ")
        );
        Ok(())
    }

    /// Ends whatever fault there is, and waits until all is as it should be. Returns how long it took.
    ///
    /// # Errors
    /// If it is not in time; with the end of the log.
    pub fn recover(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.put_back()?;
        if self.agent.signal(Signal::SIGCONT).is_err() {
            self.agent.start()?;
        } else {
            self.reload("ok")?;
            for feed in ["ipsum", "steady"] {
                // It may be asked already.
                _ = self.agent.weir(&["feeds", "refresh", feed])?;
            }
        }
        // What a fault has left behind.
        for extra in EXTRA_BANS {
            _ = self.agent.weir(&["unban", extra])?;
        }
        let bans = self.sources.of(Flow::Banned).len() as u64;
        self.wait("all as before", |metrics, stand| {
            let attached = |interface, mode| {
                metrics.count("weir_interface_attached", &[("interface", interface), ("mode", mode)]) == 1
            };
            Self::has_all_lists(metrics, stand)
                && attached(Pair::INTERFACE, "native")
                && attached(SECOND, "native")
                && metrics.count("weir_rules", &[("action", "ban")]) == bans
                && metrics.count("weir_alerts", &[("kind", "audit_failed")]) == 0
        })?;
        Ok(begun.elapsed())
    }

    /// Has the agent reload its configuration, and waits for the result.
    pub(crate) fn reload(&mut self, result: &str) -> Result<()> {
        let labels = [("result", result)];
        let before = self.agent.metrics()?.count("weir_config_reloads_total", &labels);
        self.agent.signal(Signal::SIGHUP)?;
        self.wait(&format!("a reload that is {result}"), |metrics, _| {
            metrics.count("weir_config_reloads_total", &[("result", result)]) > before
        })
    }

    /// Waits until the metrics say something.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Metrics, &Self) -> bool) -> Result<()> {
        self.wait_until(what, || self.agent.metrics().is_ok_and(|metrics| holds(&metrics, self)))
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        while !holds() {
            if Instant::now() > deadline {
                bail!("not in time: {what}; the log ends with\n{}", self.log_tail());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until the log says something, from a place on.
    pub(crate) fn wait_for_log(&self, from: usize, word: &str) -> Result<()> {
        self.wait_until(&format!("a word of `{word}` in the log"), || self.log_from(from).contains(word))
    }

    /// Returns the place at which the log ends.
    pub(crate) fn log_end(&self) -> usize {
        self.agent.log().len()
    }

    /// Returns the log from a place on.
    pub(crate) fn log_from(&self, place: usize) -> String {
        self.agent.log().get(place..).unwrap_or_default().to_owned()
    }

    /// Returns the last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.agent.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Runs a command of the agent that must succeed, and returns what it says.
    pub(crate) fn say(&self, command: &[&str]) -> Result<String> {
        let output = self.agent.weir(command)?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "weir {}: {said}", command.join(" "));
        Ok(said)
    }

    /// Checks with traffic on the second interface that packets of a listed source are dropped there
    /// and others are not, while `meanwhile` goes on.
    pub(crate) fn judge_second(&mut self, meanwhile: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let traffic = traffic::Traffic::start(&self.pair, &[SECOND], 500)?;
        let done = meanwhile(self);
        thread::sleep(Duration::from_millis(100));
        let flows = traffic.stop_without_a_gap().with_context(|| format!("traffic on {SECOND}"));
        done.and(flows.map(drop))
    }

    /// Waits for as long as chance says, between two bounds in ms.
    pub(crate) fn pause(&mut self, least: u64, most: u64) {
        thread::sleep(Duration::from_millis(self.random.u64(least..=most)));
    }
}
