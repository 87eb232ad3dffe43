//! Frames onto an interface, and off it, past the network stack.
//!
//! Both ends are opened inside a namespace and may be used outside:
//! `pair.client.run(|| Wire::open(Pair::INTERFACE))`.

/// Counts what arrives.
mod receiver;
/// Packet sockets.
mod socket;

use std::{
    hint,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;

pub use receiver::{Arrivals, Receiver};
use socket::PacketSocket;

use crate::{
    frame::{Frame, Sight},
    namespace::Pair,
};

/// How long a sender waits for a full queue.
const PATIENCE: Duration = Duration::from_secs(1);
/// A sleep may end that much later than asked for; the rest of a pause is waited for awake.
const OVERSLEEP: Duration = Duration::from_micros(200);

/// Sends so many UDP packets to a port of the server from each source, and returns how many of each arrive
/// behind XDP.
///
/// # Errors
/// If they cannot be sent or received.
pub fn deliver(pair: &Pair, sources: &[Ipv4Addr], port: u16, packets: usize) -> Result<Vec<usize>> {
    let receiver =
        pair.server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source)))?;
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE))?;
    for source in sources {
        let frame = Frame::new().ipv4(*source, Pair::SERVER.v4).udp(4000, port).payload(b"weir").build();
        for _ in 0..packets {
            wire.send(&frame)?;
        }
    }
    let arrivals = receiver.stop()?;
    Ok(sources.iter().map(|source| arrivals.packets(&IpAddr::V4(*source))).collect())
}

/// Sends frames on an interface.
#[derive(Debug)]
pub struct Wire {
    socket: PacketSocket,
}

/// What a paced sender did.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// Frames sent.
    pub packets: u64,
    /// When the first was sent, by the clock of [`Arrivals`].
    pub start: SystemTime,
    /// From the first frame to the time at which the one behind the last would have been due.
    pub elapsed: Duration,
    /// The longest that a frame was sent after it was due.
    pub worst_delay: Duration,
}

impl Paced {
    /// Returns frames per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn rate(&self) -> f64 {
        self.packets as f64 / self.elapsed.as_secs_f64()
    }
}

impl Wire {
    /// Opens an interface of the namespace in which the calling thread is.
    ///
    /// # Errors
    /// If there is no such interface, or the process may not send past the stack (CAP_NET_RAW).
    pub fn open(interface: &str) -> Result<Self> {
        let socket = PacketSocket::new().context("make a packet socket")?;
        socket.bind(interface, 0).with_context(|| format!("bind to {interface}"))?;
        Ok(Self { socket })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the interface refuses it: it is down, or the frame too long or shorter than a header.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let mut since = None;
        loop {
            match self.socket.send(frame) {
                Ok(()) => return Ok(()),
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR)
                    if since.get_or_insert_with(Instant::now).elapsed() < PATIENCE =>
                {
                    thread::yield_now();
                }
                Err(error) => bail!("send a frame of {} bytes: {error}", frame.len()),
            }
        }
    }

    /// Sends `frames` in turn, over and over, `per_second` of them a second for `duration`. Each is
    /// due at its own time since the start, so that delays do not add up; what is late is sent at
    /// once. Keeps a CPU busy.
    ///
    /// # Errors
    /// Like [`Wire::send`], or if there are no frames or no rate.
    pub fn send_paced(&self, frames: &[Vec<u8>], per_second: u32, duration: Duration) -> Result<Paced> {
        if frames.is_empty() || per_second == 0 {
            bail!("nothing to send");
        }
        let total = duration.as_nanos() * u128::from(per_second) / 1_000_000_000;
        let total = u64::try_from(total).context("too many frames")?;
        let due = |n: u64| Duration::from_nanos(n * 1_000_000_000 / u64::from(per_second));
        let mut worst_delay = Duration::ZERO;
        let start = SystemTime::now();
        let clock = Instant::now();
        for (n, frame) in (0..total).zip(frames.iter().cycle()) {
            wait_until(clock, due(n));
            worst_delay = worst_delay.max(clock.elapsed().saturating_sub(due(n)));
            self.send(frame)?;
        }
        wait_until(clock, due(total));
        Ok(Paced { packets: total, start, elapsed: clock.elapsed(), worst_delay })
    }
}

fn wait_until(clock: Instant, due: Duration) {
    while let Some(left) = due.checked_sub(clock.elapsed()) {
        match left.checked_sub(OVERSLEEP) {
            Some(pause) => thread::sleep(pause),
            None => hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests;
