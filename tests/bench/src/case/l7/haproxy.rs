use std::{
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::load::Asker;

const PATIENCE: Duration = Duration::from_secs(2);
// Types of frames and of data (HAProxy, doc/SPOE.txt, 3.2 and 3.3).
const HELLO: u8 = 1;
const NOTIFY: u8 = 3;
const ACK: u8 = 103;
const AGENT_HELLO: u8 = 101;
const UINT32: u8 = 3;
const IPV4: u8 = 6;
const STRING: u8 = 8;
const FIN: u32 = 1;
const FRAME_BYTES_MAX: usize = 16_380;

/// A connection of HAProxy.
struct Connection {
    stream: UnixStream,
    number: u64,
}

pub(super) fn connect(socket: &Path) -> Result<Box<dyn Asker>> {
    let mut stream = UnixStream::connect(socket).context("connect to SPOP")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut hello = vec![0, 0];
    for (name, value) in
        [("supported-versions", "2.0"), ("capabilities", "pipelining"), ("engine-id", "bench")]
    {
        text(&mut hello, name);
        hello.push(STRING);
        text(&mut hello, value);
    }
    text(&mut hello, "max-frame-size");
    hello.push(UINT32);
    varint(&mut hello, FRAME_BYTES_MAX as u64);
    send(&mut stream, HELLO, &hello)?;
    let answer = receive(&mut stream)?;
    ensure!(answer.first() == Some(&AGENT_HELLO), "no HELLO but {answer:?}");
    Ok(Box::new(Connection { stream, number: 0 }))
}

impl Asker for Connection {
    fn ask(&mut self, client: Ipv4Addr) -> Result<bool> {
        self.number += 1;
        let mut notify = Vec::new();
        varint(&mut notify, self.number);
        varint(&mut notify, 1);
        text(&mut notify, "weir-check");
        let arguments =
            [("method", "GET"), ("path", "/v1/items"), ("host", "api.example.org"), ("ua", "bench")];
        notify.push(u8::try_from(arguments.len() + 1)?);
        text(&mut notify, "ip");
        notify.push(IPV4);
        notify.extend(client.octets());
        for (name, value) in arguments {
            text(&mut notify, name);
            notify.push(STRING);
            text(&mut notify, value);
        }
        send(&mut self.stream, NOTIFY, &notify)?;
        let answer = receive(&mut self.stream)?;
        ensure!(answer.first() == Some(&ACK), "no ACK");
        Ok(answer.windows(5).any(|part| part == b"allow"))
    }
}

fn send(stream: &mut UnixStream, kind: u8, payload: &[u8]) -> Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 9);
    frame.extend(u32::try_from(payload.len() + 5)?.to_be_bytes());
    frame.push(kind);
    frame.extend(FIN.to_be_bytes());
    // In a HELLO the payload begins with the two numbers that are 0.
    frame.extend(payload);
    Ok(stream.write_all(&frame)?)
}

/// Reads a frame without its length.
fn receive(stream: &mut UnixStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        bail!("a frame of {length} bytes");
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn text(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// The numbers of SPOP and peers (doc/SPOE.txt, 3.1).
fn varint(out: &mut Vec<u8>, mut value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
    let low = |value: u64| value as u8;
    if value < 240 {
        out.push(low(value));
        return;
    }
    out.push(low(value) | 0xf0);
    value = (value - 240) >> 4;
    while value >= 128 {
        out.push(low(value) | 0x80);
        value = (value - 128) >> 7;
    }
    out.push(low(value));
}
