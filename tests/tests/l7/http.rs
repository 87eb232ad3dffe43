//! `/v1/auth` and `/v1/feedback` by hand, over TCP and a Unix socket.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    namespace::Pair,
    peers::{Kind, missing},
};

use super::{
    BOT,
    street::{CDN, LISTED, Street},
};

const ADDRESS: &str = "127.0.0.1:9650";
const HOP: &str = "10.0.0.1";
const BANNED: &str = "203.0.113.7";

fn started() -> (Pair, Agent) {
    let pair = Pair::new().unwrap();
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    let directory = agent.directory().display();
    agent
        .configure(&format!(
            "enforce: enforce\ninterfaces: [{{name: {}}}]\nlisten: {{metrics: {}}}\nl7:\n  listen: {{http: ['{ADDRESS}', \
             'unix:{directory}/http.sock']}}\n  clients: {{trusted_proxies: [{HOP}/32]}}\n",
            Pair::INTERFACE,
            Agent::METRICS,
        ))
        .unwrap();
    agent.start().unwrap();
    (pair, agent)
}

fn connect(pair: &Pair) -> TcpStream {
    let address: SocketAddr = ADDRESS.parse().unwrap();
    let stream = pair.server.run(|| Ok(TcpStream::connect(address)?)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a request and returns the whole answer, in small letters.
fn ask(pair: &Pair, line: &str, headers: &str, body: &str) -> String {
    let mut stream = connect(pair);
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It may be refused before all is written.
    _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[test]
fn a_ban_is_refused_in_the_words_of_each_proxy() {
    let (pair, agent) = started();
    assert!(agent.weir(&["ban", BANNED, "--for", "10m"]).unwrap().status.success());
    let banned = format!("x-forwarded-for: {BANNED}, {HOP}\r\n");
    for method in ["GET", "POST", "OPTIONS", "PROPFIND"] {
        let answer = ask(&pair, &format!("{method} /v1/auth"), &banned, "");
        assert!(answer.starts_with("http/1.1 403"), "{answer}");
        assert!(answer.contains("x-weir-verdict: deny\r\n") && answer.contains("x-weir-reason: banned\r\n"));
        let left = answer.split("retry-after: ").nth(1).unwrap().split('\r').next().unwrap();
        assert!((590..=600).contains(&left.parse().unwrap()), "{answer}");
    }
    // The wish of the URL, and who has connected in a header that it names.
    let named = format!("x-real-ip: {HOP}\r\nx-forwarded-for: {BANNED}\r\n");
    let answer = ask(&pair, "GET /v1/auth?deny=418&peer=x-real-ip", &named, "");
    assert!(answer.starts_with("http/1.1 418") && answer.contains("x-weir-verdict: deny"), "{answer}");
    for (headers, what) in [
        (format!("x-forwarded-for: 203.0.113.8, {HOP}\r\n"), "somebody else"),
        (format!("x-forwarded-for: {BANNED}, 203.0.113.8\r\n"), "a hop that is not trusted"),
    ] {
        let answer = ask(&pair, "GET /v1/auth?deny=403", &headers, "");
        assert!(answer.starts_with("http/1.1 200") && answer.contains("x-weir-verdict: allow"), "{what}");
    }
    // Two requests on one connection of a Unix socket.
    let mut control = Control::connect(&agent.directory().join("http.sock")).unwrap();
    for (client, status) in [(BANNED, 403), ("203.0.113.8", 200)] {
        let request = format!("GET /v1/auth HTTP/1.1\r\nhost: h\r\nx-forwarded-for: {client}\r\n\r\n");
        control.send(request.as_bytes()).unwrap();
        assert_eq!(control.answer().unwrap().0, status, "{client}");
    }
    let metrics = agent.metrics().unwrap();
    let denied = [("surface", "http"), ("verdict", "deny"), ("reason", "banned")];
    assert!((metrics.sum("weir_l7_decisions_total", &denied) - 6.0).abs() < 0.1);
    assert!(!agent.log().contains(BANNED), "{}", agent.log());
}

#[test]
fn access_logs_are_taken() {
    let (pair, agent) = started();
    let lines = "{\"client\": \"203.0.113.8\", \"peer\": \"10.0.0.1\", \"status\": 401}\n\
                 {\"client\": \"203.0.113.8\", \"status\": \"503\"}\r\n\n\
                 {\"client\": \"203.0.113.8\", \"status\": 403, \"ours\": true}\nno line\n{\"status\": 401}\n";
    let answer = ask(&pair, "POST /v1/feedback", "", lines);
    assert!(answer.starts_with("http/1.1 200") && answer.contains("{\"understood\": 3}"), "{answer}");
    let metrics = agent.metrics().unwrap();
    for class in ["4xx", "5xx", "ours"] {
        let told = metrics.sum("weir_l7_feedback_total", &[("surface", "logs"), ("status", class)]);
        assert!((told - 1.0).abs() < 0.1, "{class}: {told}");
    }
    let answer = ask(&pair, "POST /v1/feedback", "", &" ".repeat(2 << 20));
    assert!(answer.is_empty() || answer.starts_with("http/1.1 413"), "{answer}");
    assert!(ask(&pair, "GET /v1/feedback", "", "").starts_with("http/1.1 405"));
    assert!(ask(&pair, "GET /v1/else", "", "").starts_with("http/1.1 404"));
}

/// Traefik writes lines to a file, whose end somebody sends.
#[test]
fn the_log_of_traefik_is_taken() {
    let Some(street) = Street::new(Kind::Traefik).unwrap() else {
        return missing("the_log_of_traefik_is_taken", "traefik");
    };
    let before = street.proxy.file("access.json").len();
    for _ in 0..20 {
        assert_eq!(street.status(CDN, "/login", Some(BOT)), 401);
    }
    assert_eq!(street.status(CDN, "/login", Some(LISTED)), 403);
    let lines = street.proxy.file("access.json")[before..].to_owned();
    let answer = ask(&street.pair, "POST /v1/feedback", "", &lines);
    assert!(answer.contains("{\"understood\": 21}"), "{answer} {lines}");
    let metrics = street.agent.metrics().unwrap();
    for (class, count) in [("4xx", 20.0), ("ours", 1.0)] {
        let told = metrics.sum("weir_l7_feedback_total", &[("surface", "logs"), ("status", class)]);
        assert!((told - count).abs() < 0.1, "{class}: {told}");
    }
    // The bot is held to account, not the hop.
    assert_ne!(street.status(CDN, "/items", Some(BOT)), 200, "{}", street.why());
    assert_eq!(street.status(CDN, "/items", None), 200, "{}", street.why());
}

#[test]
fn bodies_that_do_not_come_hold_nobody_up() {
    let (pair, _agent) = started();
    let started = Instant::now();
    let mut slow: Vec<TcpStream> = (0..32).map(|_| connect(&pair)).collect();
    for stream in &mut slow {
        let head = "POST /v1/feedback HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).unwrap();
    }
    let answer = ask(&pair, "GET /v1/auth", "x-forwarded-for: 203.0.113.8\r\n", "");
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    for mut stream in slow {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    // More headers than are taken, and longer ones.
    let many = "x: y\r\n".repeat(200);
    assert!(ask(&pair, "GET /v1/auth", &many, "").starts_with("http/1.1 431"));
    let long = format!("x: {}\r\n", "y".repeat(300_000));
    let answer = ask(&pair, "GET /v1/auth", &long, "");
    assert!(answer.is_empty() || answer.starts_with("http/1.1 431"), "{answer}");
}
