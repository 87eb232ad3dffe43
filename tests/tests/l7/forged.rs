//! What a client writes into headers changes neither who it is nor what it asks for.

use std::{thread, time::Duration, time::Instant};

use weir_tests::{
    namespace::Pair,
    patience,
    peers::{Kind, Proxy, missing},
    web::{Answer, Request, Server},
};

use super::{
    READER,
    street::{CDN, LISTED, Street, ask},
};

/// A list names a client that comes by a trusted hop, and it tries to be somebody else.
fn hides(test: &str, kind: Kind) {
    let Some(street) = Street::new(kind).unwrap() else { return missing(test, kind.name()) };
    let (hop, many) = (CDN.to_string(), format!("{}{LISTED}", "198.51.100.1, ".repeat(40)));
    let (byte, long) = (format!("é, {LISTED}"), format!("{}, {LISTED}", "x".repeat(2000)));
    let forwarded = "X-Forwarded-For";
    for headers in [
        &[(forwarded, LISTED)][..],
        // A byte that is no text.
        &[(forwarded, &byte)],
        // Two hops, the nearer of which has added a line of its own.
        &[(forwarded, LISTED), (forwarded, &hop)],
        &[(forwarded, &many)],
        &[(forwarded, &long)],
        &[(forwarded, READER), (forwarded, LISTED)],
        &[("X-Real-IP", READER), (forwarded, LISTED)],
        &[(forwarded, LISTED), ("X-Real-IP", READER)],
        &[(forwarded, LISTED), ("Forwarded", "for=203.0.113.5"), ("X-Client-IP", READER)],
    ] {
        let got = street.ask_with(CDN, "/items", headers).unwrap();
        assert_eq!(got.status, 403, "{headers:?}: {}", street.why());
    }
    // As much as fits into what the proxy takes.
    let headers = [(forwarded, LISTED), ("User-Agent", &"u".repeat(7000))];
    let got = street.ask_with(CDN, &format!("/{}", "p".repeat(7000)), &headers).unwrap();
    assert_eq!(got.status, 403, "{}", street.why());
    assert_eq!(street.status(CDN, "/items", Some(READER)), 200);
}

#[test]
fn nobody_hides_behind_envoy() {
    hides("nobody_hides_behind_envoy", Kind::Envoy);
}

#[test]
fn nobody_hides_behind_haproxy() {
    hides("nobody_hides_behind_haproxy", Kind::Haproxy);
}

#[test]
fn nobody_hides_behind_nginx() {
    hides("nobody_hides_behind_nginx", Kind::Nginx);
}

#[test]
fn nobody_hides_behind_caddy() {
    hides("nobody_hides_behind_caddy", Kind::Caddy);
}

#[test]
fn nobody_hides_behind_traefik() {
    hides("nobody_hides_behind_traefik", Kind::Traefik);
}

/// Returns what a proxy asks in weir's place when a client behind a trusted hop asks for something else
/// than it says.
fn asked(kind: Kind) -> Option<Request> {
    let pair = Pair::new().unwrap();
    pair.add_client_addresses([CDN.into()]).unwrap();
    let service = Server::start_at_port(Some(&pair.server), Proxy::SERVICE).unwrap();
    service.answer("/login", Answer::ok("here\n"));
    let weir = Server::start_at_port(Some(&pair.server), "127.0.0.1:9650".parse().unwrap()).unwrap();
    weir.answer("/v1/auth", Answer::ok(""));
    let proxy = Proxy::start(kind, &pair.server).unwrap()?;
    let headers = [
        ("X-Forwarded-For", LISTED),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Uri", "/harmless"),
        ("X-Forwarded-Host", "other.example.org"),
        ("X-Original-URI", "/harmless"),
        ("X-Real-IP", READER),
    ];
    let deadline = Instant::now() + patience::seconds(10);
    while ask(&pair, CDN, "/login?as=root", &headers).map_or(0, |got| got.status) != 200 {
        assert!(Instant::now() < deadline, "{}", proxy.log());
        thread::sleep(Duration::from_millis(50));
    }
    weir.asked("/v1/auth").pop().map(|(request, _)| request)
}

/// The proxy says what is asked for, not the client.
fn says_what_is(test: &str, kind: Kind, forwarded: &str) {
    let Some(request) = asked(kind) else { return missing(test, kind.name()) };
    let said = ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host"].map(|name| request.header(name));
    assert_eq!(said, ["GET", "/login?as=root", "api.example.org"], "{request:?}");
    assert_eq!(request.header("x-forwarded-for"), forwarded, "{request:?}");
}

#[test]
fn nginx_says_what_is() {
    says_what_is("nginx_says_what_is", Kind::Nginx, LISTED);
    let Some(request) = asked(Kind::Nginx) else { return };
    assert_eq!(request.header("x-real-ip"), CDN.to_string());
    assert!(request.path.contains("peer=x-real-ip"), "{request:?}");
}

#[test]
fn caddy_says_what_is() {
    says_what_is("caddy_says_what_is", Kind::Caddy, &format!("{LISTED}, {CDN}"));
}

#[test]
fn traefik_says_what_is() {
    says_what_is("traefik_says_what_is", Kind::Traefik, &format!("{LISTED}, {CDN}"));
}
