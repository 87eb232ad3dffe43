use std::net::Ipv4Addr;

use weir_tests::{
    namespace::{Namespace, Pair},
    web::{Answer, Server},
};

use super::{Asked, started, wait_for_packets};

const EVENTS: [&str; 3] = [
    "5f3c1a2b-0000-4000-8000-000000000001",
    "5f3c1a2b-0000-4000-8000-000000000002",
    "5f3c1a2b-0000-4000-8000-000000000003",
];

fn feed(server: &Server) -> String {
    format!(
        "{{name: misp, misp: '{}', action: drop, interval: 1s, http: {{insecure: true, private: true}}}}",
        server.url("/feed/")
    )
}

fn manifest(server: &Server, events: &[(&str, u64)]) {
    let about =
        |(uuid, timestamp): &(&str, u64)| format!(r#""{uuid}": {{"timestamp": "{timestamp}", "info": "x"}}"#);
    let text = format!("{{{}}}", events.iter().map(about).collect::<Vec<_>>().join(", "));
    server.list("/feed/manifest.json", text);
}

fn event(server: &Server, uuid: &str, addresses: &[&str]) {
    let attribute = |address: &&str| format!(r#"{{"type": "ip-dst", "value": "{address}", "to_ids": true}}"#);
    let attributes = addresses.iter().map(attribute).collect::<Vec<_>>().join(", ");
    server.answer(
        &path(uuid),
        Answer::ok(format!(r#"{{"Event": {{"uuid": "{uuid}", "Attribute": [{attributes}]}}}}"#)),
    );
}

fn path(uuid: &str) -> String {
    format!("/feed/{uuid}.json")
}

#[test]
fn only_events_that_changed_are_read() {
    let namespace = Namespace::new().unwrap();
    let server = Server::start(Some(&namespace)).unwrap();
    let [first, second, third] = EVENTS;
    manifest(&server, &[(first, 1), (second, 1)]);
    event(&server, first, &["198.51.100.1", "198.51.100.2"]);
    event(&server, second, &["203.0.113.0/24"]);
    let mut asked = Asked::new(&feed(&server));
    assert!(asked.ask(&namespace).unwrap());
    assert_eq!(asked.listed(), ["198.51.100.1/32", "198.51.100.2/32", "203.0.113.0/24"]);
    assert!(!asked.ask(&namespace).unwrap());
    assert_eq!(server.asked("/feed/manifest.json").pop().unwrap().1, 304);

    // The first changed, the second is gone, a third is there.
    event(&server, first, &["198.51.100.3"]);
    event(&server, third, &["2001:db8::1"]);
    manifest(&server, &[(first, 2), (third, 1)]);
    assert!(asked.ask(&namespace).unwrap());
    assert_eq!(asked.listed(), ["198.51.100.3/32", "2001:db8::1/128"]);
    let asked_for = EVENTS.map(|uuid| server.asked(&path(uuid)).len());
    assert_eq!(asked_for, [2, 1, 1]);

    // One that the manifest has before the server does: the others count, and it is asked for again.
    manifest(&server, &[(first, 2), (third, 1), (second, 5)]);
    server.answer(&path(second), Answer::status(404));
    assert_eq!(asked.ask(&namespace).unwrap_err().cause, "status");
    event(&server, second, &["203.0.113.7"]);
    assert!(asked.ask(&namespace).unwrap());
    assert_eq!(asked.listed(), ["198.51.100.3/32", "2001:db8::1/128", "203.0.113.7/32"]);
}

#[test]
fn what_is_no_feed_is_told() {
    let namespace = Namespace::new().unwrap();
    let server = Server::start(Some(&namespace)).unwrap();
    let [first, ..] = EVENTS;
    server.answer("/feed/manifest.json", Answer::ok("<html>"));
    assert_eq!(Asked::new(&feed(&server)).ask(&namespace).unwrap_err().cause, "protocol");
    server.answer("/feed/manifest.json", Answer::ok(r#"{"../x": {"timestamp": "1"}}"#));
    assert_eq!(Asked::new(&feed(&server)).ask(&namespace).unwrap_err().cause, "protocol");
    manifest(&server, &[(first, 1)]);
    server.answer(&path(first), Answer::ok("{}"));
    let error = Asked::new(&feed(&server)).ask(&namespace).unwrap_err();
    assert!(error.cause == "protocol" && error.message.contains(first), "{error}");
}

#[test]
fn an_attribute_becomes_a_dropped_packet() {
    let pair = Pair::new().unwrap();
    let server = Server::start(Some(&pair.server)).unwrap();
    let [first, second, _] = EVENTS;
    let [one, other] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];
    manifest(&server, &[(first, 1), (second, 1)]);
    event(&server, first, &[&one.to_string()]);
    event(&server, second, &["203.0.113.0/24"]);
    let agent = started(&pair, &feed(&server));
    wait_for_packets(&pair, &agent, one, true);
    wait_for_packets(&pair, &agent, other, false);
    event(&server, first, &[&other.to_string()]);
    manifest(&server, &[(first, 2), (second, 1)]);
    wait_for_packets(&pair, &agent, other, true);
    wait_for_packets(&pair, &agent, one, false);
}
