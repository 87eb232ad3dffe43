use std::time::Duration;

use proptest::prelude::*;

use super::*;

const HOLD: Duration = Duration::from_mins(2);
/// As exabgp 5.0.15 writes it, but for the name of the host.
const SESSION: [&str; 11] = [
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0417402, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 1, "type": "state", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "state": "connected" } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0538898, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 2, "type": "state", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "state": "up" } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.055097, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 3, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}}, "community": [ [ 65535, 666 ] ] }, "announce": { "ipv4 unicast": { "192.0.2.1": [ { "nlri": "203.0.113.66/32" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0554547, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 4, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}} }, "announce": { "ipv4 unicast": { "192.0.2.1": [ { "nlri": "198.51.100.0/24" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0557287, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 5, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}}, "community": [ [ 65535, 666 ] ] }, "announce": { "ipv6 unicast": { "2001:db8::1": [ { "nlri": "2001:db8:bad::/48" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.056289, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 6, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}}, "extended-community": [ { "value": 9225060886715039744, "string": "rate-limit:0" } ] }, "announce": { "ipv4 flow": { "no-nexthop": [ { "source-ipv4": [ "198.51.100.7/32" ], "string": "flow source-ipv4 198.51.100.7/32" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.056683, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 7, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}}, "extended-community": [ { "value": 9225060886715039744, "string": "rate-limit:0" } ] }, "announce": { "ipv4 flow": { "no-nexthop": [ { "source-ipv4": [ "198.51.100.9/32" ], "protocol": [ "=tcp" ], "destination-port": [ "=443" ], "string": "flow source-ipv4 198.51.100.9/32 protocol =tcp destination-port =443" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0569649, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 8, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}}, "extended-community": [ { "value": 9225060886715039744, "string": "rate-limit:0" } ] }, "announce": { "ipv6 flow": { "no-nexthop": [ { "source-ipv6": [ "2001:db8:bad:1::/64/0" ], "string": "flow source-ipv6 2001:db8:bad:1::/64/0" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0572326, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 9, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65002]}}, "extended-community": [ { "value": 9225060887890886656, "string": "rate-limit:9600" } ] }, "announce": { "ipv4 flow": { "no-nexthop": [ { "destination-ipv4": [ "0.0.0.0/0" ], "source-ipv4": [ "198.51.100.8/32" ], "string": "flow destination-ipv4 0.0.0.0/0 source-ipv4 198.51.100.8/32" } ] } } } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.05736, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 10, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "eor": { "afi" : "ipv4", "safi" : "unicast" } } } }"#,
    r#"{ "exabgp": "5.0.0", "time": 1795533437.0574775, "host" : "h", "pid" : 20024, "ppid" : 20022, "counter": 11, "type": "update", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "asn": { "local": 65001, "peer": 65002 }, "router-id": "10.0.0.1" , "direction": "receive", "message": { "eor": { "afi" : "ipv4", "safi" : "flow" } } } }"#,
];

fn routes() -> Routes {
    Routes::new(&config::Bgp { communities: vec![(65535, 666)], hold: HOLD }, Guards::default())
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn state(peer: &str, state: &str) -> String {
    format!(
        r#"{{"type":"state","neighbor":{{"address":{{"local":"127.0.0.1","peer":"{peer}"}},"state":"{state}"}}}}"#
    )
}

fn message(peer: &str, message: &str) -> String {
    format!(
        r#"{{"type":"update","neighbor":{{"address":{{"local":"127.0.0.1","peer":"{peer}"}},"direction":"receive","message":{message}}}}}"#
    )
}

fn announce(peer: &str, prefix: &str) -> String {
    let update = r#"{"update":{"attribute":{"community":[[65535,666]]},"announce":{"ipv4 unicast":{"192.0.2.1":[{"nlri":"P"}]}}}}"#;
    message(peer, &update.replace('P', prefix))
}

fn withdraw(peer: &str, prefix: &str) -> String {
    message(peer, &r#"{"update":{"withdraw":{"ipv4 unicast":[{"nlri":"P"}]}}}"#.replace('P', prefix))
}

fn listed(routes: &Routes) -> Vec<String> {
    let prefixes = routes.ledger().iter().flat_map(|(_, entry)| {
        let mark = if entry.throttled { "~" } else { "" };
        entry.prefixes.iter().map(move |prefix| format!("{mark}{prefix}"))
    });
    let mut prefixes: Vec<_> = prefixes.collect();
    prefixes.sort();
    prefixes
}

#[test]
fn what_exabgp_writes_is_understood() {
    let mut routes = routes();
    for line in SESSION {
        routes.line(line, at(0)).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    let all = [
        "198.51.100.7/32",
        "2001:db8:bad:1::/64",
        "2001:db8:bad::/48",
        "203.0.113.66/32",
        "~198.51.100.8/32",
    ];
    assert_eq!(listed(&routes), all);
    assert!(routes.ledger().next_end().is_none());
    let Fetched::Ledger(_, rejected) = routes.fetched().unwrap() else { panic!() };
    assert_eq!(rejected.unselected, 1, "the rule about one port");
    // The same again changes nothing.
    for line in SESSION {
        assert_eq!(routes.line(line, at(1)), Ok(false));
    }
    let down = r#"{ "type": "state", "neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.0.2" }, "state": "down", "reason": "closing connection" } }"#;
    assert_eq!(routes.line(down, at(2)), Ok(true));
    assert_eq!((listed(&routes).len(), routes.ledger().next_end()), (5, Some(at(122))));
    let withdrawn = r#"{"update":{"withdraw":{"ipv4 flow":[{"source-ipv4":["198.51.100.7/32"],"string":"flow source-ipv4 198.51.100.7/32"}]}}}"#;
    assert_eq!(routes.line(&message("127.0.0.2", withdrawn), at(3)), Ok(true));
    assert!(!listed(&routes).contains(&"198.51.100.7/32".to_owned()));
}

#[test]
fn a_session_that_comes_back_keeps_what_it_announces_again() {
    let mut routes = routes();
    for prefix in ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"] {
        assert_eq!(routes.line(&announce("10.0.0.1", prefix), at(0)), Ok(true));
    }
    routes.line(&announce("10.0.0.10", "192.0.2.9/32"), at(0)).unwrap();
    assert_eq!(routes.line(&state("10.0.0.1", "down"), at(10)), Ok(true));
    assert_eq!(routes.line(&state("10.0.0.1", "down"), at(60)), Ok(false), "the hold is not longer for it");
    assert_eq!(routes.line(&state("10.0.0.1", "up"), at(61)), Ok(false));
    assert_eq!(routes.line(&announce("10.0.0.1", "192.0.2.1/32"), at(62)), Ok(true));
    assert!(!routes.forget(at(129)));
    // Another family has ended: says nothing of this one.
    let end = r#"{"eor":{"afi":"ipv6","safi":"unicast"}}"#;
    assert_eq!(routes.line(&message("10.0.0.1", end), at(63)), Ok(false));
    let mut swept = Routes { config: routes.config.clone(), intake: routes.intake.clone() };
    assert_eq!(
        swept.line(&message("10.0.0.1", r#"{"eor":{"afi":"ipv4","safi":"unicast"}}"#), at(63)),
        Ok(true)
    );
    assert_eq!(listed(&swept), ["192.0.2.1/32", "192.0.2.9/32"]);
    assert!(routes.forget(at(130)), "without a word of the end, the hold ends");
    assert_eq!(listed(&routes), ["192.0.2.1/32", "192.0.2.9/32"]);
}

#[test]
fn when_exabgp_begins_anew_nothing_stands() {
    for line in [START, r#"{"type":"notification","notification":"shutdown"}"#] {
        let mut routes = routes();
        routes.line(&announce("10.0.0.1", "192.0.2.1/32"), at(0)).unwrap();
        // As after a restart of the agent.
        let mut later = self::routes();
        later.resume(routes.ledger().clone());
        assert_eq!(later.line(line, at(5)), Ok(true));
        later.line(&announce("10.0.0.1", "192.0.2.2/32"), at(6)).unwrap();
        assert!(!later.forget(at(124)) && later.forget(at(125)));
        assert_eq!(listed(&later), ["192.0.2.2/32"]);
    }
}

#[test]
fn a_route_that_is_no_blackhole_any_more_is_let_go() {
    let mut routes = routes();
    routes.line(&announce("10.0.0.1", "192.0.2.1/32"), at(0)).unwrap();
    let plain = r#"{"update":{"attribute":{"community":[[65000,1]]},"announce":{"ipv4 unicast":{"192.0.2.1":[{"nlri":"192.0.2.1/32"}]}}}}"#;
    assert_eq!(routes.line(&message("10.0.0.1", plain), at(0)), Ok(true));
    assert!(routes.ledger().is_empty());
    let wide = announce("10.0.0.1", "0.0.0.0/0");
    assert_eq!(routes.line(&wide, at(0)), Ok(false));
    assert!(routes.ledger().is_empty());
    // What this host itself announces.
    let own = announce("10.0.0.1", "192.0.2.1/32").replace("receive", "send");
    assert_eq!(routes.line(&own, at(0)), Ok(false));
}

#[test]
fn a_rule_about_some_packets_is_none_about_a_source() {
    let flow = |rule: &str, rate: &str| {
        message(
            "10.0.0.1",
            &format!(
                r#"{{"update":{{"attribute":{{"extended-community":[{rate}]}},"announce":{{"ipv4 flow":{{"no-nexthop":[{rule}]}}}}}}}}"#
            ),
        )
    };
    let drop = r#"{"value":9225060886715039744,"string":"rate-limit:0"}"#;
    let source = r#""source-ipv4":["198.51.100.0/24"],"string":"x""#;
    for (rule, rate, want) in [
        (format!("{{{source}}}"), drop, "198.51.100.0/24"),
        (format!(r#"{{{source},"destination-ipv4":["0.0.0.0/0"]}}"#), drop, "198.51.100.0/24"),
        (format!("{{{source}}}"), r#"{"string":"rate-limit:0"}"#, "198.51.100.0/24"),
        (format!("{{{source}}}"), r#"{"string":"rate-limit:9600"}"#, "~198.51.100.0/24"),
        (format!(r#"{{{source},"destination-ipv4":["192.0.2.0/24"]}}"#), drop, ""),
        (format!(r#"{{{source},"protocol":["=udp"]}}"#), drop, ""),
        (format!(r#"{{{source},"fragment":["is-fragment"]}}"#), drop, ""),
        (r#"{"destination-ipv4":["192.0.2.10/32"],"string":"x"}"#.to_owned(), drop, ""),
        (r#"{"source-ipv4":["198.51.100.0/24","192.0.2.0/24"],"string":"x"}"#.to_owned(), drop, ""),
        (r#"{"source-ipv6":["2001:db8::/32/16"],"string":"x"}"#.to_owned(), drop, ""),
        (r#"{"source-ipv4":["0.0.0.0/0"],"string":"x"}"#.to_owned(), drop, ""),
        (format!("{{{source}}}"), r#"{"value":9225342361691750400,"string":"redirect:1:2"}"#, ""),
        (format!("{{{source}}}"), "", ""),
    ] {
        let mut routes = routes();
        routes.line(&flow(&rule, rate), at(0)).unwrap();
        assert_eq!(listed(&routes).join(" "), want, "{rule} {rate}");
    }
}

#[test]
fn a_line_that_is_none_changes_nothing() {
    let mut routes = routes();
    routes.line(&announce("10.0.0.1", "192.0.2.1/32"), at(0)).unwrap();
    let nameless = r#"{"update":{"withdraw":{"ipv4 unicast":[{"nlri":"192.0.2.1/32"},{}]}}}"#;
    for line in [
        "",
        "x",
        "{}",
        "[]",
        "5",
        r#"{"type":"state"}"#,
        r#"{"type":"update","neighbor":{}}"#,
        &message("10.0.0.1", nameless),
    ] {
        assert!(routes.line(line, at(0)).is_err(), "{line}");
    }
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    assert!(routes.line(&long, at(0)).is_err());
    for line in [r#"{"type":"keepalive"}"#, r#"{"type":"open","neighbor":{}}"#] {
        assert_eq!(routes.line(line, at(0)), Ok(false));
    }
    assert_eq!(listed(&routes), ["192.0.2.1/32"]);
}

#[derive(Clone, Debug)]
enum Event {
    Announce(u8, u8),
    Withdraw(u8, u8),
    Down(u8),
    End(u8),
    Wait(u8),
}

proptest! {
    /// Beside a model: each route with the time until which it is held.
    #[test]
    fn what_stands_is_what_was_announced(
        events in proptest::collection::vec(
            prop_oneof![
                4 => (0u8..3, 0u8..6).prop_map(|(peer, prefix)| Event::Announce(peer, prefix)),
                2 => (0u8..3, 0u8..6).prop_map(|(peer, prefix)| Event::Withdraw(peer, prefix)),
                1 => (0u8..3).prop_map(Event::Down),
                1 => (0u8..3).prop_map(Event::End),
                2 => (0u8..100).prop_map(Event::Wait),
            ],
            0..60,
        ),
    ) {
        let mut routes = routes();
        let mut model = std::collections::BTreeMap::new();
        let mut now = 0u64;
        for event in events {
            let peer = |peer: u8| format!("10.0.0.{peer}");
            let prefix = |prefix: u8| format!("192.0.2.{prefix}/32");
            let line = match event {
                Event::Announce(p, n) => { model.insert((p, n), None); announce(&peer(p), &prefix(n)) }
                Event::Withdraw(p, n) => { model.remove(&(p, n)); withdraw(&peer(p), &prefix(n)) }
                Event::Down(p) => {
                    for ((of, _), end) in &mut model { if *of == p { end.get_or_insert(now + HOLD.as_secs()); } }
                    state(&peer(p), "down")
                }
                Event::End(p) => {
                    model.retain(|(of, _), end| *of != p || end.is_none());
                    message(&peer(p), r#"{"eor":{"afi":"ipv4","safi":"unicast"}}"#)
                }
                Event::Wait(seconds) => { now += u64::from(seconds); state("10.0.0.0", "up") }
            };
            routes.line(&line, at(now)).unwrap();
            routes.forget(at(now));
            model.retain(|_, end| end.is_none_or(|end| end > now));
            let mut want: Vec<_> = model.keys().map(|(_, n)| prefix(*n)).collect();
            want.sort();
            prop_assert_eq!(listed(&routes), want);
        }
    }

    #[test]
    fn any_line_is_understood_or_not(cut in 0usize..600, line in 0usize..11, other in ".{0,80}") {
        let mut routes = routes();
        let text: String = SESSION[line].chars().take(cut).collect();
        _ = routes.line(&text, at(0));
        _ = routes.line(&other, at(0));
    }
}
