//! What comes over a connection, and what goes back: one request, one answer, and the end.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{Body, Inner, Request, Stream};

/// Headers are not more.
const HEADERS_MAX: u64 = 64 << 10;
/// Bodies of requests are not larger.
const BODY_MAX: u64 = 16 << 20;
/// What never ends does so after a while all the same: the test may have gone wrong.
const FOREVER: Duration = Duration::from_secs(30);

pub(super) fn serve(inner: &Inner, stream: &mut dyn Stream, raw: &TcpStream) -> io::Result<()> {
    let request = read(stream)?;
    let answer = inner.answer(&request);
    if request.method == "CONNECT" && answer.status == 200 {
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        return tunnel(&request.path, raw);
    }
    let mut head = format!("HTTP/1.1 {} It\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        _ = write!(head, "{name}: {value}\r\n");
    }
    match &answer.body {
        // A 304 has no body, and says nothing of its size.
        Body::Whole(bytes) if bytes.is_empty() && answer.status == 304 => {
            stream.write_all(format!("{head}\r\n").as_bytes())?;
        }
        Body::Whole(bytes) => {
            stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", bytes.len()).as_bytes())?;
            stream.write_all(bytes)?;
        }
        Body::Cut(bytes, announced) => {
            stream.write_all(format!("{head}Content-Length: {announced}\r\n\r\n").as_bytes())?;
            stream.write_all(bytes)?;
        }
        Body::Drip(bytes, size, pause) => {
            stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
            for piece in bytes.chunks((*size).max(1)) {
                chunk(stream, piece)?;
                wait(inner, *pause)?;
            }
            chunk(stream, &[])?;
        }
        Body::Endless(piece) => {
            stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
            let end = Instant::now() + FOREVER;
            while Instant::now() < end && !inner.stops() {
                chunk(stream, piece)?;
            }
        }
        Body::Hang => wait(inner, FOREVER)?,
    }
    stream.flush()?;
    // What the client still sends is read, or it would get a reset instead of the answer.
    raw.shutdown(Shutdown::Write)?;
    let rest = raw;
    rest.set_read_timeout(Some(Duration::from_secs(1)))?;
    io::copy(&mut rest.take(BODY_MAX), &mut io::sink()).map(drop)
}

fn read(stream: &mut dyn Stream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream.take(HEADERS_MAX + BODY_MAX));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body)?;
    Ok(request)
}

fn chunk(stream: &mut dyn Stream, piece: &[u8]) -> io::Result<()> {
    let head = format!("{:x}\r\n", piece.len());
    stream.write_all(&[head.as_bytes(), piece, b"\r\n"].concat())?;
    stream.flush()
}

fn wait(inner: &Inner, pause: Duration) -> io::Result<()> {
    let end = Instant::now() + pause;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if inner.stops() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        thread::sleep(left.min(Duration::from_millis(20)));
    }
    Ok(())
}

/// Carries bytes both ways, until both ends are done.
fn tunnel(target: &str, client: &TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    server.set_read_timeout(Some(FOREVER))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            _ = io::copy(&mut &*client, &mut &server);
            server.shutdown(Shutdown::Write)
        });
        _ = io::copy(&mut &server, &mut &*client);
        client.shutdown(Shutdown::Write)
    })
}
