//! HAProxy's SPOP (doc/SPOE.txt of HAProxy, version 2.0 of the protocol): it asks with a message
//! `weir-check` and tells with a message `weir-feedback`; docs/l7/haproxy.md has the configuration.
//!
//! Of the capabilities only pipelining is offered: fragmentation and asynchronous answers are gone
//! since HAProxy 3.1.

/// Arguments of messages.
mod arguments;

use spop::{
    SpopCodec, StatusCode,
    actions::VarScope,
    frame::{FramePayload, FrameType, Message},
    frames::{Ack, AgentDisconnect, AgentHello, FrameCapabilities, HaproxyHello},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    time::{Duration, Instant, timeout, timeout_at},
};
use tokio_util::{
    bytes::BytesMut,
    codec::{Decoder as _, Encoder as _},
};

use super::{
    Surface,
    judge::{Feedback, Judge},
    listener::{Listener, Stream},
};
use arguments::Arguments;

/// Largest frame, as HAProxy has it by default: `tune.bufsize` less the length of a frame.
const FRAME_BYTES_MAX: u32 = 16_380;
/// How long a connection may be silent. HAProxy closes idle ones itself (`timeout idle`).
const SILENCE_MAX: Duration = Duration::from_mins(2);
/// How long a frame may take from its first byte to its last, how long the first one may be waited for,
/// and how long an answer may take to be read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Room for what is read at once: several frames, where HAProxy sends one behind the other.
const READ_BYTES: usize = 4096;
/// Messages of a frame that are looked at.
const MESSAGES_MAX: usize = 8;

/// Serves HAProxy until `stopped` changes.
pub(super) async fn serve(listener: Listener, judge: Judge, stopped: watch::Receiver<()>) {
    let connection = stopped.clone();
    listener.serve(stopped, |stream| converse(stream, judge.clone(), connection.clone())).await;
}

async fn converse(stream: Stream, judge: Judge, mut stopped: watch::Receiver<()>) {
    let mut connection = Connection::new(stream);
    let ended = tokio::select! {
        ended = connection.converse(&judge) => ended,
        _ = stopped.changed() => Err(StatusCode::None),
    };
    // What goes wrong on a connection is the affair of whoever is at its other end.
    if let Err(status) = ended {
        tracing::debug!(status = status.message(), "a connection of HAProxy ends");
        _ = connection.goodbye(status).await;
    }
}

struct Connection {
    stream: Stream,
    codec: SpopCodec,
    incoming: BytesMut,
    outgoing: BytesMut,
}

type Frame = Box<dyn spop::SpopFrame>;

impl Connection {
    fn new(stream: Stream) -> Self {
        let codec = SpopCodec::new(FRAME_BYTES_MAX);
        Self { stream, codec, incoming: BytesMut::new(), outgoing: BytesMut::new() }
    }

    /// Serves it until HAProxy has enough of it; the status says what to take leave with.
    async fn converse(&mut self, judge: &Judge) -> Result<(), StatusCode> {
        let Some(frame) = self.receive(PATIENCE).await? else { return Ok(()) };
        if *frame.frame_type() != FrameType::HaproxyHello {
            return Err(StatusCode::Invalid);
        }
        if self.hello(frame).await? {
            return Ok(());
        }
        while let Some(frame) = self.receive(SILENCE_MAX).await? {
            match frame.frame_type() {
                FrameType::Notify => self.notify(frame, judge).await?,
                FrameType::HaproxyDisconnect => return Err(StatusCode::None),
                FrameType::HaproxyHello
                | FrameType::AgentHello
                | FrameType::AgentDisconnect
                | FrameType::Ack => {
                    return Err(StatusCode::Invalid);
                }
            }
        }
        Ok(())
    }

    /// Agrees on a version and a size. Returns true if that was all: a check of health.
    async fn hello(&mut self, frame: Frame) -> Result<bool, StatusCode> {
        let hello = HaproxyHello::try_from(frame.payload()).map_err(|_| StatusCode::Invalid)?;
        drop(frame);
        let version = hello.negotiate_version().ok_or(StatusCode::BadVersion)?;
        let max_frame_size = hello.negotiate_max_frame_size(FRAME_BYTES_MAX)?;
        self.codec.set_max_frame_size(max_frame_size);
        let capabilities = vec![FrameCapabilities::Pipelining];
        self.send(Box::new(AgentHello { version, max_frame_size, capabilities })).await?;
        Ok(hello.healthcheck.unwrap_or(false))
    }

    async fn notify(&mut self, frame: Frame, judge: &Judge) -> Result<(), StatusCode> {
        let (stream_id, frame_id) = (frame.metadata().stream_id, frame.metadata().frame_id);
        let messages: Vec<Message> = match frame.payload() {
            FramePayload::ListOfMessages(messages) => messages.iter().take(MESSAGES_MAX).cloned().collect(),
            FramePayload::ListOfActions(_) | FramePayload::KVList(_) => return Err(StatusCode::Invalid),
        };
        drop(frame);
        let mut ack = Ack::new(stream_id, frame_id);
        for message in &messages {
            match message.name.as_str() {
                "weir-check" => ack = check(message, judge, ack).await,
                "weir-feedback" => feedback(message, judge),
                // Of another agent's configuration.
                _ => {}
            }
        }
        self.send(Box::new(ack)).await
    }

    /// Returns the next frame, if it begins in time; nothing at the end of the connection.
    async fn receive(&mut self, silence: Duration) -> Result<Option<Frame>, StatusCode> {
        let mut deadline = Instant::now() + silence;
        let mut begun = false;
        loop {
            if let Some(frame) = self.codec.decode(&mut self.incoming).map_err(|_| self.objection())? {
                return Ok(Some(frame));
            }
            if !begun && !self.incoming.is_empty() {
                (begun, deadline) = (true, Instant::now() + PATIENCE);
            }
            // A frame longer than was agreed on is refused by its length, so this does not grow.
            self.incoming.reserve(READ_BYTES);
            match timeout_at(deadline, self.stream.read_buf(&mut self.incoming)).await {
                Err(_elapsed) => return Err(StatusCode::Timeout),
                Ok(Err(_) | Ok(0)) => return Ok(None),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Says what is wrong with the frame that cannot be read.
    fn objection(&self) -> StatusCode {
        let length = self.incoming.first_chunk().map(|length| u32::from_be_bytes(*length));
        match length {
            Some(length) if length > self.codec.max_frame_size() => StatusCode::TooBig,
            Some(_) | None => StatusCode::Invalid,
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), StatusCode> {
        self.outgoing.clear();
        self.codec.encode(frame, &mut self.outgoing).map_err(|_| StatusCode::TooBig)?;
        match timeout(PATIENCE, self.stream.write_all(&self.outgoing)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StatusCode::Io),
            Err(_elapsed) => Err(StatusCode::Timeout),
        }
    }

    /// Says why the connection ends, if anybody is there to hear it.
    async fn goodbye(&mut self, status: StatusCode) -> Result<(), StatusCode> {
        let message = status.message().to_owned();
        self.send(Box::new(AgentDisconnect { status_code: status.to_u32(), message })).await
    }
}

async fn check(message: &Message, judge: &Judge, ack: Ack) -> Ack {
    let arguments = Arguments::of(message);
    let forwarded = arguments.forwarded();
    let Some(seen) = arguments.seen(&forwarded) else {
        // An error of whoever has configured HAProxy; it decides itself what follows from no verdict.
        return ack.set_var(VarScope::Transaction, "reason", "no argument `ip`");
    };
    let question = judge.request(&seen, |name| arguments.header(name));
    let decision = judge.decide(Surface::Haproxy, &question).await;
    let mut ack = ack
        .set_var(VarScope::Transaction, "verdict", decision.verdict.as_str())
        .set_var(VarScope::Transaction, "reason", decision.why.to_string().as_str())
        .set_var(VarScope::Transaction, "score", score(decision.score));
    if let Some(seconds) = decision.retry_seconds() {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        ack = ack.set_var(VarScope::Transaction, "retry_after", seconds);
    }
    for (name, value) in decision.quota_headers() {
        ack = ack.set_var(VarScope::Transaction, &name.replace('-', "_"), value.as_str());
    }
    if let Some((verdict, why)) = decision.would {
        let would = format!("{} {why}", verdict.as_str());
        ack = ack.set_var(VarScope::Transaction, "would", would.as_str());
    }
    ack
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn score(score: f64) -> u32 {
    score.clamp(0.0, f64::from(u32::MAX)) as u32
}

fn feedback(message: &Message, judge: &Judge) {
    let arguments = Arguments::of(message);
    let forwarded = arguments.forwarded();
    if let (Some(seen), Some(status)) = (arguments.seen(&forwarded), arguments.status()) {
        let ours = arguments.text("verdict").is_some_and(|verdict| !matches!(verdict, "" | "allow"));
        judge.feedback(Surface::Haproxy, Feedback { client: judge.client(&seen), status, ours });
    }
}

/// Any bytes of a connection of HAProxy, and what is read in the messages of their frames.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    let mut codec = SpopCodec::new(FRAME_BYTES_MAX);
    let mut incoming = BytesMut::from(input);
    while let Ok(Some(frame)) = codec.decode(&mut incoming) {
        _ = HaproxyHello::try_from(frame.payload())
            .map(|hello| (hello.negotiate_version(), hello.negotiate_max_frame_size(FRAME_BYTES_MAX)));
        let FramePayload::ListOfMessages(messages) = frame.payload() else { continue };
        for message in messages.iter().take(MESSAGES_MAX) {
            let arguments = Arguments::of(message);
            let forwarded = arguments.forwarded();
            _ = (arguments.seen(&forwarded), arguments.status(), arguments.header("user-agent"));
        }
    }
}
