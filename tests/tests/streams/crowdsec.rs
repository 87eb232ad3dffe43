use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use weir_tests::{
    agent::Agent,
    namespace::{Namespace, Pair},
    patience,
    peers::{self, Crowdsec},
    web::{Answer, Body, Server},
};

use super::{Asked, PACKETS, started, wait_for_arrivals, wait_for_packets};

fn feed(url: &str, key: &std::path::Path, more: &str) -> String {
    format!(
        "{{name: crowd, crowdsec: {{url: '{url}', key: {}{more}}}, http: {{insecure: true, private: true, timeout: 5s}}, \
         action: drop, interval: 1s}}",
        key.display()
    )
}

fn real(lapi: &Crowdsec, more: &str) -> String {
    feed(&format!("http://{}/", Crowdsec::ADDRESS), &lapi.key(), more)
}

fn lapi(test: &str, namespace: &Namespace) -> Option<Crowdsec> {
    let lapi = Crowdsec::start(namespace).unwrap();
    if lapi.is_none() {
        peers::missing(test, "crowdsec");
    }
    lapi
}

#[test]
fn decisions_come_and_go() {
    let namespace = Namespace::new().unwrap();
    let Some(mut lapi) = lapi("crowdsec::decisions_come_and_go", &namespace) else { return };
    for words in [
        &["-i", "198.51.100.7", "-d", "4h"][..],
        &["-r", "203.0.113.0/28", "-d", "10m", "-t", "captcha"],
        &["-i", "2001:db8::7", "-d", "1h30m", "-R", "manual"],
        &["--scope", "country", "--value", "XX", "-d", "1h"],
        &["-i", "198.51.100.8", "-d", "1h", "-t", "custom"],
    ] {
        lapi.cscli(&[&["decisions", "add"], words].concat()).unwrap();
    }
    let mut asked = Asked::new(&real(&lapi, ""));
    assert!(asked.ask(&namespace).unwrap());
    assert_eq!(asked.listed(), ["198.51.100.7/32", "2001:db8::7/128", "~203.0.113.0/28"]);
    assert_eq!(asked.rejected.unselected, 1, "the type that is not known; the country was not asked for");
    assert!(!asked.ask(&namespace).unwrap(), "nothing changed");

    // One more, and one less.
    lapi.cscli(&["decisions", "add", "-i", "198.51.100.9", "-d", "1h"]).unwrap();
    asked.wait_for(&namespace, &["198.51.100.7/32", "198.51.100.9/32", "2001:db8::7/128", "~203.0.113.0/28"]);
    lapi.cscli(&["decisions", "delete", "-i", "198.51.100.7"]).unwrap();
    asked.wait_for(&namespace, &["198.51.100.9/32", "2001:db8::7/128", "~203.0.113.0/28"]);

    // What happens while it is away is told afterwards.
    lapi.stop().unwrap();
    let error = asked.ask(&namespace).unwrap_err();
    // Or, where the connection was still there, that it broke off.
    assert!(matches!(error.cause, "connect" | "protocol"), "{error}");
    lapi.resume().unwrap();
    lapi.cscli(&["decisions", "delete", "-i", "2001:db8::7"]).unwrap();
    asked.wait_for(&namespace, &["198.51.100.9/32", "~203.0.113.0/28"]);

    // A decision that ends by itself: the LAPI tells of it, if we had not known.
    lapi.cscli(&["decisions", "add", "-i", "198.51.100.10", "-d", "3s"]).unwrap();
    asked.wait_for(&namespace, &["198.51.100.10/32", "198.51.100.9/32", "~203.0.113.0/28"]);
    asked.wait_for(&namespace, &["198.51.100.9/32", "~203.0.113.0/28"]);
}

#[test]
fn several_decisions_about_one_address() {
    let namespace = Namespace::new().unwrap();
    let Some(lapi) = lapi("crowdsec::several_decisions_about_one_address", &namespace) else { return };
    let mut asked = Asked::new(&real(&lapi, ""));
    asked.ask(&namespace).unwrap();
    for (duration, reason) in [("4h", "one"), ("8h", "two")] {
        lapi.cscli(&["decisions", "add", "-i", "198.51.100.7", "-d", duration, "-R", reason]).unwrap();
    }
    lapi.cscli(&["decisions", "add", "-i", "198.51.100.8", "-d", "1h"]).unwrap();
    asked.wait_for(&namespace, &["198.51.100.7/32", "198.51.100.7/32", "198.51.100.8/32"]);
    // Both of them.
    lapi.cscli(&["decisions", "delete", "-i", "198.51.100.7"]).unwrap();
    asked.wait_for(&namespace, &["198.51.100.8/32"]);
}

#[test]
fn filters_are_those_of_the_server() {
    let namespace = Namespace::new().unwrap();
    let Some(lapi) = lapi("crowdsec::filters_are_those_of_the_server", &namespace) else { return };
    lapi.cscli(&["decisions", "add", "-i", "198.51.100.7", "-R", "crowdsecurity/ssh-bf"]).unwrap();
    lapi.cscli(&["decisions", "add", "-i", "198.51.100.8", "-R", "crowdsecurity/http-probing"]).unwrap();
    for (more, want) in [
        (", scenarios_containing: [ssh, ftp]", &["198.51.100.7/32"][..]),
        (", origins: [cscli]", &["198.51.100.7/32", "198.51.100.8/32"]),
        (", origins: [CAPI, lists]", &[]),
    ] {
        let mut asked = Asked::new(&real(&lapi, more));
        asked.ask(&namespace).unwrap();
        assert_eq!(asked.listed(), want, "{more}");
    }
}

#[test]
fn a_wrong_key_is_told() {
    let namespace = Namespace::new().unwrap();
    let Some(lapi) = lapi("crowdsec::a_wrong_key_is_told", &namespace) else { return };
    std::fs::write(lapi.key(), "of-another-bouncer").unwrap();
    let error = Asked::new(&real(&lapi, "")).ask(&namespace).unwrap_err();
    assert_eq!(error.cause, "auth");
    assert!(error.message.contains("403") && !error.message.contains("of-another-bouncer"), "{error}");
}

#[test]
fn thousands_of_decisions() {
    let namespace = Namespace::new().unwrap();
    let Some(lapi) = lapi("crowdsec::thousands_of_decisions", &namespace) else { return };
    let file = lapi.key().with_file_name("decisions.csv");
    let rows = (0..5000u32).map(|n| format!("4h,ip,198.18.{}.{},ban\n", n >> 8, n & 255));
    std::fs::write(&file, format!("duration,scope,value,type\n{}", rows.collect::<String>())).unwrap();
    lapi.cscli(&["decisions", "import", "-i", &file.display().to_string()]).unwrap();
    let mut asked = Asked::new(&real(&lapi, ""));
    asked.ask(&namespace).unwrap();
    assert_eq!(asked.listing.entries.len(), 5000);
    lapi.cscli(&["decisions", "delete", "-i", "198.18.0.9"]).unwrap();
    while !asked.ask(&namespace).unwrap() {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(asked.listing.entries.len(), 4999);
}

#[test]
fn a_decision_becomes_a_dropped_packet() {
    let pair = Pair::new().unwrap();
    let Some(lapi) = lapi("crowdsec::a_decision_becomes_a_dropped_packet", &pair.server) else { return };
    let source = Ipv4Addr::new(198, 51, 100, 7);
    lapi.cscli(&["decisions", "add", "-i", "203.0.113.9"]).unwrap();
    let agent = started(&pair, &real(&lapi, ""));
    wait_for_packets(&pair, &agent, Ipv4Addr::new(203, 0, 113, 9), true);
    wait_for_packets(&pair, &agent, source, false);
    lapi.cscli(&["decisions", "add", "-i", &source.to_string()]).unwrap();
    wait_for_packets(&pair, &agent, source, true);
    lapi.cscli(&["decisions", "delete", "-i", &source.to_string()]).unwrap();
    wait_for_packets(&pair, &agent, source, false);
    wait_for_packets(&pair, &agent, Ipv4Addr::new(203, 0, 113, 9), true);
    // By its own clock, whatever the LAPI says.
    lapi.cscli(&["decisions", "add", "-i", &source.to_string(), "-d", "4s"]).unwrap();
    wait_for_packets(&pair, &agent, source, true);
    wait_for_packets(&pair, &agent, source, false);
}

#[test]
fn a_captcha_becomes_a_limit() {
    let pair = Pair::new().unwrap();
    let Some(lapi) = lapi("crowdsec::a_captcha_becomes_a_limit", &pair.server) else { return };
    let source = Ipv4Addr::new(198, 51, 100, 7);
    let agent = started(&pair, &real(&lapi, ""));
    wait_for_arrivals(&pair, &agent, source, 443, |arrived| arrived == PACKETS);
    lapi.cscli(&["decisions", "add", "-i", &source.to_string(), "-t", "captcha"]).unwrap();
    wait_for_arrivals(&pair, &agent, source, 443, |arrived| arrived < PACKETS / 2);
    // It is no ban: what no limit is about passes.
    wait_for_packets(&pair, &agent, source, false);
}

fn key() -> tempfile::NamedTempFile {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "secret\n").unwrap();
    key
}

/// Debian's takes no usage metrics, so this is a LAPI that does, if not always.
#[test]
fn what_the_kernel_drops_is_reported() {
    let pair = Pair::new().unwrap();
    let (server, key) = (Server::start(Some(&pair.server)).unwrap(), key());
    let [source, clean] = [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(203, 0, 113, 9)];
    let decision = format!(
        r#"{{"new":[{{"id":1,"origin":"cscli","scope":"Ip","type":"ban","value":"{source}","duration":"4h"}}],"deleted":null}}"#
    );
    server.answer("/v1/decisions/stream", Answer::ok(decision));
    let tries = AtomicUsize::new(0);
    server.handle("/v1/usage-metrics", move |_| {
        Answer::status(if tries.fetch_add(1, Relaxed).is_multiple_of(2) { 500 } else { 201 })
    });
    let agent = started(&pair, &feed(&server.url("/"), key.path(), ", usage_interval: 1s"));
    wait_for_packets(&pair, &agent, source, true);
    wait_for_packets(&pair, &agent, clean, false);
    // Again, after something has been reported.
    wait_for_sum(&agent, &server);
    wait_for_packets(&pair, &agent, source, true);
    let [packets, bytes, processed] = wait_for_sum(&agent, &server);
    assert!(packets >= 2 * PACKETS as u64 && processed >= packets + PACKETS as u64, "{packets} {processed}");
    assert_eq!(bytes, packets * (bytes / packets), "they were all alike");
    let (request, _) = server.asked("/v1/usage-metrics").pop().unwrap();
    assert_eq!((&*request.method, request.header("x-api-key")), ("POST", "secret"));
    assert_eq!(reported(&request.body, "active_decisions", "ip"), 1);
}

/// Waits until what the server was told adds up to what the kernel has counted: packets and bytes
/// that were dropped, and packets that were not.
fn wait_for_sum(agent: &Agent, server: &Server) -> [u64; 3] {
    let deadline = Instant::now() + patience::seconds(30);
    loop {
        let metrics = agent.metrics().unwrap();
        let drops = [("verdict", "drop")];
        let want = [
            metrics.count("weir_feed_packets_total", &[("feed", "crowd"), drops[0]]),
            metrics.count("weir_bytes_total", &drops),
        ];
        let mut told = [0; 3];
        for (request, status) in server.asked("/v1/usage-metrics") {
            let items = [("dropped", "packet"), ("dropped", "byte"), ("processed", "packet")];
            for (sum, (name, unit)) in told.iter_mut().zip(items) {
                *sum += if status == 201 { reported(&request.body, name, unit) } else { 0 };
            }
        }
        if want[0] > 0 && want == told[..2] {
            return told;
        }
        assert!(Instant::now() < deadline, "{told:?} rather than {want:?}\n{}", agent.log());
        thread::sleep(Duration::from_millis(100));
    }
}

/// Returns what a report says of something.
fn reported(body: &[u8], name: &str, unit: &str) -> u64 {
    let page: serde_json::Value = serde_json::from_slice(body).unwrap();
    let items = page["remediation_components"][0]["metrics"][0]["items"].as_array().unwrap().clone();
    let of = |item: &&serde_json::Value| item["name"] == name && item["unit"] == unit;
    items.iter().filter(of).map(|item| item["value"].as_u64().unwrap()).sum()
}

/// What Debian's does not do: go away in the middle of an answer, or say what is no answer.
#[test]
fn what_may_be_lost_is_asked_for_again() {
    let namespace = Namespace::new().unwrap();
    let (server, key) = (Server::start(Some(&namespace)).unwrap(), key());
    let stream = "/v1/decisions/stream";
    let one = r#"{"new":[{"id":1,"origin":"x","scenario":"y","scope":"Ip","type":"ban","value":"198.51.100.7","duration":"4h"}],"deleted":null}"#;
    let mut asked = Asked::new(&feed(&server.url("/"), key.path(), ""));
    let mut questions = Vec::new();
    let mut ask = |asked: &mut Asked, answer: Answer| {
        server.answer(stream, answer);
        let result = asked.ask(&namespace).map_err(|error| error.cause);
        let (request, _) = server.asked(stream).pop().unwrap();
        assert_eq!(request.header("x-api-key"), "secret");
        assert!(request.header("user-agent").starts_with("weir/"), "{request:?}");
        questions.push(request.path.contains("startup=true"));
        result
    };
    assert_eq!(ask(&mut asked, Answer::ok(one)), Ok(true));
    assert_eq!(ask(&mut asked, Answer::ok(r#"{"new":null,"deleted":null}"#)), Ok(false));
    assert_eq!(ask(&mut asked, Answer::status(500)), Err("status"));
    assert_eq!(ask(&mut asked, Answer::ok("{}")), Ok(false));
    assert_eq!(ask(&mut asked, Answer::ok("").body(Body::Cut(b"{\"new\":[".to_vec(), 100))), Err("protocol"));
    assert_eq!(ask(&mut asked, Answer::ok("null")), Err("protocol"));
    assert_eq!(ask(&mut asked, Answer::ok("{}")), Err("protocol"), "that is not all of it");
    assert_eq!(asked.listed(), ["198.51.100.7/32"], "what was known stays");
    assert_eq!(ask(&mut asked, Answer::ok(r#"{"new":[],"deleted":[]}"#)), Ok(true));
    assert_eq!(asked.listed(), [""; 0]);
    assert_eq!(questions, [true, false, false, false, false, true, true, true]);
}
