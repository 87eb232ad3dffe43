//! Proxies as they are in the world, with the configurations of docs/l7, in front of a service, and the
//! agent beside them: abusers end up dropped in the kernel or refused, and nobody else does.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// What clients write into headers.
mod forged;
/// A balancer in front that speaks PROXY.
mod balancer;
/// What is when weir hangs, or the service does.
mod failing;
/// The socket for nginx, Traefik and Caddy.
mod http;
/// The socket for HAProxy.
mod haproxy;
/// Garbage, silence and crowds on the sockets.
mod hostile;
/// Envoy, and what it says.
mod envoy;
/// The socket for Envoy.
mod grpc;
/// `weir l7 test`.
mod rules;
/// Quotas that gateways share.
mod quota;
/// From packets over a limit to bans.
mod ladder;
/// Bans that gateways share.
mod fleet;
/// Who is told of what happens.
mod notify;
/// What bouncers of `CrowdSec` are told, and what its LAPI is.
mod lapi;
/// What is written for proxies that decide by themselves.
mod push;
/// An agent, and what is asked over HTTP.
mod stand;
/// A partner with a quota, a scraper, a bad bot.
mod scenes;
/// A street with a gateway in it, and those who call.
mod street;

use weir_tests::peers::{Kind, missing};

use street::{CDN, CUSTOMER, LISTED, OFFICE, STUFFER, Street};

/// A bot, and an honest client, both behind the CDN.
const BOT: &str = "203.0.113.66";
const READER: &str = "203.0.113.5";
/// Logins that fail until a source is banned, at most: eight are answered, then it is refused, and what
/// comes all the same weighs less.
const TRIES: usize = 150;

/// Plays all with a proxy that tells what became of requests.
fn play(test: &str, kind: Kind) {
    let Some(mut street) = Street::new(kind).unwrap() else { return missing(test, kind.name()) };
    honest(&street);
    listed(&street);
    stuffing(&street);
    stuffing_behind_the_cdn(&street);
    scenes::play(&street);
    for honest in [CUSTOMER, OFFICE] {
        assert_eq!(street.status(honest, "/items", None), 200, "{honest}: {}", street.why());
    }
    // Without the agent the kernel goes on, and the proxy lets pass.
    street.agent.kill().unwrap();
    assert!(street.ask(STUFFER, "/items", None).is_err());
    assert_eq!(street.status(CUSTOMER, "/items", None), 200, "{}", street.why());
}

/// Who is honest gets what it asks for, and the service sees what was decided.
fn honest(street: &Street) {
    assert_eq!(street.status(CUSTOMER, "/items?page=2", None), 200, "{}", street.why());
    let (seen, _) = street.service.asked("/items").pop().unwrap();
    assert_eq!(seen.header("x-weir-verdict"), "allow", "{seen:?}");
    // Nobody else speaks for weir.
    let forged = [("x-weir-verdict", "forged"), ("x-weir-reason", "forged"), ("x-weir-would", "forged")];
    street.ask_with(CUSTOMER, "/forged", &forged).unwrap();
    let (seen, _) = street.service.asked("/forged").pop().unwrap();
    assert!(!format!("{:?}", seen.headers).contains("forged"), "{seen:?}");
}

/// A list names a client that is behind the CDN: its packets are those of the CDN.
fn listed(street: &Street) {
    assert_eq!(street.status(CDN, "/items", Some(LISTED)), 403, "{}", street.why());
    assert_eq!(street.status(CDN, "/items", Some(READER)), 200);
    // Who is not behind the CDN can write that all the same; it is not believed.
    assert_eq!(street.status(CUSTOMER, "/items", Some(LISTED)), 200);
}

/// Credentials are tried out from one address, until its packets are dropped. Somebody in an office
/// mistypes a password now and then, and his colleagues go on.
fn stuffing(street: &Street) {
    for _ in 0..3 {
        assert_eq!(street.status(OFFICE, "/login", None), 401);
    }
    assert_eq!(street.status(OFFICE, "/items", None), 200);
    let banned = (0..TRIES).any(|_| street.ask(STUFFER, "/login", None).is_err());
    assert!(banned, "still answered after {TRIES} tries: {}", street.why());
    street.wait_for_ban(&STUFFER.to_string(), false);
}

/// The same from behind the CDN: the bot is refused, the CDN is not, nor is who else comes by it.
fn stuffing_behind_the_cdn(street: &Street) {
    street.stuff_until_banned(CDN, BOT, TRIES);
    street.wait_for_ban(BOT, true);
    assert_eq!(street.status(CDN, "/items", Some(BOT)), 403);
    assert_eq!(street.status(CDN, "/items", Some(READER)), 200);
}

#[test]
fn envoy() {
    play("envoy", Kind::Envoy);
}

#[test]
fn haproxy() {
    play("haproxy", Kind::Haproxy);
}

#[test]
fn haproxy_of_the_next_generation() {
    play("haproxy_of_the_next_generation", Kind::Haproxy28);
}

#[test]
fn nginx() {
    play("nginx", Kind::Nginx);
}

#[test]
fn caddy() {
    play("caddy", Kind::Caddy);
}

/// Traefik writes its access log to a file only, so it does not tell; and it has no way to let pass.
#[test]
fn traefik() {
    let Some(mut street) = Street::new(Kind::Traefik).unwrap() else { return missing("traefik", "traefik") };
    honest(&street);
    listed(&street);
    scenes::play(&street);
    street.agent.kill().unwrap();
    assert_eq!(street.status(CUSTOMER, "/items", None), 500, "{}", street.why());
}
