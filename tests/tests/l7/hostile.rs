//! Whatever comes over the sockets for proxies, others are served and the kernel path goes on.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use weir_tests::{
    agent::{Agent, binary},
    namespace::{Namespace, Pair},
};

const HTTP: &str = "127.0.0.1:9650";
const SPOP: &str = "127.0.0.1:9651";
const LOGS: &str = "127.0.0.1:9653";
const GRPC: &str = "127.0.0.1:9654";
/// More than are served at a time, and not more than the kernel's queue holds besides.
const CROWD: usize = 1100;

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

#[test]
fn garbage_silence_and_crowds_harm_nobody_else() {
    // The crowd is here.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let pair = Pair::new().unwrap();
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
    // Silent ones on another socket than the one that is asked.
    let _crowd: Vec<TcpStream> = [SPOP, GRPC]
        .iter()
        .flat_map(|address| (0..CROWD).map(|_| connect(server, address)).collect::<Vec<_>>())
        .collect();
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
