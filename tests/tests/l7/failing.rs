//! What is when weir hangs, and when it is the service that fails.

use std::{
    io::Read as _,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weir_tests::{
    namespace::Pair,
    patience,
    peers::{Kind, Proxy, missing},
    web::{Answer, Server},
};

use super::street::{CUSTOMER, Street, ask};

/// More than a proxy waits for a verdict, and less than somebody who looks at a page.
const WAIT: Duration = Duration::from_millis(500);

/// An agent that is there and says nothing costs a request a moment.
fn hangs(test: &str, kind: Kind) {
    let Some(mut street) = Street::new(kind).unwrap() else { return missing(test, kind.name()) };
    assert_eq!(street.status(CUSTOMER, "/items", None), 200);
    street.agent.signal(Signal::SIGSTOP).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let got = street.ask(CUSTOMER, "/items", None);
        let took = started.elapsed();
        // `why` would ask the agent.
        assert_eq!(got.map_err(|error| format!("{error:#}")).unwrap().status, 200);
        assert!(took < patience::seconds(1).mul_f64(WAIT.as_secs_f64()), "{took:?}");
    }
    street.agent.signal(Signal::SIGCONT).unwrap();
}

#[test]
fn haproxy_does_not_wait() {
    hangs("haproxy_does_not_wait", Kind::Haproxy);
}

#[test]
fn nginx_does_not_wait() {
    hangs("nginx_does_not_wait", Kind::Nginx);
}

#[test]
fn caddy_does_not_wait() {
    hangs("caddy_does_not_wait", Kind::Caddy);
}

/// A service that takes a request and breaks off gets it once: it may have done what was asked.
fn breaks_off(test: &str, kind: Kind) {
    let pair = Pair::new().unwrap();
    pair.add_client_addresses([CUSTOMER.into()]).unwrap();
    let listener = pair.server.run(|| Ok(TcpListener::bind(Proxy::SERVICE)?)).unwrap();
    let weir = Server::start_at_port(Some(&pair.server), "127.0.0.1:9650".parse().unwrap()).unwrap();
    weir.answer("/v1/auth", Answer::ok(""));
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            _ = stream.read(&mut [0; 4096]);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let Some(proxy) = Proxy::start(kind, &pair.server).unwrap() else { return missing(test, kind.name()) };
    let deadline = Instant::now() + patience::seconds(10);
    while ask(&pair, CUSTOMER, "/pay", &[]).map_or(0, |got| got.status) != 502 {
        assert!(Instant::now() < deadline, "{}", proxy.log());
        thread::sleep(Duration::from_millis(50));
    }
    let before = requests.load(Ordering::SeqCst);
    assert_eq!(ask(&pair, CUSTOMER, "/pay", &[]).unwrap().status, 502, "{}", proxy.log());
    assert_eq!(requests.load(Ordering::SeqCst) - before, 1, "{}", proxy.log());
}

#[test]
fn nginx_sends_nothing_twice() {
    breaks_off("nginx_sends_nothing_twice", Kind::Nginx);
}

#[test]
fn caddy_sends_nothing_twice() {
    breaks_off("caddy_sends_nothing_twice", Kind::Caddy);
}
