use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse,
    authorization_server::{Authorization, AuthorizationServer},
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use tokio::runtime::Runtime;
use tonic::{
    Request, Response, Status, codegen::tokio_stream::wrappers::TcpListenerStream, transport::Server,
};
use weir_tests::{
    agent::{Agent, binary},
    namespace::{Namespace, Pair},
    patience,
    peers::{Kind, Proxy, missing},
    web::{self, Answer},
};

/// A client that is connected to Envoy.
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Another, who reads all there is.
const SCRAPER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// A trusted hop.
const HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// Clients behind the hop.
const READER: &str = "203.0.113.5";
const BANNED: &str = "203.0.113.66";
const LISTED: &str = "203.0.113.99";
/// Where the configuration has weir.
const GRPC: &str = "127.0.0.1:9654";
const ADMIN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901);
/// Requests that a client may send at once.
const BURST: usize = 20;
/// How long news may take.
const PATIENCE_SECONDS: u64 = 15;

/// A gateway: agent, Envoy and service, and a cable to clients.
struct Gateway {
    pair: Pair,
    agent: Agent,
    service: web::Server,
    proxy: Proxy,
}

impl Gateway {
    fn start(test: &str) -> Option<Self> {
        let pair = Pair::new().unwrap();
        pair.add_client_addresses([CLIENT, SCRAPER, HOP].map(Into::into)).unwrap();
        let service = service(&pair.server);
        let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
        let list = agent.write("list", format!("{LISTED}\n")).unwrap();
        agent
            .configure(&format!(
                "enforce: enforce
interfaces: [{{name: {interface}}}]
feeds: [{{name: bad, path: {list}, action: drop}}]
listen: {{metrics: {metrics}}}
l7:
  listen: {{grpc: ['{GRPC}']}}
  clients: {{trusted_proxies: [{HOP}/32]}}
  quotas:
    domains:
      - domain: gateway
        descriptors:
          - key: route
            value: service
            descriptors: [{{key: remote_address, limits: [{{requests: 60, per: hour, burst: {BURST}}}]}}]
",
                interface = Pair::INTERFACE,
                list = list.display(),
                metrics = Agent::METRICS,
            ))
            .unwrap();
        agent.start().unwrap();
        let Some(proxy) = Proxy::start(Kind::Envoy, &pair.server).unwrap() else {
            missing(test, "envoy");
            return None;
        };
        Some(Self { pair, agent, service, proxy })
    }

    /// Asks Envoy for a path; returns the head of the answer.
    fn ask(&self, from: Ipv4Addr, path: &str, headers: &str) -> String {
        let to = SocketAddrV4::new(Pair::SERVER.v4, Proxy::PORT);
        ask(&self.pair.client, Some(from), to, path, headers)
    }

    fn ask_behind_hop(&self, client: &str, path: &str) -> String {
        self.ask(HOP, path, &format!("X-Forwarded-For: {client}\r\n"))
    }

    /// Waits until weir has been told of so many requests with that class of status.
    fn wait_for_feedback(&self, class: &str, at_least: f64) {
        let told = || {
            let labels = [("surface", "grpc"), ("status", class)];
            self.agent.metrics().unwrap().sum("weir_l7_feedback_total", &labels)
        };
        wait_for(|| told() >= at_least, || format!("{} of {class}; {}", told(), self.why()));
    }

    fn why(&self) -> String {
        format!("envoy:\n{}\nagent:\n{}", self.proxy.log(), self.agent.log())
    }
}

fn service(namespace: &Namespace) -> web::Server {
    let service = web::Server::start_at_port(Some(namespace), Proxy::SERVICE).unwrap();
    service.answer("/items", Answer::ok("here\n"));
    service.answer("/forged", Answer::ok("here\n"));
    service
}

fn ask(namespace: &Namespace, from: Option<Ipv4Addr>, to: SocketAddrV4, path: &str, headers: &str) -> String {
    let dial = || {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        if let Some(from) = from {
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0)))?;
        }
        connect(socket.as_raw_fd(), &SockaddrIn::from(to))?;
        Ok(TcpStream::from(socket))
    };
    let mut stream = namespace.run(dial).unwrap();
    stream.set_read_timeout(Some(patience::seconds(PATIENCE_SECONDS))).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: api.example.org\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn wait_for(is_so: impl Fn() -> bool, why: impl Fn() -> String) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", why());
        thread::sleep(Duration::from_millis(50));
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn asked_told_and_gone() {
    let Some(mut gateway) = Gateway::start("envoy::asked_told_and_gone") else { return };
    passes(&gateway);
    is_refused(&gateway);
    is_charged(&gateway);
    tells(&gateway);
    // Without the agent everybody passes, and nobody speaks for it.
    gateway.agent.kill().unwrap();
    let answer = gateway.ask(HOP, "/forged", "X-Forwarded-For: 203.0.113.66\r\nX-Weir-Verdict: forged\r\n");
    assert_eq!(status(&answer), "200", "{}", gateway.why());
    let (seen, _) = gateway.service.asked("/forged").pop().unwrap();
    assert_eq!(seen.header("x-envoy-auth-failure-mode-allowed"), "true", "{seen:?}");
    assert!(!format!("{:?}", seen.headers).contains("forged"), "{seen:?}");
}

/// Who is clean passes, and the service sees what was decided.
fn passes(gateway: &Gateway) {
    for answer in [gateway.ask(CLIENT, "/items", ""), gateway.ask_behind_hop(READER, "/items")] {
        assert_eq!(status(&answer), "200", "{answer}; {}", gateway.why());
        assert!(!answer.contains("x-weir"), "that is for the service: {answer}");
    }
    let (seen, _) = gateway.service.asked("/items").pop().unwrap();
    assert_eq!((seen.header("x-weir-verdict"), seen.header("x-weir-reason")), ("allow", "clean"));
    assert_eq!(seen.header("x-weir-score"), "0");
    gateway.ask(CLIENT, "/forged", "X-Weir-Verdict: forged\r\nX-Weir-Partner: forged\r\n");
    let (seen, _) = gateway.service.asked("/forged").pop().unwrap();
    assert!(!format!("{:?}", seen.headers).contains("forged"), "{seen:?}");
    assert_eq!(seen.header("x-weir-verdict"), "allow");
}

/// Clients behind a hop, whose packets are those of the hop.
fn is_refused(gateway: &Gateway) {
    let answer = gateway.ask_behind_hop(LISTED, "/items");
    assert_eq!(status(&answer), "403", "{answer}; {}", gateway.why());
    assert!(answer.contains("x-weir-verdict: deny") && answer.contains("x-weir-reason: listed"), "{answer}");
    assert!(gateway.agent.weir(&["ban", BANNED, "--for", "10m"]).unwrap().status.success());
    let answer = gateway.ask_behind_hop(BANNED, "/items");
    assert_eq!(status(&answer), "403", "{answer}; {}", gateway.why());
    assert!(answer.contains("x-weir-reason: banned") && answer.contains("retry-after: "), "{answer}");
    // The last address that is not trusted counts, whatever stands before it.
    assert_eq!(status(&gateway.ask_behind_hop(&format!("{READER}, {BANNED}"), "/items")), "403");
    assert_eq!(status(&gateway.ask_behind_hop(&format!("{BANNED}, {READER}"), "/items")), "200");
    // Who is not behind the hop is not believed.
    let answer = gateway.ask(CLIENT, "/items", &format!("X-Forwarded-For: {BANNED}\r\n"));
    assert_eq!(status(&answer), "200", "{answer}");
}

/// Envoy's own count of answers to its questions about quotas.
fn is_charged(gateway: &Gateway) {
    let stats = || ask(&gateway.pair.server, None, ADMIN, "/stats?filter=ratelimit", "");
    let count = |name: &str| {
        let name = format!("cluster.service.ratelimit.{name}: ");
        let number = stats().lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok());
        number.unwrap_or(0)
    };
    // Refused requests do not come that far.
    wait_for(|| count("ok") >= 5, stats);
    assert_eq!(count("error"), 0, "{}", stats());
    // One of many requests is over, and says when to come again; others have budgets of their own.
    for number in 0..BURST {
        let answer = gateway.ask(SCRAPER, "/items", "");
        assert_eq!(status(&answer), "200", "{number}: {answer}; {}", gateway.why());
    }
    let answer = gateway.ask(SCRAPER, "/items", "");
    assert_eq!(status(&answer), "429", "{answer}; {}", gateway.why());
    for header in ["x-ratelimit-limit: 60, 60;w=3600", "x-ratelimit-remaining: 0", "retry-after: "] {
        assert!(answer.contains(header), "no `{header}` in {answer}");
    }
    assert_eq!(status(&gateway.ask(CLIENT, "/items", "")), "200", "{}", gateway.why());
}

fn tells(gateway: &Gateway) {
    // What we have refused ourselves is told too, and known.
    gateway.wait_for_feedback("ours", 4.0);
    let metrics = gateway.agent.metrics().unwrap();
    assert!(metrics.sum("weir_l7_feedback_total", &[("status", "4xx")]).abs() < 0.1, "{}", gateway.why());
    assert_eq!(status(&gateway.ask(CLIENT, "/nowhere", "")), "404");
    gateway.wait_for_feedback("4xx", 1.0);
    let decided = gateway.agent.metrics().unwrap().sum("weir_l7_decisions_total", &[("verdict", "deny")]);
    assert!((decided - 3.0).abs() < 0.1, "{decided}");
}

/// In the place of the agent, to see what Envoy says.
struct Stub(mpsc::Sender<(String, CheckRequest)>);

#[tonic::async_trait]
impl Authorization for Stub {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let peer = request.metadata().get("x-weir-peer").map_or("", |peer| peer.to_str().unwrap());
        self.0.send((peer.to_owned(), request.get_ref().clone())).unwrap();
        Ok(Response::new(CheckResponse::default()))
    }
}

/// A question alone does not say who is connected: with `use_remote_address` it is the source, without
/// it may be anybody. What the configuration adds says it.
#[test]
fn envoy_says_who_is_connected() {
    let pair = Pair::new().unwrap();
    let _service = service(&pair.server);
    let address: SocketAddr = GRPC.parse().unwrap();
    let listener = pair.server.run(|| Ok(std::net::TcpListener::bind(address)?)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (sender, questions) = mpsc::channel();
    let runtime = Runtime::new().unwrap();
    runtime.spawn(async move {
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let server = Server::builder().add_service(AuthorizationServer::new(Stub(sender)));
        server.serve_with_incoming(incoming).await
    });
    let Some(_proxy) = Proxy::start(Kind::Envoy, &pair.server).unwrap() else {
        return missing("envoy::envoy_says_who_is_connected", "envoy");
    };
    let to = SocketAddrV4::new(Pair::SERVER.v4, Proxy::PORT);
    let forged = "X-Forwarded-For: 203.0.113.66\r\nX-Weir-Peer: 203.0.113.66\r\n";
    ask(&pair.client, None, to, "/items", forged);
    let (peer, question) = questions.recv_timeout(patience::seconds(PATIENCE_SECONDS)).unwrap();
    assert_eq!(peer, Pair::CLIENT.v4.to_string());
    let attributes = question.attributes.unwrap();
    assert_eq!(attributes.context_extensions["route"], "service");
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!(http.headers["x-forwarded-for"], format!("203.0.113.66,{}", Pair::CLIENT.v4));
    assert!(!http.headers.contains_key("x-weir-peer"), "{http:?}");
}
