use std::{net::Ipv4Addr, thread, time::Duration};

use weir_tests::{
    namespace::{Namespace, Pair},
    peers::{self, Medallion},
    web::{Answer, Server},
};

use super::{Asked, started, wait_for_packets};

/// Objects that a page has.
const PAGE: usize = 3;

fn feed(server: &Medallion, more: &str) -> String {
    format!(
        "{{name: intel, taxii: {{collection: '{}'{more}}}, action: drop, interval: 1s, \
         http: {{insecure: true, private: true, timeout: 10s, basic: {{user: {}, file: {}}}}}}}",
        server.url(),
        Medallion::USER,
        server.password().display()
    )
}

fn server(test: &str, namespace: &Namespace) -> Option<Medallion> {
    let server = Medallion::start(namespace, PAGE).unwrap();
    if server.is_none() {
        peers::missing(test, "medallion");
    }
    server
}

/// An indicator with this number.
fn indicator(number: u32, modified: &str, pattern: &str, more: &str) -> String {
    format!(
        r#"{{"type": "indicator", "spec_version": "2.1", "id": "indicator--00000000-0000-4000-8000-{number:012}",
"created": "2026-01-01T00:00:00.000Z", "modified": "{modified}", "pattern": "{pattern}", "pattern_type": "stix",
"valid_from": "2026-01-01T00:00:00Z"{more}}}"#
    )
}

const EARLY: &str = "2026-02-01T00:00:00.000Z";
const LATE: &str = "2026-03-01T00:00:00.000Z";

fn address(number: u32) -> String {
    format!("[ipv4-addr:value = '198.51.100.{number}']")
}

#[test]
fn indicators_are_read_page_by_page() {
    let namespace = Namespace::new().unwrap();
    let Some(server) = server("taxii::indicators_are_read_page_by_page", &namespace) else { return };
    let mut asked = Asked::new(&feed(&server, ", min_confidence: 30"));
    assert!(asked.ask(&namespace).unwrap(), "an empty collection is one");
    assert_eq!(asked.listed(), [""; 0]);

    // More than three pages, and what is no list of addresses among them.
    let mut objects: Vec<_> = (1..=8).map(|n| indicator(n, EARLY, &address(n), "")).collect();
    let malware = r#"{"type": "malware", "spec_version": "2.1", "id": "malware--00000000-0000-4000-8000-000000000001", "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "name": "x", "is_family": false}"#;
    objects.push(malware.to_owned());
    objects.push(indicator(9, EARLY, "[domain-name:value = 'bad.example']", ""));
    objects.push(indicator(10, EARLY, &address(10), r#", "confidence": 29"#));
    objects.push(indicator(
        11,
        EARLY,
        "[ipv4-addr:value ISSUBSET '203.0.113.0/24'] OR [ipv6-addr:value IN ('2001:db8::1')]",
        "",
    ));
    server.add(&objects).unwrap();
    let mut asked = Asked::new(&feed(&server, ", min_confidence: 30"));
    asked.ask(&namespace).unwrap();
    let mut all: Vec<_> = (1..=8).map(|n| format!("198.51.100.{n}/32")).collect();
    all.extend(["2001:db8::1/128".to_owned(), "203.0.113.0/24".to_owned()]);
    assert_eq!(asked.listed(), all);
    assert_eq!(asked.rejected.unselected, 2);
    assert!(!asked.ask(&namespace).unwrap(), "nothing was added");

    // What is added is read alone: one new, one revoked, one in a new version.
    server
        .add(&[
            indicator(12, EARLY, &address(12), ""),
            indicator(1, LATE, &address(1), r#", "revoked": true"#),
            indicator(2, LATE, &address(22), ""),
            indicator(3, LATE, &address(3), r#", "valid_until": "2026-03-02T00:00:00Z""#),
        ])
        .unwrap();
    let want = ["12", "22", "4", "5", "6", "7", "8"].map(|n| format!("198.51.100.{n}/32"));
    let mut want: Vec<_> = want.iter().map(String::as_str).collect();
    want.extend(["2001:db8::1/128", "203.0.113.0/24"]);
    asked.wait_for(&namespace, &want);
    // All anew says the same.
    let mut again = Asked::new(&feed(&server, ", min_confidence: 30"));
    again.wait_for(&namespace, &want);
}

#[test]
fn a_wrong_password_is_told() {
    let namespace = Namespace::new().unwrap();
    let Some(server) = server("taxii::a_wrong_password_is_told", &namespace) else { return };
    std::fs::write(server.password(), "of-another").unwrap();
    let error = Asked::new(&feed(&server, "")).ask(&namespace).unwrap_err();
    assert_eq!(error.cause, "auth", "{error}");
    assert!(!error.message.contains("of-another"), "{error}");
}

#[test]
fn an_indicator_becomes_a_dropped_packet() {
    let pair = Pair::new().unwrap();
    let Some(server) = server("taxii::an_indicator_becomes_a_dropped_packet", &pair.server) else { return };
    server.add(&(1..=4).map(|n| indicator(n, EARLY, &address(n), "")).collect::<Vec<_>>()).unwrap();
    let agent = started(&pair, &feed(&server, ""));
    let [first, fourth, other] = [1, 4, 9].map(|n| Ipv4Addr::new(198, 51, 100, n));
    wait_for_packets(&pair, &agent, fourth, true);
    wait_for_packets(&pair, &agent, other, false);
    server
        .add(&[indicator(9, EARLY, &address(9), ""), indicator(1, LATE, &address(1), r#", "revoked": true"#)])
        .unwrap();
    wait_for_packets(&pair, &agent, other, true);
    wait_for_packets(&pair, &agent, first, false);
    wait_for_packets(&pair, &agent, fourth, true);
}

/// What medallion does not do.
#[test]
fn pages_that_lead_nowhere_are_told() {
    let namespace = Namespace::new().unwrap();
    let server = Server::start(Some(&namespace)).unwrap();
    let url = server.url("/api/collections/1/");
    let feed = format!(
        "{{name: intel, taxii: {{collection: '{url}'}}, action: drop, http: {{insecure: true, private: true}}}}"
    );
    let path = "/api/collections/1/objects/";
    let page = |more: &str| {
        let body = format!(r#"{{"objects": [{}]{more}}}"#, indicator(1, EARLY, &address(1), ""));
        Answer::ok(body).header("Content-Type", "application/taxii+json;version=2.1")
    };
    server.answer(path, page(r#", "more": true"#));
    let error = Asked::new(&feed).ask(&namespace).unwrap_err();
    assert!(error.cause == "protocol" && error.message.contains("not where"), "{error}");
    server.answer(path, Answer::ok("<html>").header("Content-Type", "text/html"));
    assert_eq!(Asked::new(&feed).ask(&namespace).unwrap_err().cause, "protocol");
    // Where the last page was added is enough to find the next.
    let second = indicator(2, EARLY, &address(2), "");
    let first = page(r#", "more": true"#).header("X-TAXII-Date-Added-Last", "2026-01-01T00:00:00.000001Z");
    server.handle(path, move |request| {
        if request.path.contains("added_after=2026-01-01T00%3A00%3A00.000001Z") {
            Answer::ok(format!(r#"{{"objects": [{second}]}}"#))
        } else {
            first.clone()
        }
    });
    let mut asked = Asked::new(&feed);
    asked.ask(&namespace).unwrap();
    assert_eq!(asked.listed(), ["198.51.100.1/32", "198.51.100.2/32"]);
    let (request, _) = server.asked(path).pop().unwrap();
    assert_eq!(request.header("accept"), "application/taxii+json;version=2.1");
    // One whose time comes is put in force without asking.
    let in_seconds = |seconds| humantime_text(seconds);
    let more = format!(r#", "valid_from": "{}", "valid_until": "{}""#, in_seconds(2), in_seconds(3600));
    let object =
        indicator(3, EARLY, &address(3), "").replace(r#", "valid_from": "2026-01-01T00:00:00Z""#, "");
    let object = object.replace(r#""valid_from": "2026-01-01T00:00:00Z""#, &more[2..]);
    server.answer(path, Answer::ok(format!(r#"{{"objects": [{object}]}}"#)));
    let mut asked = Asked::new(&feed);
    asked.ask(&namespace).unwrap();
    assert_eq!(asked.listed(), [""; 0]);
    let questions = server.asked(path).len();
    thread::sleep(Duration::from_millis(2500));
    assert!(asked.ask(&namespace).unwrap());
    assert_eq!((asked.listed(), server.asked(path).len()), (vec!["198.51.100.3/32".to_owned()], questions));
}

/// Returns the time in so many seconds, as STIX writes it.
fn humantime_text(seconds: u64) -> String {
    let time = std::time::SystemTime::now() + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
