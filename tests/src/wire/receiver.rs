//! Counts what arrives.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;

use super::socket::{Buffer, PacketSocket};

/// The kernel doubles it, and charges 4 KB for a small frame behind native XDP: half a second of
/// 50,000 frames a second.
const BUFFER_BYTES: usize = 64 << 20;
/// After that much silence, nothing is on its way any more.
const QUIET: Duration = Duration::from_millis(100);
/// A stopped receiver does not wait longer for silence.
const PATIENCE: Duration = Duration::from_secs(2);

/// Receives on a thread all frames that an interface lets through: behind XDP, before the rest of
/// the stack. VLAN tags stand in the frames as on the wire. Where GRO is at work, segments of one
/// TCP stream may arrive as one frame.
pub struct Receiver<K> {
    shared: Arc<Shared<K>>,
    thread: Option<JoinHandle<Result<()>>>,
}

struct Shared<K> {
    arrivals: Mutex<Arrivals<K>>,
    stopped: AtomicBool,
}

/// When frames arrived, by the key that the classifier gave them.
#[derive(Clone, Debug)]
pub struct Arrivals<K>(HashMap<K, Vec<SystemTime>>);

impl<K: Eq + Hash + Send + 'static> Receiver<K> {
    /// Starts to receive on an interface of the namespace in which the calling thread is. Frames
    /// without a key are not counted.
    ///
    /// # Errors
    /// If there is no such interface, or the process may not listen past the stack (CAP_NET_RAW).
    pub fn start(interface: &str, classify: impl Fn(&[u8]) -> Option<K> + Send + 'static) -> Result<Self> {
        let socket = PacketSocket::new().context("make a packet socket")?;
        socket.prepare_to_receive(BUFFER_BYTES, QUIET).context("prepare a packet socket")?;
        let protocol = libc::ETH_P_ALL.try_into().context("ETH_P_ALL")?;
        socket.bind(interface, protocol).with_context(|| format!("bind to {interface}"))?;
        let shared = Arc::new(Shared {
            arrivals: Mutex::new(Arrivals(HashMap::new())),
            stopped: AtomicBool::new(false),
        });
        let receiving = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || receiving.receive(&socket, classify))
            .context("start a thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns how many frames with `key` have arrived so far.
    #[must_use]
    pub fn packets(&self, key: &K) -> usize {
        self.shared.lock().packets(key)
    }

    /// Waits until `packets` frames with `key` have arrived. Returns false if they have not in time.
    #[must_use]
    pub fn wait_for(&self, key: &K, packets: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.packets(key) < packets {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Waits until nothing arrives any more, at most 2 seconds, and returns all that has.
    ///
    /// # Errors
    /// If a frame was lost between the interface and the count.
    pub fn stop(mut self) -> Result<Arrivals<K>> {
        self.end()?;
        let arrivals = std::mem::take(&mut self.shared.lock().0);
        Ok(Arrivals(arrivals))
    }
}

impl<K> Receiver<K> {
    fn end(&mut self) -> Result<()> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_panic| anyhow!("the receiver panicked"))?,
            None => Ok(()),
        }
    }
}

impl<K> Drop for Receiver<K> {
    fn drop(&mut self) {
        _ = self.end();
    }
}

impl<K> fmt::Debug for Receiver<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash> Shared<K> {
    fn receive(&self, socket: &PacketSocket, classify: impl Fn(&[u8]) -> Option<K>) -> Result<()> {
        let mut buffer = Buffer::new();
        let mut stopped_at = None;
        loop {
            let stopped = self.stopped.load(Ordering::Relaxed);
            match socket.receive(&mut buffer) {
                Ok((frame, time)) => {
                    if let Some(key) = classify(frame) {
                        self.lock().0.entry(key).or_default().push(time);
                    }
                }
                Err(Errno::EAGAIN) if stopped => break,
                // ENETDOWN is told once when the interface goes down.
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => return Err(error).context("receive a frame"),
            }
            if stopped && stopped_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                break;
            }
        }
        match socket.drops().context("read packet statistics")? {
            0 => Ok(()),
            lost => bail!("{lost} frames were lost before the receiver read them: its buffer was full"),
        }
    }
}

impl<K> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, Arrivals<K>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Arrivals<K> {
    /// Returns how many frames with `key` arrived.
    #[must_use]
    pub fn packets(&self, key: &K) -> usize {
        self.times(key).len()
    }

    /// Returns how many frames arrived.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Returns the keys of frames that arrived, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// Returns when the frames with `key` arrived.
    #[must_use]
    pub fn times(&self, key: &K) -> &[SystemTime] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns how many frames with `key` arrived in each second of `window`, on average.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn rate(&self, key: &K, window: &Range<SystemTime>) -> f64 {
        let arrived = self.times(key).iter().filter(|time| window.contains(time)).count();
        let length = window.end.duration_since(window.start).unwrap_or_default();
        arrived as f64 / length.as_secs_f64()
    }
}
