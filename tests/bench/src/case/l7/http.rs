use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::load::Asker;

const PATIENCE: Duration = Duration::from_secs(2);

/// A connection that is kept, as nginx keeps it with `keepalive`.
struct Connection {
    stream: BufReader<UnixStream>,
}

pub(super) fn connect(socket: &Path) -> Result<Box<dyn Asker>> {
    let stream = UnixStream::connect(socket).context("connect to /v1/auth")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Box::new(Connection { stream: BufReader::new(stream) }))
}

impl Asker for Connection {
    fn ask(&mut self, client: Ipv4Addr) -> Result<bool> {
        let question = format!(
            "GET /v1/auth HTTP/1.1\r\nHost: api.example.org\r\nX-Real-IP: {client}\r\nX-Forwarded-For: {client}\r\n\
             X-Original-Method: GET\r\nX-Original-URI: /v1/items?page=2\r\nUser-Agent: bench\r\n\r\n"
        );
        self.stream.get_mut().write_all(question.as_bytes())?;
        let (mut line, mut status, mut length) = (String::new(), None, 0);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the connection has ended");
            let text = line.trim_end().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            match text.strip_prefix("content-length:") {
                Some(bytes) => length = bytes.trim().parse()?,
                None if status.is_none() => status = text.split(' ').nth(1).map(str::to_owned),
                None => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(status.is_some_and(|status| status.starts_with('2')))
    }
}
