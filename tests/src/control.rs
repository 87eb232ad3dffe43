//! The control socket of an agent, without the agent's own client.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

const PATIENCE: Duration = Duration::from_secs(15);

/// A connection to a control socket, for one request after the other.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request, and returns status and body of the answer.
    ///
    /// # Errors
    /// If the connection ends, or the answer is not HTTP.
    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        self.send_request(method, path, body)?;
        self.answer()
    }

    /// Sends a request. The answer is still to be read.
    ///
    /// # Errors
    /// If the connection has ended.
    pub fn send_request(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: weir\r\nContent-Length: {length}\r\n\r\n");
        // At once: in two pieces the second may wait for the first.
        self.send(&[head.as_bytes(), body.as_bytes()].concat())
    }

    /// Sends bytes, whatever they mean.
    ///
    /// # Errors
    /// If the connection has ended.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("send to the control socket")
    }

    /// Reads an answer: its status, and a body of known length.
    ///
    /// # Errors
    /// If the connection ends, or the answer is not HTTP.
    pub fn answer(&mut self) -> Result<(u16, String)> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("no length")?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("read the body")?;
        Ok((status, String::from_utf8(body).context("the body is no text")?))
    }

    /// Returns once the other side has closed the connection.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_closed(mut self) -> Result<()> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(drop).context("the connection stays open")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).context("read the head")?;
        ensure!(length > 0, "the connection has ended");
        Ok(line.trim_end().to_owned())
    }
}
