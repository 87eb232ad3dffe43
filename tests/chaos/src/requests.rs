//! Requests through a proxy, and what was answered.
//!
//! The proxy is nginx with the configuration that docs/l7 has: while the agent is away or hangs, it
//! lets requests pass. Beside it the agent is asked about a client that is banned, which it must
//! refuse whenever it answers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use weir_tests::{
    namespace::Namespace,
    patience,
    peers::{Kind, Proxy},
    web::{Answer, Server},
};

use crate::{ledger::Ledger, stand::HTTP};

/// A pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the agent itself is waited for: it may be away.
pub(crate) const WAIT: Duration = Duration::from_millis(300);
/// The hop that is trusted, and the client behind it that is banned.
pub(crate) const HOP: &str = "192.0.2.50";
pub(crate) const BANNED: &str = "100.127.255.1";

/// Somebody who asks all the time. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Requests {
    stopped: Arc<AtomicBool>,
    asker: Option<JoinHandle<()>>,
    // Dropped, they are gone.
    proxy: Option<(Proxy, Server)>,
}

impl Requests {
    /// Starts proxy, service and who asks. Without a proxy the agent alone is asked.
    pub(crate) fn start(namespace: &Namespace, ledger: &Arc<Ledger>) -> Result<Self> {
        let service = Server::start_at_port(Some(namespace), Proxy::SERVICE)?;
        service.answer("/items", Answer::ok("here\n"));
        let proxy = Proxy::start(Kind::Nginx, namespace)?.map(|proxy| (proxy, service));
        let stopped = Arc::new(AtomicBool::new(false));
        let (flag, namespace, ledger) = (Arc::clone(&stopped), namespace.clone(), Arc::clone(ledger));
        let through = proxy.is_some();
        let ask = move || {
            while !flag.load(Ordering::Relaxed) {
                let epoch = ledger.epoch();
                if through {
                    ledger.request(epoch, through_the_proxy(&namespace) == Some(200));
                }
                let head = format!("X-Forwarded-For: {BANNED}, {HOP}\r\n");
                if let Some(status) = ask(&namespace, HTTP, "/v1/auth", &head, WAIT) {
                    ledger.request(epoch, status == 403);
                }
                thread::sleep(PAUSE);
            }
        };
        let asker = thread::Builder::new().name("asker".to_owned()).spawn(ask).context("start a thread")?;
        Ok(Self { stopped, asker: Some(asker), proxy })
    }

    /// Returns whether there is a proxy.
    pub(crate) const fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(asker) = self.asker.take() {
            _ = asker.join();
        }
    }
}

fn through_the_proxy(namespace: &Namespace) -> Option<u16> {
    let proxy = SocketAddr::from(([127, 0, 0, 1], Proxy::PORT));
    // A busy machine is late, which is no wrong answer.
    ask(namespace, proxy, "/items", "", patience::seconds(10))
}

/// Returns the status of an answer; nothing: there was none in time.
pub(crate) fn ask(
    namespace: &Namespace,
    to: SocketAddr,
    path: &str,
    headers: &str,
    wait: Duration,
) -> Option<u16> {
    let connect = || Ok(TcpStream::connect_timeout(&to, wait)?);
    let mut stream = namespace.run(connect).ok()?;
    stream.set_read_timeout(Some(wait)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // What has come counts, however the connection ends.
    _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}
