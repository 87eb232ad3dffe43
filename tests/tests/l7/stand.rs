use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpStream as TokioStream,
    runtime::{Builder, Runtime},
    sync::Mutex,
    time::sleep,
};
use weir_tests::{
    agent::Agent,
    control::Control,
    namespace::{Namespace, Pair},
    patience,
};

/// How long news may take.
const PATIENCE_SECONDS: u64 = 30;

/// Connections that a socket for proxies serves at a time.
const SERVED: usize = 1024;
/// Many more.
const CROWD: usize = 10_000;

/// An agent with a section `l7`, in which `DIR` stands for its directory.
pub(crate) struct Stand {
    pub(crate) agent: Agent,
    pub(crate) pair: Pair,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let pair = Pair::new().unwrap();
        let agent = Agent::new(weir_tests::agent::binary().unwrap(), &pair.server).unwrap();
        Self { agent, pair }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.agent.directory().join(name)
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.agent.write(name, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn start(&mut self, l7: &str, more: &str) {
        let l7 = l7.replace("DIR", &self.agent.directory().display().to_string());
        let config = format!(
            "enforce: enforce\ninterfaces: [{{name: eth0}}]\nlisten: {{metrics: 127.0.0.1:9646}}\n\
             tables: {{limiter: 8MiB}}\n{more}\nl7: {l7}\n"
        );
        self.agent.configure(&config).unwrap();
        self.agent.start().unwrap();
    }

    pub(crate) fn control(&self) -> Control {
        Control::connect(&self.agent.socket()).unwrap()
    }

    pub(crate) fn set(&self, rules: &str) {
        let (status, body) =
            self.control().request("POST", "/v1/rules", &format!("{{\"rules\": [{rules}]}}")).unwrap();
        assert_eq!(status, 200, "{body}");
    }

    pub(crate) fn ban(&self, prefix: &str, seconds: u64) {
        self.set(&format!(
            r#"{{"prefix": "{prefix}", "action": "ban", "seconds": {seconds}, "note": "by hand"}}"#
        ));
    }

    pub(crate) fn lift(&self, prefix: &str) {
        let path = format!("/v1/rules/{prefix}");
        let (status, body) = self.control().request("DELETE", &path, "").unwrap();
        assert_eq!(status, 200, "{body}");
    }

    /// Bans so many addresses, none next to another.
    pub(crate) fn ban_many(&self, many: u32) {
        let ban = |n: u32| {
            let [_, b, c, d] = (n * 2).to_be_bytes();
            format!(r#"{{"prefix": "44.{b}.{c}.{d}/32", "action": "ban", "seconds": 3600}}"#)
        };
        let all: Vec<String> = (0..many).map(ban).collect();
        all.chunks(1000).for_each(|some| self.set(&some.join(", ")));
    }

    /// Sends a request over TCP in the agent's namespace, and returns status, head and body.
    pub(crate) fn http(
        &self,
        to: SocketAddr,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, Vec<u8>) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {to}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = self.raw(to, request.as_bytes());
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, head, answer.get(end + 4..).unwrap_or_default().to_vec())
    }

    /// Sends bytes, and returns what comes until the connection ends.
    pub(crate) fn raw(&self, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        self.pair
            .server
            .run(|| {
                let mut stream = TcpStream::connect(to)?;
                stream.set_read_timeout(Some(patience::seconds(20)))?;
                // It may be closed before all is sent.
                _ = stream.write_all(bytes);
                let mut answer = Vec::new();
                _ = stream.read_to_end(&mut answer);
                Ok(answer)
            })
            .unwrap()
    }

    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.agent.metrics().unwrap().sum(name, labels)
    }
}

/// A runtime whose threads, and so its sockets, are in a namespace.
pub(crate) struct Inside<'n> {
    namespace: &'n Namespace,
    pub(crate) runtime: Runtime,
}

impl<'n> Inside<'n> {
    pub(crate) fn new(namespace: &'n Namespace) -> Self {
        let build = || Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?);
        Self { namespace, runtime: namespace.run(build).unwrap() }
    }

    pub(crate) fn run<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        self.namespace.run(|| Ok(self.runtime.block_on(work))).unwrap()
    }

    /// Has thousands connect who say nothing. Returns when more have than are served at a time; the rest
    /// goes on, and those that are in are held.
    pub(crate) fn crowd(&self, address: &str) -> Arc<Mutex<Vec<TokioStream>>> {
        let address: SocketAddr = address.parse().unwrap();
        let held = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..CROWD {
            let held = Arc::clone(&held);
            self.runtime.spawn(async move {
                if let Ok(stream) = TokioStream::connect(address).await {
                    held.lock().await.push(stream);
                }
            });
        }
        self.run(async {
            while held.lock().await.len() < SERVED + 76 {
                sleep(Duration::from_millis(10)).await;
            }
        });
        held
    }
}

/// Sets how many files may be open here, and in what is started from now on; nothing: as many as may be.
pub(crate) fn may_have_files(files: Option<u64>) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, files.unwrap_or(most), most).unwrap();
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
