use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result};
use weir_tests::{namespace::Namespace, patience};

const SECONDS: u64 = 30;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Returns a header; nothing is empty.
    pub(crate) fn header(&self, name: &str) -> &str {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map_or("", |(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}")).unwrap()
    }
}

/// Asks somebody in a namespace. `headers` are whole lines; without a `Host` among them it is the address.
pub(crate) fn ask(
    namespace: &Namespace,
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<Answer> {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {to}\r\n") };
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{host}Content-Length: {length}\r\n{headers}\r\n{body}");
    let mut stream =
        namespace.run(|| Ok(TcpStream::connect(to)?)).with_context(|| format!("connect to {to}"))?;
    stream.set_read_timeout(Some(patience::seconds(SECONDS)))?;
    stream.write_all(request.as_bytes())?;
    let mut read = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        if let Some(answer) = whole(&read)? {
            return Ok(answer);
        }
        let length = stream.read(&mut buffer).with_context(|| format!("read {method} {path} of {to}"))?;
        anyhow::ensure!(length > 0, "{method} {path} of {to} ends early: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..length]);
    }
}

pub(crate) fn get(namespace: &Namespace, to: SocketAddr, path: &str) -> Result<Answer> {
    ask(namespace, to, "GET", path, "", "")
}

/// Returns the answer once all of it has arrived.
fn whole(read: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8(read[..end].to_vec())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let mut answer = Answer { status, head, body: String::new() };
    let rest = &read[end + 4..];
    let body = if answer.header("transfer-encoding") == "chunked" {
        match joined(rest)? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else {
        let length: usize = answer.header("content-length").parse().unwrap_or(0);
        match rest.get(..length) {
            Some(body) => body.to_vec(),
            None => return Ok(None),
        }
    };
    answer.body = String::from_utf8(body)?;
    Ok(Some(answer))
}

/// Returns what chunks make together, once the last has arrived.
fn joined(mut rest: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else { return Ok(None) };
        if length == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        let Some(next) = rest.get(end + 4 + length..) else { return Ok(None) };
        rest = next;
    }
}
