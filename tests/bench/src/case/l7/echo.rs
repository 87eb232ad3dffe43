use std::{
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::load::Asker;

/// About as long as a short question.
const BYTES: usize = 200;
const PATIENCE: Duration = Duration::from_secs(2);

/// A thread at the other end of a Unix socket that sends back what it gets. It ends with the connection.
struct Echo(UnixStream);

pub(super) fn connect(_socket: &Path) -> Result<Box<dyn Asker>> {
    let (near, mut far) = UnixStream::pair().context("join two sockets")?;
    near.set_read_timeout(Some(PATIENCE))?;
    thread::spawn(move || {
        let mut bytes = [0; BYTES];
        while far.read_exact(&mut bytes).and_then(|()| far.write_all(&bytes)).is_ok() {}
    });
    Ok(Box::new(Echo(near)))
}

impl Asker for Echo {
    fn ask(&mut self, _client: Ipv4Addr) -> Result<bool> {
        let mut bytes = [0; BYTES];
        self.0.write_all(&bytes)?;
        self.0.read_exact(&mut bytes)?;
        Ok(true)
    }
}
