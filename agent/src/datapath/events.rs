//! Sampled packets, as they come.

use std::io;

use aya::maps::{Map, MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};
use weir_common::{event::Event, map::EVENTS};

use super::{DatapathError, Pins, Result, load::chain};

/// The reading end of the ring buffer.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        let failed = |error: &dyn std::error::Error| DatapathError::Map { name: EVENTS, error: chain(error) };
        let data = MapData::from_pin(pins.map(EVENTS)).map_err(|error| failed(&error))?;
        Ok(Self { ring: RingBuf::try_from(Map::RingBuf(data)).map_err(|error| failed(&error))? })
    }

    /// Hands every event to `take`, for ever. What is not an event of ours is passed over.
    ///
    /// # Errors
    /// What epoll says, at the start or later.
    pub async fn run(self, mut take: impl FnMut(Event)) -> io::Result<()> {
        // SAFETY: the ring owns its descriptor, hands out that one only, and lives in the `AsyncFd`.
        let ready = unsafe { AsyncFd::register_with_interest(self.ring, Interest::READABLE) };
        let mut ready = ready.map_err(io::Error::from)?;
        loop {
            let mut guard = ready.readable_mut().await?;
            while let Some(item) = guard.get_inner_mut().next() {
                if let Some(event) = Event::from_bytes(&item) {
                    take(event);
                }
            }
            // Only now that nothing is left (tokio#6302).
            guard.clear_ready();
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
