use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use serde_json::Value;
use tokio::runtime::Builder;
use weir::{
    config::Config,
    feed::{
        Listing,
        source::{Fetched, Source},
        store::Validators,
    },
};
use weir_tests::{
    patience,
    peers::{self, Crowdsec, Program},
};

use crate::stand::{Stand, wait_until};

const LAPI: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9652);
const KEY: &str = "X-Api-Key: key-of-nginx\r\n";
const L7: &str = "{listen: {lapi: ['127.0.0.1:9652', 'unix:DIR/run/lapi.sock']}, \
    bouncers: [{name: nginx, key_file: DIR/nginx.key}, {name: other, key_file: DIR/other.key}]}";

fn stand() -> Stand {
    let mut stand = Stand::new();
    stand.secret("nginx.key", "key-of-nginx\n");
    stand.secret("other.key", "key-of-other\n");
    stand.start(L7, "");
    stand
}

/// Returns status and body of a page, asked by the first bouncer.
fn get(stand: &Stand, path: &str) -> (u16, Value) {
    let (status, _, body) = stand.http(LAPI, "GET", path, KEY, "");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn values(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|one| one["value"].as_str().unwrap()).collect()
}

#[test]
fn an_unmodified_bouncer_obeys() {
    let Some(program) = Program::find("crowdsec-custom-bouncer") else {
        return peers::missing("lapi::an_unmodified_bouncer_obeys", "crowdsec-custom-bouncer");
    };
    let stand = stand();
    stand.ban("198.51.100.7/32", 3600);
    let said = stand.path("said");
    let script =
        stand.agent.write("script", format!("#!/bin/sh\necho \"$1 $2 $3\" >> {}\n", said.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let d = stand.agent.directory().display();
    let config = format!(
        "bin_path: {d}/script\nfeed_via_stdin: false\ntotal_retries: 0\nscenarios_containing: []\n\
         scenarios_not_containing: []\norigins: []\npiddir: {d}/\nupdate_frequency: 1s\n\
         cache_retention_duration: 1s\ndaemonize: false\nlog_mode: stdout\nlog_dir: {d}/\nlog_level: info\n\
         api_url: http://{LAPI}/\napi_key: key-of-nginx\nprometheus: {{enabled: false}}\n"
    );
    let config = stand.agent.write("bouncer.yaml", config).unwrap().display().to_string();
    let bouncer =
        Program::start(&stand.pair.server, &program, &["-c", &config], stand.agent.directory(), None)
            .unwrap();
    let says = |line: &str| {
        let said = fs::read_to_string(&said).unwrap_or_default();
        said.lines().any(|said| said.starts_with(line))
    };
    wait_until("it is told of what was there", || {
        says("add 198.51.100.7 36") || says("add 198.51.100.7 359")
    });
    stand.ban("203.0.113.0/28", 600);
    wait_until("it is told of what is new", || {
        says("add 203.0.113.0/28 60") || says("add 203.0.113.0/28 59")
    });
    stand.lift("198.51.100.7/32");
    wait_until("it is told of what is lifted", || says("del 198.51.100.7"));
    stand.ban("198.51.100.9/32", 4);
    wait_until("it is told of what has ended", || says("del 198.51.100.9"));
    assert!(!says("del 203.0.113.0/28"), "{}", bouncer.log());
    assert!(stand.metric("weir_l7_lapi_requests_total", &[("bouncer", "nginx"), ("page", "stream")]) >= 3.0);
    bouncer.stop().unwrap();
}

/// The other side of this contract in weir itself.
#[test]
fn another_weir_reads_it() {
    let stand = stand();
    stand.ban("198.51.100.7/32", 3600);
    stand.set(r#"{"prefix": "203.0.113.0/24", "action": "throttle"}, {"prefix": "203.0.113.8/32", "action": "allow"}"#);
    stand.set(r#"{"prefix": "198.18.0.0/24", "action": "ban", "shadow": true}"#);
    let text = format!(
        "interfaces: [{{name: eth0}}]\nservices: [{{name: https, ports: [443/tcp]}}]\nfeeds:\n  - {{name: crowd, \
         crowdsec: {{url: 'http://{LAPI}', key: {}}}, http: {{insecure: true, private: true}}, action: drop}}\n",
        stand.path("other.key").display()
    );
    let config = Config::parse(Path::new("weir.yaml"), &text).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut source = Source::new(&config.feeds[0]).unwrap();
    let mut ask = || {
        let validators = Validators::default();
        let fetched = stand.pair.server.run(|| Ok(runtime.block_on(source.fetch(&validators)))).unwrap();
        match fetched.unwrap() {
            Fetched::Ledger(ledger, _) => Some(ledger.listing()),
            Fetched::Unchanged | Fetched::List(_) | Fetched::Text(..) => None,
        }
    };
    let listing: Listing = ask().unwrap();
    assert_eq!(listing.entries.v4.len(), 1);
    assert_eq!(listing.throttled.v4.len(), 8, "the range without what is allowed in it");
    assert!(ask().is_none());
    stand.lift("198.51.100.7/32");
    assert_eq!(ask().unwrap().entries.v4.len(), 0);
}

#[test]
fn pages_are_those_of_crowdsec() {
    let stand = stand();
    let (status, _, body) = stand.http(LAPI, "GET", "/health", "", "");
    assert_eq!((status, &body[..]), (200, &br#"{"status":"up"}"#[..]));
    for headers in ["", "X-Api-Key: key-of-nobody\r\n", "X-Api-Key: \r\n", "X-Api-Key: key-of-ngin\r\n"] {
        for (method, path) in [
            ("GET", "/v1/decisions/stream?startup=true"),
            ("HEAD", "/v1/decisions"),
            ("POST", "/v1/usage-metrics"),
        ] {
            let (status, _, body) = stand.http(LAPI, method, path, headers, "");
            assert_eq!(status, 403, "{method} {path} {headers}");
            assert!(method == "HEAD" || body == br#"{"message":"access forbidden"}"#);
        }
    }
    let (_, _, body) = stand.http(LAPI, "GET", "/v1/decisions", KEY, "");
    assert_eq!(body, b"null");
    let (_, _, body) = stand.http(LAPI, "GET", "/v1/decisions/stream", KEY, "");
    assert_eq!(body, br#"{"deleted":null,"new":null}"#);
    assert_eq!(stand.http(LAPI, "GET", "/v1/alerts", KEY, "").0, 404);
    assert_eq!(stand.http(LAPI, "POST", "/v1/decisions", KEY, "").0, 404);
    assert_eq!(get(&stand, "/v1/decisions?ip=nonsense").0, 400);

    stand.ban("198.51.100.7/32", 3600);
    stand.ban("2001:db8:7::/48", 60);
    // Asking whether it may ask takes nothing away.
    assert_eq!(stand.http(LAPI, "HEAD", "/v1/decisions/stream", KEY, "").0, 200);
    let (_, news) = get(&stand, "/v1/decisions/stream");
    assert_eq!(values(&news["new"]), ["198.51.100.7", "2001:db8:7::/48"]);
    let one = &news["new"][0];
    let text = |name: &str| one[name].as_str().unwrap().to_owned();
    assert_eq!(
        [text("origin"), text("type"), text("scope"), text("scenario")],
        ["weir", "ban", "Ip", "by hand"]
    );
    assert!(text("duration").starts_with("59m") || text("duration").starts_with("1h"), "{one}");
    assert_eq!(get(&stand, "/v1/decisions/stream").1["new"], Value::Null);
    let (_, _, other) = stand.http(LAPI, "GET", "/v1/decisions/stream", "X-Api-Key: key-of-other\r\n", "");
    assert_eq!(
        values(&serde_json::from_slice::<Value>(&other).unwrap()["new"]).len(),
        2,
        "it has a cursor of its own"
    );
    assert_eq!(values(&get(&stand, "/v1/decisions?ip=2001:db8:7::7").1), ["2001:db8:7::/48"]);
    assert_eq!(get(&stand, "/v1/decisions?ip=192.0.2.1").1, Value::Null);
    assert_eq!(values(&get(&stand, "/v1/decisions?scope=Ip&value=198.51.100.7").1), ["198.51.100.7"]);
    stand.lift("198.51.100.7/32");
    let (_, news) = get(&stand, "/v1/decisions/stream?startup=false");
    assert_eq!(values(&news["deleted"]), ["198.51.100.7"]);
    assert!(news["deleted"][0]["duration"].as_str().unwrap().starts_with('-'));

    let report = r#"{"remediation_components":[{"name":"n","type":"t","version":"1","metrics":[{"meta":{},
        "items":[{"name":"dropped","value":41.0,"unit":"request","labels":{}},{"name":"odd","value":1,"unit":"x"}]}]}]}"#;
    assert_eq!(stand.http(LAPI, "POST", "/v1/usage-metrics", KEY, report).0, 201);
    assert_eq!(stand.http(LAPI, "POST", "/v1/usage-metrics", KEY, "nonsense").0, 400);
    let labels = [("bouncer", "nginx"), ("name", "dropped"), ("unit", "request")];
    assert!((stand.metric("weir_l7_lapi_reported_total", &labels) - 41.0).abs() < 0.1);
    // A key is read again when its file changes.
    stand.secret("nginx.key", "another key\n");
    wait_until("the new key is known", || get(&stand, "/v1/decisions").0 == 403);
}

#[test]
fn a_list_is_plain_text() {
    let stand = stand();
    stand.ban("198.51.100.7/32", 3600);
    stand.ban("2001:db8:7::/48", 3600);
    // nginx:key-of-nginx
    let basic = "Authorization: Basic bmdpbng6a2V5LW9mLW5naW54\r\n";
    let (status, head, body) = stand.http(LAPI, "GET", "/v1/list", basic, "");
    assert_eq!((status, &*body), (200, &b"198.51.100.7/32\n2001:db8:7::/48\n"[..]));
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let known = format!("{KEY}If-None-Match: {tag}\r\n");
    assert_eq!(stand.http(LAPI, "GET", "/v1/list", &known, "").0, 304);
    assert_eq!(stand.http(LAPI, "GET", "/security/blocklist?ipv4only", KEY, "").2, b"198.51.100.7/32\n");
    let (status, head, _) = stand.http(LAPI, "GET", "/v1/list", "", "");
    assert!(status == 401 && head.contains("www-authenticate"), "{head}");
    stand.lift("198.51.100.7/32");
    assert_eq!(stand.http(LAPI, "GET", "/v1/list", &known, "").2, b"2001:db8:7::/48\n");
}

#[test]
fn thousands_of_decisions_are_packed() {
    let stand = stand();
    stand.ban_many(14_000);
    let started = Instant::now();
    let headers = format!("{KEY}Accept-Encoding: gzip\r\n");
    let (status, head, body) = stand.http(LAPI, "GET", "/v1/decisions/stream?startup=true", &headers, "");
    let took = started.elapsed();
    assert!(status == 200 && head.contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    let news: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(values(&news["new"]).len(), 14_000);
    println!("{} bytes, packed {}, in {took:?}", text.len(), body.len());
    assert!(body.len() * 4 < text.len() && took < patience::seconds(3), "{took:?}");
}

#[test]
fn what_is_hostile_is_bounded() {
    let stand = stand();
    let huge =
        format!("GET /v1/decisions HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\n\r\n", "k".repeat(64 << 10));
    let answer = String::from_utf8_lossy(&stand.raw(LAPI, huge.as_bytes())).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "X-More: y\r\n".repeat(200);
    let answer = stand.raw(LAPI, format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    let large = "x".repeat(2 << 20);
    assert_eq!(stand.http(LAPI, "POST", "/v1/usage-metrics", KEY, &large).0, 413);
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n", &[0xff; 4096]]
    {
        assert!(!stand.raw(LAPI, nonsense).starts_with(b"HTTP/1.1 200"));
    }
    // Headers that never end, and a body that never comes: the connection ends, others are served.
    let started = Instant::now();
    let slow = stand.pair.server.run(|| {
        let open = |text: &str| -> std::io::Result<TcpStream> {
            let mut stream = TcpStream::connect(LAPI)?;
            stream.set_read_timeout(Some(patience::seconds(30)))?;
            stream.write_all(text.as_bytes())?;
            Ok(stream)
        };
        let heads = (0..50).map(|_| open("GET /health HTTP/1.1\r\nHost"));
        let bodies = (0..50).map(|_| {
            open(&format!("POST /v1/usage-metrics HTTP/1.1\r\nHost: x\r\n{KEY}Content-Length: 9\r\n\r\n{{"))
        });
        Ok(heads.chain(bodies).map(Result::unwrap).collect::<Vec<_>>())
    });
    assert_eq!(stand.http(LAPI, "GET", "/health", "", "").0, 200);
    for mut stream in slow.unwrap() {
        _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(started.elapsed() < patience::seconds(25), "{:?}", started.elapsed());
    assert_eq!(get(&stand, "/v1/decisions").0, 200);
}

#[test]
fn own_bans_reach_the_fleet_of_crowdsec_once() {
    let mut stand = Stand::new();
    let Some(lapi) = Crowdsec::start(&stand.pair.server).unwrap() else {
        return peers::missing("lapi::own_bans_reach_the_fleet_of_crowdsec_once", "crowdsec");
    };
    stand.secret("password", "test\n");
    // It reads back what it has told: that is no news.
    let feed = format!(
        "feeds: [{{name: crowd, crowdsec: {{url: 'http://{}', key: {}}}, http: {{insecure: true, private: true}}, \
         action: drop, interval: 1s}}]",
        Crowdsec::ADDRESS,
        lapi.key().display()
    );
    let l7 = format!(
        "{{push: {{crowdsec: {{url: 'http://{}', machine: test, password_file: DIR/password}}}}}}",
        Crowdsec::ADDRESS
    );
    lapi.cscli(&["bouncers", "add", "other", "-k", "key-of-other"]).unwrap();
    stand.start(&l7, &feed);
    stand.ban("198.51.100.7/32", 3600);
    stand.ban("203.0.113.0/28", 3600);
    wait_until("the LAPI has them", || told(&stand) == ["198.51.100.7", "203.0.113.0/28"]);
    assert!(
        decisions(&stand)[0].1.starts_with("1h0m0") || decisions(&stand)[0].1.starts_with("59m"),
        "{:?}",
        decisions(&stand)
    );
    wait_until("they come back", || stand.metric("weir_feed_entries", &[("feed", "crowd")]) >= 2.0);
    // Longer, and still one decision.
    stand.ban("203.0.113.0/28", 7200);
    wait_until("it is longer", || {
        decisions(&stand).iter().any(|(_, left)| left.starts_with("2h0m") || left.starts_with("1h59m"))
    });
    wait_until("the old one is gone", || told(&stand).len() == 2);
    stand.lift("198.51.100.7/32");
    wait_until("it is lifted there as well", || told(&stand) == ["203.0.113.0/28"]);
    // A decision of somebody else about the same is not ours to delete.
    lapi.cscli(&["decisions", "add", "-i", "198.51.100.7", "-d", "2h"]).unwrap();
    stand.ban("198.51.100.7/32", 60);
    wait_until("both are there", || told(&stand) == ["198.51.100.7", "198.51.100.7", "203.0.113.0/28"]);
    stand.lift("198.51.100.7/32");
    let rest = ["198.51.100.7", "203.0.113.0/28"];
    wait_until("ours is gone", || told(&stand) == rest);
    assert!(decisions(&stand)[0].1.starts_with("1h"));
    thread::sleep(Duration::from_secs(2));
    let pushed = stand.metric("weir_l7_push_total", &[("target", "crowdsec"), ("result", "ok")]);
    assert!((pushed - 6.0).abs() < 1.1, "a push a change: {pushed}\n{}", stand.agent.log());
    // After a start it asks what it has told.
    stand.agent.stop().unwrap();
    stand.agent.start().unwrap();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(told(&stand), rest, "nothing is told twice");
}

/// Returns value and duration of all decisions that a bouncer of CrowdSec sees.
fn decisions(stand: &Stand) -> Vec<(String, String)> {
    let key = "X-Api-Key: key-of-other\r\n";
    let (status, _, body) = stand.http(Crowdsec::ADDRESS, "GET", "/v1/decisions", key, "");
    assert_eq!(status, 200);
    let list: Value = serde_json::from_slice(&body).unwrap();
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let list = list.as_array().into_iter().flatten();
    let mut list: Vec<_> = list.map(|one| (text(one, "value"), text(one, "duration"))).collect();
    list.sort();
    list
}

fn told(stand: &Stand) -> Vec<String> {
    decisions(stand).into_iter().map(|(value, _)| value).collect()
}
