//! Behind a balancer that ends connections and says with the PROXY protocol (version 2) for whom it
//! opens its own. Nobody but the balancer is connected, so no ban belongs into the kernel.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::Result;
use weir_tests::{
    namespace::Pair,
    peers::{Change, Kind, Proxy, missing},
};

use super::{
    BOT, LISTED, READER, TRIES,
    street::{CDN as BALANCER, CUSTOMER, Got, Street, ask_behind},
};

/// What begins a connection: signature, version 2 and `PROXY`, TCP over IPv4, twelve bytes; addresses
/// and ports (HAProxy's doc/proxy-protocol.txt, section 2.2).
fn preamble(client: Ipv4Addr) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(client.octets());
    bytes.extend(Pair::SERVER.v4.octets());
    bytes.extend(40_000_u16.to_be_bytes());
    bytes.extend(Proxy::PORT.to_be_bytes());
    bytes
}

/// Asks for a path through the balancer; the client adds headers of its own.
fn ask(street: &Street, client: &str, path: &str, headers: &[(&str, &str)]) -> Result<Got> {
    ask_behind(&street.pair, BALANCER, &preamble(client.parse()?), path, headers)
}

fn play(test: &str, kind: Kind, changes: &[Change<'_>], direct: bool) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/l7/balancers.md");
    let page = fs::read_to_string(page).unwrap();
    for Change { file, line, to } in changes {
        assert!(page.contains(line), "docs/l7/balancers.md does not name `{line}` of {file}");
        for line in to.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(page.contains(line), "docs/l7/balancers.md lacks `{line}` of {file}");
        }
    }
    let Some(street) = Street::open(kind, changes, direct).unwrap() else {
        return missing(test, kind.name());
    };
    let status = |client, path| ask(&street, client, path, &[]).map_or(0, |got| got.status);
    street.wait(|street| ask(street, READER, "/items", &[]));
    assert_eq!(status(READER, "/items"), 200, "{}", street.why());
    assert_eq!(status(LISTED, "/items"), 403, "{}", street.why());
    // What the client writes is worth nothing.
    for headers in [[("X-Forwarded-For", READER)], [("X-Real-IP", READER)]] {
        let got = ask(&street, LISTED, "/items", &headers).unwrap();
        assert_eq!(got.status, 403, "{headers:?}: {}", street.why());
        let got = ask(&street, READER, "/items", &headers.map(|(name, _)| (name, LISTED))).unwrap();
        assert_eq!(got.status, 200, "{headers:?}: {}", street.why());
    }
    // Traefik tells no status, but a bot that says what it is is refused on the way in.
    let (path, agent) =
        if kind == Kind::Traefik { ("/items", "BadBot/1.0") } else { ("/login", "Mozilla/5.0") };
    let banned = (0..TRIES).any(|_| {
        let answered = ask(&street, BOT, path, &[("user-agent", agent)]);
        assert!(answered.is_ok(), "the balancer is cut off: {answered:?}; {}", street.why());
        street.bans().contains(BOT)
    });
    assert!(banned, "not banned after {TRIES} tries: {}", street.why());
    street.wait_for_ban(BOT, true);
    assert_eq!(status(BOT, "/items"), 403, "{}", street.why());
    assert_eq!(status(READER, "/items"), 200, "{}", street.why());
    assert!(!street.bans().contains(&BALANCER.to_string()), "{}", street.why());
    // Who is not the balancer is served as itself, or has to say something first.
    let other = street.ask(CUSTOMER, "/items", None).map_or(0, |got| got.status);
    assert_eq!(other == 200, !matches!(kind, Kind::Nginx | Kind::Envoy), "{other}: {}", street.why());
    // And what it says of a client is not believed, but by Envoy.
    let forged = ask_behind(&street.pair, CUSTOMER, &preamble(LISTED.parse().unwrap()), "/items", &[]);
    let believed = matches!(forged, Ok(Got { status: 403, .. }));
    assert_eq!(believed, kind == Kind::Envoy, "{forged:?}: {}", street.why());
}

#[test]
fn haproxy_takes_proxy() {
    let to = "    bind :8080
    tcp-request connection expect-proxy layer4 if { src 192.0.2.50 }";
    let change = Change { file: "haproxy.cfg", line: "bind :8080", to };
    play("haproxy_takes_proxy", Kind::Haproxy, &[change], true);
    play("haproxy_takes_proxy", Kind::Haproxy28, &[change], true);
}

#[test]
fn nginx_takes_proxy() {
    let file = "nginx.conf";
    let changes = [
        Change { file, line: "listen 8080;", to: "listen 8080 proxy_protocol;" },
        Change { file, line: "real_ip_header X-Forwarded-For;", to: "real_ip_header proxy_protocol;" },
        Change {
            file,
            line: "proxy_set_header X-Forwarded-For $http_x_forwarded_for;",
            to: "proxy_set_header X-Forwarded-For \"$http_x_forwarded_for, $proxy_protocol_addr\";",
        },
    ];
    play("nginx_takes_proxy", Kind::Nginx, &changes, true);
}

#[test]
fn envoy_takes_proxy() {
    let line = "address: {socket_address: {address: 0.0.0.0, port_value: 8080}}";
    let to = "      address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
      listener_filters:
        - name: envoy.filters.listener.proxy_protocol
          typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}
";
    play("envoy_takes_proxy", Kind::Envoy, &[Change { file: "envoy.yaml", line, to }], true);
}

#[test]
fn caddy_takes_proxy() {
    let to = "trusted_proxies static 192.0.2.50
listener_wrappers {
    proxy_protocol {
        allow 192.0.2.50/32
    }
}";
    let change = Change { file: "Caddyfile", line: "trusted_proxies static 192.0.2.50", to };
    play("caddy_takes_proxy", Kind::Caddy, &[change], false);
}

#[test]
fn traefik_takes_proxy() {
    let to = "    address: \":8080\"
    proxyProtocol:
      trustedIPs: [192.0.2.50]";
    let change = Change { file: "traefik.yaml", line: "address: \":8080\"", to };
    play("traefik_takes_proxy", Kind::Traefik, &[change], false);
}
