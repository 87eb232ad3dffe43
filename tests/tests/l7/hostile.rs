//! Whatever comes over the sockets for proxies, others are served and the kernel path goes on.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use weir_tests::{
    agent::{Agent, binary},
    frame::Frame,
    namespace::{Namespace, Pair},
    patience,
    wire::Wire,
};

use crate::stand::{Inside, may_have_files, wait_until};

const HTTP: &str = "127.0.0.1:9650";
const SPOP: &str = "127.0.0.1:9651";
const LOGS: &str = "127.0.0.1:9653";
const GRPC: &str = "127.0.0.1:9654";
const BANNED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

fn connect(namespace: &Namespace, address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().unwrap();
    let stream = namespace.run(|| Ok(TcpStream::connect_timeout(&address, Duration::from_secs(5))?)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Asks about a client, as a proxy does.
fn status(namespace: &Namespace) -> u16 {
    let mut stream = connect(namespace, HTTP);
    let question =
        "GET /v1/auth HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.10\r\nConnection: close\r\n\r\n";
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn started(pair: &Pair) -> Agent {
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent
        .configure(&format!(
            "enforce: enforce\ninterfaces: [{{name: {}}}]\nlisten: {{metrics: {}}}\nl7:\n  listen: {{grpc: ['{GRPC}'], \
             http: ['{HTTP}'], haproxy: ['{SPOP}'], logs: ['{LOGS}']}}\n",
            Pair::INTERFACE,
            Agent::METRICS,
        ))
        .unwrap();
    agent.start().unwrap();
    agent
}

#[test]
fn garbage_harms_nobody_else() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    let server = &pair.server;
    assert_eq!(status(server), 200);
    let long = vec![b'a'; 200_000];
    let garbage: [&[u8]; 7] = [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff\x01",
        b"\0\0\0\x05\x03\0\0\0\x01",
        b"\0\0\x3f\xfc\x01\0\0\0\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff\xff\x04\0\0\0\0\0",
        b"GET /v1/auth HTTP/1.1\r\nX: ",
        &long,
    ];
    for address in [HTTP, SPOP, GRPC] {
        for bytes in garbage {
            let mut stream = connect(server, address);
            // It may be closed before all is written.
            _ = stream.write_all(bytes);
        }
    }
    let logs = server.run(|| Ok(UdpSocket::bind("127.0.0.1:0")?)).unwrap();
    for bytes in garbage {
        _ = logs.send_to(bytes, LOGS);
    }
    assert_eq!(status(server), 200);
    assert!(agent.weir(&["ban", "192.0.2.66"]).unwrap().status.success());
    assert!(agent.metrics().unwrap().sum("weir_l7_log_lines_total", &[("result", "passed_over")]) > 0.0);
    // No word about who has connected to the proxy is an error that is seen.
    let mut stream = connect(server, HTTP);
    stream.write_all(b"GET /v1/auth HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("docs/l7.md"), "{answer}");
    agent.stop().unwrap();
}

/// A proxy that is connected, and asks again and again.
trait Proxy {
    fn ask(&mut self) -> io::Result<()>;
}

/// One that speaks HTTP.
struct Http(TcpStream);

impl Proxy for Http {
    fn ask(&mut self) -> io::Result<()> {
        self.0.write_all(b"GET /v1/auth HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.10\r\n\r\n")?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if head.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// One that speaks SPOP (HAProxy, doc/SPOE.txt, 3.2), and has said hello.
struct Spop(TcpStream);

impl Spop {
    fn hello(stream: TcpStream) -> io::Result<Self> {
        let mut proxy = Self(stream);
        let words = b"\0\0\x12supported-versions\x08\x032.0\x0ccapabilities\x08\x0apipelining\
                      \x0emax-frame-size\x03\xfc\xf0\x06";
        proxy.exchange(1, words, 101)?;
        Ok(proxy)
    }

    /// Sends a frame, and waits for one of this kind.
    fn exchange(&mut self, kind: u8, payload: &[u8], wanted: u8) -> io::Result<()> {
        let length = u32::try_from(payload.len() + 5).map_err(io::Error::other)?;
        let frame = [&length.to_be_bytes()[..], &[kind, 0, 0, 0, 1], payload].concat();
        self.0.write_all(&frame)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer)?;
        if answer.first() == Some(&wanted) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl Proxy for Spop {
    fn ask(&mut self) -> io::Result<()> {
        // Stream 1, frame 1, and a message with the address of a client.
        self.exchange(3, b"\x01\x01\x0aweir-check\x01\x02ip\x06\xc0\x00\x02\x0a", 103)
    }
}

/// Connects as a proxy that waits so long for an answer.
fn proxy(namespace: &Namespace, address: &str, waits: Duration) -> io::Result<Box<dyn Proxy>> {
    let to: SocketAddr = address.parse().map_err(io::Error::other)?;
    let connect = || Ok(TcpStream::connect_timeout(&to, waits)?);
    let stream = namespace.run(connect).map_err(io::Error::other)?;
    stream.set_read_timeout(Some(waits))?;
    Ok(if address == SPOP { Box::new(Spop::hello(stream)?) } else { Box::new(Http(stream)) })
}

/// Sends packets of a source that is banned, and waits until the kernel has dropped and counted them.
fn dropped_in_the_kernel(pair: &Pair, agent: &Agent) {
    let labels = [("reason", "ban"), ("verdict", "drop")];
    let count = || agent.metrics().unwrap().count("weir_packets_total", &labels);
    let before = count();
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let frame = Frame::new().ipv4(BANNED, Pair::SERVER.v4).udp(4000, 443).build();
    (0..100).for_each(|_| wire.send(&frame).unwrap());
    wait_until("packets dropped", || count() == before + 100);
}

/// Ten thousand connect and say nothing: who is there already is answered, others come in as the silent ones
/// lose their places, all other sockets are served, and the kernel goes on.
#[test]
fn ten_thousand_that_say_nothing_keep_nobody_out() {
    let pair = Pair::new().unwrap();
    // As the agent is started everywhere: it has to see to more itself.
    may_have_files(Some(1024));
    let mut agent = started(&pair);
    may_have_files(None);
    assert!(agent.weir(&["ban", &BANNED.to_string()]).unwrap().status.success());
    for (crowded, other) in [(HTTP, SPOP), (SPOP, HTTP)] {
        let mut before = proxy(&pair.server, crowded, patience::seconds(30)).unwrap();
        before.ask().unwrap();
        let inside = Inside::new(&pair.server);
        let held = inside.crowd(crowded);
        before.ask().unwrap();
        proxy(&pair.server, other, patience::seconds(30)).unwrap().ask().unwrap();
        assert!(agent.weir(&["bans"]).unwrap().status.success());
        dropped_in_the_kernel(&pair, &agent);
        let began = Instant::now();
        // While the kernel's queue is full a connection may be lost that looks as if it were there; a proxy
        // tries again.
        let again = || proxy(&pair.server, crowded, patience::seconds(10)).and_then(|mut proxy| proxy.ask());
        while let Err(error) = again() {
            assert!(began.elapsed() < patience::seconds(120), "{crowded}: {error}\n{}", agent.log());
            thread::sleep(Duration::from_millis(200));
        }
        let waited = began.elapsed();
        println!("{crowded}: in after {waited:?}, behind {}", held.blocking_lock().len());
        dropped_in_the_kernel(&pair, &agent);
    }
    agent.stop().unwrap();
}
