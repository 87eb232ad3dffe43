//! SPOP by hand (doc/SPOE.txt of HAProxy, section 3): frames as they should be, and as they should not.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
};

const ADDRESS: &str = "127.0.0.1:9651";
const BANNED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);

const HELLO: u8 = 1;
const DISCONNECT: u8 = 2;
const NOTIFY: u8 = 3;
const AGENT_HELLO: u8 = 101;
const AGENT_DISCONNECT: u8 = 102;
const ACK: u8 = 103;
const FIN: u8 = 1;

fn started() -> (Pair, Agent) {
    let pair = Pair::new().unwrap();
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent
        .configure(&format!(
            "enforce: enforce\ninterfaces: [{{name: {}}}]\nlisten: {{metrics: {}}}\nl7:\n  listen: {{haproxy: ['{ADDRESS}']}}\n",
            Pair::INTERFACE,
            Agent::METRICS,
        ))
        .unwrap();
    agent.start().unwrap();
    assert!(agent.weir(&["ban", &BANNED.to_string(), "--for", "10m"]).unwrap().status.success());
    (pair, agent)
}

/// A text with its length; short ones only.
fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let body = [&[kind, 0, 0, 0, flags, stream, stream], payload].concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

fn hello(healthcheck: bool) -> Vec<u8> {
    let string = |name: &str, value: &str| [text(name), vec![8], text(value)].concat();
    let mut payload =
        [string("supported-versions", "2.0"), string("capabilities", "pipelining,async")].concat();
    // 16380, in the numbers of HAProxy's peers protocol.
    payload.extend([text("max-frame-size"), vec![3, 0xfc, 0xf0, 0x06]].concat());
    payload.extend([text("healthcheck"), vec![1 | u8::from(healthcheck) << 4]].concat());
    frame(HELLO, FIN, 0, &payload)
}

fn check(stream: u8, client: Ipv4Addr) -> Vec<u8> {
    let ip = [&text("ip")[..], &[6], &client.octets()].concat();
    let path = [text("path"), vec![8], text("/login")].concat();
    let payload = [text("weir-check"), vec![3], ip, path, text("xff"), vec![0]].concat();
    frame(NOTIFY, FIN, stream, &payload)
}

fn feedback(client: Ipv4Addr, status: u8, verdict: &str) -> Vec<u8> {
    let ip = [&text("ip")[..], &[6], &client.octets()].concat();
    let status = [text("status"), vec![4, status]].concat();
    let verdict = [text("verdict"), vec![8], text(verdict)].concat();
    frame(NOTIFY, FIN, 9, &[text("weir-feedback"), vec![3], ip, status, verdict].concat())
}

struct Connection(TcpStream);

impl Connection {
    fn open(pair: &Pair) -> Self {
        let address: SocketAddr = ADDRESS.parse().unwrap();
        let stream = pair.server.run(|| Ok(TcpStream::connect(address)?)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Opens one and shakes hands.
    fn greet(pair: &Pair) -> Self {
        let mut connection = Self::open(pair);
        connection.send(&hello(false));
        let (kind, payload) = connection.receive().unwrap();
        assert_eq!(kind, AGENT_HELLO);
        assert!(has(&payload, "pipelining") && !has(&payload, "async") && !has(&payload, "fragmentation"));
        connection
    }

    fn send(&mut self, bytes: &[u8]) {
        // It may be closed before all is written.
        _ = self.0.write_all(bytes);
    }

    /// Returns the type and the rest of the next frame; nothing at the end.
    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut body).ok()?;
        Some((body[0], body.split_off(5)))
    }

    /// Waits for a farewell with a status, and the end.
    fn farewell(mut self, status: u8, what: &str) {
        let (kind, payload) = self.receive().unwrap_or_default();
        assert_eq!(kind, AGENT_DISCONNECT, "{what}");
        let code = [text("status-code"), vec![3, status]].concat();
        assert!(payload.windows(code.len()).any(|part| part == code), "{what}: {payload:?}");
        assert_eq!(self.receive(), None, "{what}");
    }
}

fn has(payload: &[u8], text: &str) -> bool {
    payload.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn questions_are_answered_in_their_order() {
    let (pair, agent) = started();
    let mut connection = Connection::greet(&pair);
    // One behind the other, in pieces that are no frames.
    let frames = [check(1, BANNED), check(2, OTHER), feedback(OTHER, 200, ""), check(3, BANNED)].concat();
    let (start, rest) = frames.split_at(30);
    connection.send(start);
    connection.send(rest);
    for (stream, words) in [
        (1, &["verdict", "deny", "reason", "banned", "retry_after"][..]),
        (2, &["verdict", "allow", "reason", "clean", "score"]),
        (9, &[]),
        (3, &["verdict", "deny"]),
    ] {
        let (kind, payload) = connection.receive().unwrap();
        assert_eq!((kind, payload[0]), (ACK, stream));
        assert!(words.iter().all(|word| has(&payload, word)), "{}", String::from_utf8_lossy(&payload));
    }
    connection.send(&feedback(OTHER, 200, "deny"));
    assert_eq!(connection.receive().unwrap().0, ACK);
    let metrics = agent.metrics().unwrap();
    for class in ["2xx", "ours"] {
        let told = metrics.sum("weir_l7_feedback_total", &[("surface", "haproxy"), ("status", class)]);
        assert!((told - 1.0).abs() < 0.1, "{class}: {told}");
    }
    // HAProxy takes leave, and is answered.
    let leave = [text("status-code"), vec![3, 0], text("message"), vec![8], text("normal")].concat();
    connection.send(&frame(DISCONNECT, FIN, 0, &leave));
    connection.farewell(0, "leave");
}

#[test]
fn a_check_of_health_is_answered_and_over() {
    let (pair, _agent) = started();
    let mut connection = Connection::open(&pair);
    connection.send(&hello(true));
    assert_eq!(connection.receive().unwrap().0, AGENT_HELLO);
    assert_eq!(connection.receive(), None);
}

#[test]
fn what_is_no_frame_ends_its_connection_only() {
    const TOO_BIG: u8 = 3;
    const INVALID: u8 = 4;
    let (pair, agent) = started();
    let mut other = Connection::greet(&pair);
    for (bytes, status, what) in [
        (vec![0; 4], INVALID, "an empty frame"),
        (vec![0xff; 5], TOO_BIG, "a frame of 4 GiB"),
        ([&20_000u32.to_be_bytes()[..], &[3; 100]].concat(), TOO_BIG, "a frame longer than agreed on"),
        (frame(NOTIFY, FIN, 1, &[0xff; 40]), INVALID, "lengths that reach beyond the frame"),
        (frame(77, FIN, 1, &[]), INVALID, "an unknown type"),
        (frame(ACK, FIN, 1, &[]), INVALID, "a frame of an agent"),
        (hello(false), INVALID, "a second greeting"),
        (frame(NOTIFY, 0, 1, &[]), INVALID, "a part of a frame"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), TOO_BIG, "HTTP"),
    ] {
        let mut connection = Connection::greet(&pair);
        connection.send(&bytes);
        connection.farewell(status, what);
    }
    let mut early = Connection::open(&pair);
    early.send(&check(1, OTHER));
    early.farewell(INVALID, "a question before the greeting");
    // Somebody else's message is no error, and a question about nobody gets no verdict.
    other.send(&frame(NOTIFY, FIN, 1, &[text("other"), vec![0]].concat()));
    assert_eq!(other.receive().unwrap(), (ACK, vec![1, 1]));
    other.send(&frame(NOTIFY, FIN, 2, &[text("weir-check"), vec![0]].concat()));
    let (kind, payload) = other.receive().unwrap();
    assert!(kind == ACK && !has(&payload, "verdict"));
    other.send(&check(3, BANNED));
    assert!(has(&other.receive().unwrap().1, "deny"));
    drop(agent);
}

#[test]
fn a_frame_that_does_not_end_is_not_waited_for() {
    const LATE: u8 = 2;
    let (pair, _agent) = started();
    let connection = Connection::greet(&pair);
    let frame = check(1, OTHER);
    let started = Instant::now();
    // A byte now and then does not help.
    let mut drip = connection.0.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        for byte in &frame[..frame.len() - 1] {
            if drip.write_all(&[*byte]).is_err() || started.elapsed() > Duration::from_secs(9) {
                return;
            }
            std::thread::sleep(Duration::from_millis(400));
        }
    });
    connection.0.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    connection.farewell(LATE, "a frame that drips");
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    dripping.join().unwrap();
}
