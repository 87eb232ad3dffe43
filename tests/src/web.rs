//! A web server that does what servers of lists do at their worst: it lies about sizes, drips, hangs,
//! redirects into the own network, and never ends.
//!
//! What it answers is set path by path, and may be set anew at any time; what it was asked is kept.

/// What comes over a connection, and what goes back.
mod connection;
/// All that a server of lists can do wrong.
pub mod faults;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;

/// How long a connection is silent at most.
const SILENCE: Duration = Duration::from_secs(20);
/// How often the server looks whether it should end.
const LOOK: Duration = Duration::from_millis(5);

/// A server on the loopback interface. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    routes: Mutex<BTreeMap<String, Arc<Handler>>>,
    asked: Mutex<Vec<(Request, u16)>>,
    stop: AtomicBool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;
type Wrap = dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync;

/// A connection, protected or not.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// What the server was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, for example.
    pub method: String,
    /// The path and the query; for a proxy the whole URL, or host and port.
    pub path: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    /// What came with it.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns a header, by its name in small letters; nothing is an empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What the server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, for example.
    pub status: u16,
    /// Besides `Content-Length` and `Connection`.
    pub headers: Vec<(String, String)>,
    /// What comes behind them, and how.
    pub body: Body,
}

/// What comes behind the headers of an answer, and how.
#[derive(Clone, Debug)]
pub enum Body {
    /// As it should.
    Whole(Vec<u8>),
    /// In chunks of so many bytes, with a pause between two.
    Drip(Vec<u8>, usize, Duration),
    /// The same piece again and again.
    Endless(Vec<u8>),
    /// Some bytes of so many that are announced, and then the connection ends.
    Cut(Vec<u8>, usize),
    /// Nothing, not even headers, but the connection stays.
    Hang,
}

impl Answer {
    /// Returns an answer with status 200 and a body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    /// Returns an answer with a status, and a line that says so.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok(format!("status {status}\n")) }
    }

    /// Returns an answer that redirects.
    #[must_use]
    pub fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self::status(status).header("Location", to)
    }

    /// Returns an answer with this body.
    #[must_use]
    pub fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// Returns it with a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Server {
    /// Starts a server on the loopback interface of a namespace; nothing: of where the test runs.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(namespace: Option<&Namespace>) -> Result<Self> {
        Self::start_at(namespace, Ipv4Addr::LOCALHOST.into())
    }

    /// Starts a server at an address of a namespace; nothing: of where the test runs.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start_at(namespace: Option<&Namespace>, address: IpAddr) -> Result<Self> {
        Self::start_on(namespace, SocketAddr::new(address, 0), |stream| Ok(Box::new(stream)))
    }

    /// Starts a server at an address and a port of a namespace; nothing: of where the test runs.
    ///
    /// # Errors
    /// If somebody has the port.
    pub fn start_at_port(namespace: Option<&Namespace>, address: SocketAddr) -> Result<Self> {
        Self::start_on(namespace, address, |stream| Ok(Box::new(stream)))
    }

    /// Starts a server on the loopback interface whose connections are wrapped: in TLS, for example.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start_with(
        namespace: Option<&Namespace>,
        wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start_on(namespace, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), wrap)
    }

    fn start_on(
        namespace: Option<&Namespace>,
        address: SocketAddr,
        wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let bind = || TcpListener::bind(address).with_context(|| format!("listen at {address}"));
        let listener = namespace.map_or_else(bind, |namespace| namespace.run(bind))?;
        listener.set_nonblocking(true).context("listen without waiting")?;
        let address = listener.local_addr().context("learn the port")?;
        let inner = Arc::new(Inner::default());
        let (serves, wrap) = (Arc::clone(&inner), Arc::new(wrap));
        thread::Builder::new()
            .name("web server".to_owned())
            .spawn(move || serves.accept(&listener, &(wrap as Arc<Wrap>)))
            .context("start a thread")?;
        Ok(Self { address, inner })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets what a path answers; a query is no part of it.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.handle(path, move |_| answer.clone());
    }

    /// Sets what makes the answers of a path. `CONNECT` is the path of all connections that go
    /// through it as a proxy, which are asked for by host and port.
    pub fn handle(&self, path: &str, handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        lock(&self.inner.routes).insert(path.to_owned(), Arc::new(handler));
    }

    /// Sets what a path answers to a text with an `ETag` of its own: 304 where the asker has it.
    pub fn list(&self, path: &str, text: impl Into<Vec<u8>>) {
        let text = text.into();
        // FNV-1a
        let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let etag = format!("\"{hash:016x}\"");
        self.handle(path, move |request| {
            if request.header("if-none-match") == etag {
                return Answer::status(304).body(Body::Whole(Vec::new())).header("ETag", &etag);
            }
            Answer::ok(text.clone()).header("ETag", &etag).header("Content-Type", "text/plain")
        });
    }

    /// Returns what was asked of a path, and with what status it was answered.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<(Request, u16)> {
        let asked = lock(&self.inner.asked);
        asked.iter().filter(|(request, _)| route(&request.path) == path).cloned().collect()
    }

    /// Returns how much it was asked, whatever the path.
    #[must_use]
    pub fn requests(&self) -> usize {
        lock(&self.inner.asked).len()
    }

    /// Returns how often a path was answered with a status.
    #[must_use]
    pub fn count(&self, path: &str, status: u16) -> usize {
        self.asked(path).iter().filter(|(_, answered)| *answered == status).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    fn accept(self: Arc<Self>, listener: &TcpListener, wrap: &Arc<Wrap>) {
        while !self.stops() {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(LOOK);
                continue;
            };
            let (inner, wrap) = (Arc::clone(&self), Arc::clone(wrap));
            // A client that goes away is none of the test's business.
            thread::spawn(move || {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                let raw = stream.try_clone()?;
                connection::serve(&inner, &mut *wrap(stream)?, &raw)
            });
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn answer(&self, request: &Request) -> Answer {
        let path = if request.method == "CONNECT" { "CONNECT" } else { route(&request.path) };
        let handler = lock(&self.routes).get(path).cloned();
        let answer = handler.map_or_else(|| Answer::status(404), |handler| handler(request));
        lock(&self.asked).push((request.clone(), answer.status));
        answer
    }
}

/// Returns a path without its query.
fn route(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
