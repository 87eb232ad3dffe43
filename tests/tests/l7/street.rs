use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt},
    time::{TimeVal, TimeValLike as _},
};
use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
    patience,
    peers::{Change, Kind, Proxy},
    web::{Answer, Server},
};

/// A customer.
pub(crate) const CUSTOMER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Many people behind one address.
pub(crate) const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// A hop of a CDN, which is trusted: docs/l7 names it.
pub(crate) const CDN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// Who tries out credentials.
pub(crate) const STUFFER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
/// Who reads all there is.
pub(crate) const SCRAPER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// A client behind the CDN that a list names.
pub(crate) const LISTED: &str = "203.0.113.99";
/// How long an answer may take; dropped packets are noticed by it.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long a ban may take to be seen.
const BAN_SECONDS: u64 = 10;
/// How long a proxy may take until it serves.
const START_SECONDS: u64 = 10;

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    /// Names and values of headers, in small letters.
    head: String,
}

impl Got {
    /// Returns the value of a header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(|(other, _)| *other == name).map(|(_, value)| value.trim()).next_back()
    }
}

/// A gateway with its agent, its proxy and its service, and those who call.
pub(crate) struct Street {
    pub(crate) agent: Agent,
    pub(crate) service: Server,
    pub(crate) proxy: Proxy,
    pub(crate) pair: Pair,
}

impl Street {
    /// Builds one; nothing: there is no such proxy.
    pub(crate) fn new(kind: Kind) -> Result<Option<Self>> {
        let Some(street) = Self::open(kind, &[], true)? else { return Ok(None) };
        street.wait(|street| street.ask(CUSTOMER, "/items", None));
        Ok(Some(street))
    }

    /// Builds one with changes to the configuration of the proxy; `direct`: clients reach it themselves.
    pub(crate) fn open(kind: Kind, changes: &[Change<'_>], direct: bool) -> Result<Option<Self>> {
        let pair = Pair::new()?;
        pair.add_client_addresses([CUSTOMER, OFFICE, CDN, STUFFER, SCRAPER].map(Into::into))?;
        let service = Server::start_at_port(Some(&pair.server), Proxy::SERVICE)?;
        for path in ["/items", "/catalogue", "/forged"] {
            service.answer(path, Answer::ok("here\n"));
        }
        service.answer("/login", Answer::status(401));
        let mut agent = Agent::new(binary()?, &pair.server)?;
        // A list that names a hop cuts nobody off.
        let list = agent.write("list", format!("{LISTED}\n{CDN}\n"))?;
        agent.configure(&format!(
            "enforce: enforce
interfaces: [{{name: {interface}}}]
services: [{{name: web, ports: [{port}/tcp]}}]
feeds: [{{name: bad, path: {list}, action: drop}}]
listen: {{metrics: {metrics}}}
l7:
  listen:
    grpc: ['127.0.0.1:9654']
    http: ['127.0.0.1:9650']
    haproxy: ['127.0.0.1:9651']
    logs: ['127.0.0.1:9653']
  clients: {{trusted_proxies: [{CDN}/32], direct: {direct}, consumer_header: x-api-key}}
  rules:
    - {{name: bad-bot, when: \"request.headers['user-agent'].contains('BadBot')\", then: deny, score: 30}}
  routes:
    - {{name: items, host: api.example.org, path: /items, quotas: [{{domain: api, entries: [consumer]}}]}}
    - {{name: catalogue, path: /catalogue, methods: [GET], quotas: [{{domain: api, entries: [client]}}]}}
  quotas:
    domains:
      - domain: api
        descriptors:
          - {{key: consumer, limits: [{{requests: 20, per: hour, burst: 5}}]}}
          - {{key: client, limits: [{{requests: 60, per: hour, burst: 20}}]}}
  escalation:
    mode: enforce
    weights: {{'401': 5, '403': 2, '404': 1, '429': 2, quota: 5, refused: 1}}
",
            interface = Pair::INTERFACE,
            port = Proxy::PORT,
            list = list.display(),
            metrics = Agent::METRICS,
        ))?;
        agent.start()?;
        let Some(proxy) = Proxy::start_changed(kind, &pair.server, changes)? else { return Ok(None) };
        Ok(Some(Self { agent, service, proxy, pair }))
    }

    /// Waits until it answers: some listen before they have read what to do.
    pub(crate) fn wait(&self, ask: impl Fn(&Self) -> Result<Got>) {
        let deadline = Instant::now() + patience::seconds(START_SECONDS);
        while ask(self).map_or(0, |got| got.status) != 200 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the status of an answer.
    pub(crate) fn status(&self, from: Ipv4Addr, path: &str, forwarded: Option<&str>) -> u16 {
        let answered = self.ask(from, path, forwarded).map_err(|error| format!("{error:#}: {}", self.why()));
        answered.unwrap().status
    }

    /// Asks for a path; `forwarded` is what a hop says of whom it asks for.
    pub(crate) fn ask(&self, from: Ipv4Addr, path: &str, forwarded: Option<&str>) -> Result<Got> {
        let headers: Vec<_> = forwarded.iter().map(|client| ("x-forwarded-for", *client)).collect();
        self.ask_with(from, path, &headers)
    }

    /// Asks for a path with headers.
    pub(crate) fn ask_with(&self, from: Ipv4Addr, path: &str, headers: &[(&str, &str)]) -> Result<Got> {
        ask(&self.pair, from, path, headers)
    }

    /// Fails to log in as a client behind the CDN, until that is banned.
    pub(crate) fn stuff_until_banned(&self, cdn: Ipv4Addr, client: &str, tries: usize) {
        let banned = (0..tries).any(|_| {
            let answered = self.ask(cdn, "/login", Some(client));
            assert!(answered.is_ok(), "the CDN is cut off: {answered:?}; {}", self.why());
            self.bans().contains(client)
        });
        assert!(banned, "not banned after {tries} tries: {}", self.why());
    }

    /// Waits until a ban is in the book.
    pub(crate) fn wait_for_ban(&self, prefix: &str, proxy_only: bool) {
        let deadline = Instant::now() + patience::seconds(BAN_SECONDS);
        loop {
            let bans = self.bans();
            let line =
                bans.lines().map(str::trim_start).find(|line| line.starts_with(&format!("{prefix}/32 ")));
            if line.is_some_and(|line| {
                line.contains(" ban")
                    && line.contains("escalation")
                    && line.contains("(proxies)") == proxy_only
            }) {
                return;
            }
            assert!(Instant::now() < deadline, "no such ban: {bans}; {}", self.why());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn bans(&self) -> String {
        String::from_utf8_lossy(&self.agent.weir(&["bans"]).unwrap().stdout).into_owned()
    }

    /// Returns what there is to find out why something is not as it should be.
    pub(crate) fn why(&self) -> String {
        let metrics = self.agent.get("/metrics").map_or(String::new(), |(_, page)| page);
        let lines: Vec<_> = metrics
            .lines()
            .filter(|line| {
                line.starts_with("weir_l7") && !line.contains("bucket") || line.starts_with("weir_esc")
            })
            .collect();
        format!(
            "bans:\n{}\nproxy:\n{}\nagent:\n{}\n{}",
            self.bans(),
            self.proxy.log(),
            self.agent.log(),
            lines.join("\n")
        )
    }
}

/// Asks the proxy of a gateway for a path, with headers.
pub(crate) fn ask(pair: &Pair, from: Ipv4Addr, path: &str, headers: &[(&str, &str)]) -> Result<Got> {
    ask_behind(pair, from, &[], path, headers)
}

/// Asks it after some bytes that are not HTTP.
pub(crate) fn ask_behind(
    pair: &Pair,
    from: Ipv4Addr,
    preamble: &[u8],
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Got> {
    let to = SocketAddrV4::new(Pair::SERVER.v4, Proxy::PORT);
    let mut stream = pair.client.run(|| dial(from, to))?;
    stream.set_read_timeout(Some(patience::seconds(1).max(PATIENCE)))?;
    stream.write_all(preamble)?;
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: api.example.org\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n")?;
    }
    stream.write_all(format!("{request}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read an answer")?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    Ok(Got { status: status.with_context(|| format!("no status in `{text}`"))?, head })
}

/// Connects from an address.
fn dial(from: Ipv4Addr, to: SocketAddrV4) -> Result<TcpStream> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // It holds for connect as well (socket(7)).
    let patience = TimeVal::milliseconds(i64::try_from(PATIENCE.as_millis())?);
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(to)).context("connect")?;
    let stream = TcpStream::from(socket);
    ensure!(stream.peer_addr().is_ok(), "not connected");
    Ok(stream)
}
