//! A server, and clients of many addresses: real connections through the stacks of both sides.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
        sockopt::{ReceiveTimeout, SendTimeout},
    },
    time::{TimeVal, TimeValLike as _},
};

use crate::namespace::Namespace;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TCP server on all addresses of a namespace. It answers a line with the address of the client
/// and that line.
#[derive(Debug)]
pub struct Server {
    namespace: Namespace,
    port: u16,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let listener = namespace.run(|| {
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).with_context(|| format!("listen on port {port}"))
        })?;
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let serve = move || {
            for client in listener.incoming().map_while(Result::ok) {
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                // What goes wrong here, the client sees.
                _ = answer(&client);
            }
        };
        let thread =
            thread::Builder::new().name("server".to_owned()).spawn(serve).context("start a thread")?;
        Ok(Self { namespace: namespace.clone(), port, stopped, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // One more client wakes it.
        let woken = self.namespace.run(|| Ok(TcpStream::connect((Ipv6Addr::LOCALHOST, self.port))?));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            _ = thread.join();
        }
    }
}

fn answer(client: &TcpStream) -> Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line)?;
    let address = client.peer_addr()?.ip().to_canonical();
    (&*client).write_all(format!("{address} {line}").as_bytes())?;
    Ok(())
}

/// Connects from `source`, which the namespace of the calling thread has, asks the server one
/// question, and checks the answer.
///
/// # Errors
/// If the server cannot be reached within 5 seconds, or the answer is not that to this question.
pub fn ask(source: IpAddr, server: SocketAddr, question: &str) -> Result<()> {
    let stream =
        connect_from(source, server).with_context(|| format!("connect from {source} to {server}"))?;
    (&stream).write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).with_context(|| format!("answer to {source}"))?;
    ensure!(answer == format!("{source} {question}\n"), "{source} asked {question} and was told `{answer}`");
    Ok(())
}

fn connect_from(source: IpAddr, server: SocketAddr) -> Result<TcpStream> {
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::seconds(PATIENCE.as_secs().cast_signed());
    setsockopt(&socket, SendTimeout, &patience)?; // holds for connecting, too
    setsockopt(&socket, ReceiveTimeout, &patience)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(server))?;
    Ok(TcpStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Pair;

    #[test]
    fn many_addresses_are_answered() {
        let pair = Pair::new().unwrap();
        let more = ["192.0.2.77", "2001:db8::77"].map(|address| address.parse::<IpAddr>().unwrap());
        pair.add_client_addresses(more).unwrap();
        let server = Server::start(&pair.server, 443).unwrap();
        let [v4, v6] = more;
        let to = |address: IpAddr| SocketAddr::new(address, 443);
        let ask = |source, server| pair.client.run(|| ask(source, server, "who"));
        ask(v4, to(Pair::SERVER.v4.into())).unwrap();
        ask(v6, to(Pair::SERVER.v6.into())).unwrap();
        ask(Pair::CLIENT.v4.into(), to(Pair::SERVER.v4.into())).unwrap();
        assert!(ask("192.0.2.78".parse().unwrap(), to(Pair::SERVER.v4.into())).is_err());
        drop(server);
        assert!(ask(v4, to(Pair::SERVER.v4.into())).is_err());
    }
}
