use std::{path::Path, time::Duration};

use super::*;
use crate::decision::{Verdict, Why};

fn settings(redis: &str) -> Settings {
    let text = format!(
        "enforce: enforce
interfaces: [{{name: eth0}}]
l7:
  clients: {{consumer_header: x-api-key}}
  rules: [{{name: no, when: \"request.path == '/no'\", then: deny}}]
  routes:
    - {{name: closed, path: /closed, on_failure: closed, quotas: [{{domain: api, entries: [client]}}]}}
    - {{name: free, path: /free}}
    - {{name: all, quotas: [{{domain: api, entries: [client]}}, {{domain: api, entries: [consumer]}}]}}
  quotas:
    domains:
      - domain: api
        descriptors:
          - {{key: client, limits: [{{requests: 20, per: hour, burst: 2}}]}}
          - {{key: consumer, limits: [{{requests: 10, per: hour, burst: 1}}]}}
    {redis}
"
    );
    let config = Config::parse(Path::new("weir.yaml"), &text).unwrap();
    let quotas = Quotas::new(&config.l7.quotas, &crate::telemetry::registry::Registry::new()).unwrap();
    Settings::new(&config, quotas)
}

async fn decide(settings: &Settings, path: &str, consumer: Option<&str>) -> Decision {
    let client = Client { address: [192, 0, 2, 1].into(), direct: true };
    let consumer = consumer.map(str::to_owned);
    let request = Request { path: path.to_owned(), consumer, ..Request::of(client) };
    let standing = decision::before_quotas(&settings.policy, &request, &Source::default());
    settings.conclude(&request, standing).await
}

#[tokio::test]
async fn routes_say_what_a_request_is_charged_to() {
    let settings = settings("");
    assert_eq!(decide(&settings, "/free", None).await, Decision::allow(Why::Clean));
    assert_eq!(decide(&settings, "/no", None).await.why, Why::Rule("no".into()), "and it is not charged");
    let first = decide(&settings, "/", Some("a")).await;
    assert_eq!(first.quota.map(|quota| (quota.name, quota.remaining)), Some(("api/consumer".into(), 0)));
    let refused = decide(&settings, "/", Some("a")).await;
    assert_eq!((refused.verdict, &refused.why), (Verdict::Throttle, &Why::Quota("api/consumer".into())));
    let again = refused.retry_after.unwrap();
    assert!(again > Duration::from_secs(350) && again <= Duration::from_mins(6), "{again:?}");
    assert!(refused.headers().iter().any(|(name, _)| *name == "ratelimit"));
    assert_eq!(decide(&settings, "/", Some("b")).await.verdict, Verdict::Allow);
    assert_eq!(decide(&settings, "/", None).await.why, Why::Quota("api/client".into()), "two were charged");
}

#[tokio::test]
async fn what_cannot_be_decided_is_decided_by_the_route() {
    let nobody = settings("redis: {url: '/nowhere.sock', fallback: none}");
    assert_eq!(decide(&nobody, "/", None).await, Decision::allow(Why::Undecided));
    let closed = decide(&nobody, "/closed", None).await;
    assert_eq!((closed.verdict, closed.why), (Verdict::Throttle, Why::Undecided));
    assert_eq!(closed.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(decide(&nobody, "/no", None).await.verdict, Verdict::Deny, "that needs no quota");
    let alone = settings("redis: {url: '/nowhere.sock'}");
    assert_eq!(decide(&alone, "/closed", None).await.why, Why::Clean);
}

/// A Redis that welcomes everybody, and never answers a script.
async fn silent(listener: tokio::net::UnixListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = [0; 4096];
    loop {
        let length = stream.read(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]);
        let commands = text.lines().filter(|line| line.starts_with('*')).count();
        if length == 0 || text.contains("EVALSHA") {
            std::future::pending::<()>().await;
        }
        stream.write_all("+OK\r\n".repeat(commands).as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.sock");
    let server = tokio::spawn(silent(tokio::net::UnixListener::bind(&path).unwrap()));
    let settings = settings(&format!("redis: {{url: '{}', timeout: 1s, fallback: none}}", path.display()));
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if settings.quotas.is_connected() {
            break;
        }
    }
    assert!(settings.quotas.is_connected());
    let started = Instant::now();
    let decision = decide(&settings, "/closed", None).await;
    assert_eq!((decision.verdict, decision.why), (Verdict::Throttle, Why::Undecided));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(19) && took < Duration::from_millis(900), "{took:?}");
    for _ in 0..4 {
        decide(&settings, "/", None).await;
    }
    assert!(!settings.quotas.is_connected(), "five times is enough");
    let started = Instant::now();
    assert_eq!(decide(&settings, "/", None).await.why, Why::Undecided);
    assert!(started.elapsed() < Duration::from_millis(15), "nobody waits for it any more");
    server.abort();
}

#[tokio::test]
async fn what_is_owed_outlives_a_reload() {
    let settings = settings("");
    assert_eq!(decide(&settings, "/", Some("a")).await.verdict, Verdict::Allow);
    let other = l7::Quotas { partners_unlimited: true, ..settings.quotas.settings().clone() };
    let quotas = settings.quotas.with(&other);
    let reloaded = Settings { quotas, ..settings };
    assert_eq!(decide(&reloaded, "/", Some("a")).await.verdict, Verdict::Throttle);
}

#[test]
fn only_who_sends_the_packets_is_direct() {
    let clients = l7::Clients { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..l7::Clients::default() };
    let behind = l7::Clients { direct: false, ..clients.clone() };
    for (peer, client, forwarded, address, direct) in [
        // The proxy says both.
        ("198.51.100.7", "198.51.100.7", "198.51.100.7", "198.51.100.7", true),
        ("::ffff:198.51.100.7", "198.51.100.7", "", "198.51.100.7", true),
        ("198.51.100.7", "203.0.113.1", "203.0.113.1", "203.0.113.1", false),
        ("10.0.0.1", "10.0.0.1", "203.0.113.1, 10.0.0.1", "203.0.113.1", false),
        ("10.0.0.1", "10.0.0.1", "", "10.0.0.1", false),
        // It does not say who is connected: it may be anybody, whatever X-Forwarded-For says.
        ("", "198.51.100.7", "", "198.51.100.7", false),
        ("", "198.51.100.7", "198.51.100.7", "198.51.100.7", false),
        ("", "10.0.0.1", "203.0.113.1, 10.0.0.1", "203.0.113.1", false),
        // It does not say who the client is.
        ("198.51.100.7", "", "203.0.113.1", "198.51.100.7", true),
        ("10.0.0.1", "", "203.0.113.1", "203.0.113.1", false),
        // It says nothing.
        ("", "", "203.0.113.1", "0.0.0.0", false),
    ] {
        let forwarded = [forwarded];
        let seen = Seen {
            peer: client::parse(peer),
            client: client::parse(client),
            forwarded: &forwarded,
            ..Seen::default()
        };
        let want = Client { address: address.parse().unwrap(), direct };
        assert_eq!(who(&clients, &seen), want, "{seen:?}");
        assert_eq!(who(&behind, &seen), Client { direct: false, ..want }, "{seen:?}");
    }
}

#[test]
fn a_host_has_no_port() {
    for (host, name) in [
        ("api.example.org", "api.example.org"),
        ("api.example.org:8443", "api.example.org"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("", ""),
    ] {
        assert_eq!(without_port(host), name);
    }
    assert_eq!(cut(&"ä".repeat(VALUE_BYTES_MAX)).len(), VALUE_BYTES_MAX);
}
