//! Traffic without a pause, and what of it gets past weir.
//!
//! From the start to the end of a test frames come in on some interfaces, half of them from a source
//! that is listed and half from one that is not. Whatever happens to agents meanwhile, none of the one
//! and all of the other must arrive at the receiver, which stands behind XDP and TCX.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    frame::{Frame, Sight},
    namespace::Pair,
    wire::{Receiver, Wire},
};

/// The pace is kept for that long before it is looked whether to stop.
const SLICE: Duration = Duration::from_millis(50);

/// What a frame is: the last byte of the name of its interface, and its source.
type Key = (u8, IpAddr);

/// Traffic on some interfaces.
#[derive(Debug)]
pub struct Traffic {
    stopped: Arc<AtomicBool>,
    senders: Vec<(u8, JoinHandle<Result<u64>>)>,
    receiver: Receiver<Key>,
}

/// What was sent and what arrived on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Frames sent from either source.
    pub sent: usize,
    /// Frames of the listed source that arrived.
    pub listed: usize,
    /// Frames of the other source that arrived.
    pub clean: usize,
}

impl Traffic {
    /// The source that is to be listed.
    pub const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    /// The source that is not.
    pub const CLEAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

    /// Starts to send on these interfaces, `per_second` frames a second on each from either source.
    /// They must be under the bridge of [`Pair::bridge`], and their names end differently.
    ///
    /// # Errors
    /// If an interface is not there.
    pub fn start(pair: &Pair, interfaces: &[&str], per_second: u32) -> Result<Self> {
        let receiver = pair.server.run(|| Receiver::start(Pair::BEHIND, key_of))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let mut senders = Vec::new();
        for interface in interfaces {
            let place = interface.bytes().last().context("an interface without a name")?;
            let wire = pair.client.run(|| Wire::open(interface))?;
            let frames = [Self::LISTED, Self::CLEAN].map(|source| frame(place, source));
            let flag = Arc::clone(&stopped);
            let send = move || {
                let mut sent = 0;
                while !flag.load(Ordering::Relaxed) {
                    sent += wire.send_paced(&frames, 2 * per_second, SLICE)?.packets / 2;
                }
                Ok(sent)
            };
            let sender = thread::Builder::new().name((*interface).to_owned()).spawn(send);
            senders.push((place, sender.context("start a thread")?));
        }
        Ok(Self { stopped, senders, receiver })
    }

    /// Stops, and returns what became of the frames, in the order of the interfaces.
    ///
    /// # Errors
    /// If a frame could not be sent, or was lost before it was counted.
    pub fn stop(self) -> Result<Vec<Flow>> {
        self.stopped.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for (place, sender) in self.senders {
            let packets = sender.join().map_err(|_panic| anyhow!("a sender panicked"))??;
            sent.push((place, usize::try_from(packets).context("too many frames")?));
        }
        let arrivals = self.receiver.stop()?;
        let flow = |(place, sent)| Flow {
            sent,
            listed: arrivals.packets(&(place, Self::LISTED.into())),
            clean: arrivals.packets(&(place, Self::CLEAN.into())),
        };
        Ok(sent.into_iter().map(flow).collect())
    }

    /// Stops, and checks that nothing of the listed source and all of the other has arrived.
    ///
    /// # Errors
    /// If not.
    pub fn stop_without_a_gap(self) -> Result<Vec<Flow>> {
        let flows = self.stop()?;
        for flow in &flows {
            ensure!(flow.sent > 0, "nothing was sent: {flows:?}");
            ensure!(flow.listed == 0, "listed packets got through: {flows:?}");
            ensure!(flow.clean == flow.sent, "clean packets were lost: {flows:?}");
        }
        Ok(flows)
    }
}

fn frame(place: u8, source: Ipv4Addr) -> Vec<u8> {
    let destination = Ipv4Addr::new(203, 0, 113, place);
    Frame::new().destination_mac(Pair::ELSEWHERE).ipv4(source, destination).udp(4000, 53).build()
}

fn key_of(frame: &[u8]) -> Option<Key> {
    let sight = Sight::of(frame)?;
    match sight.destination {
        IpAddr::V4(destination) => Some((destination.octets()[3], sight.source)),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_weir_everything_arrives_behind() {
        let pair = Pair::new().unwrap();
        pair.add_cable("eth1", 4).unwrap();
        pair.bridge(&["eth0", "eth1"]).unwrap();
        let traffic = Traffic::start(&pair, &["eth0", "eth1"], 1000).unwrap();
        thread::sleep(Duration::from_millis(300));
        let flows = traffic.stop().unwrap();
        assert_eq!(flows.len(), 2);
        for flow in flows {
            assert!(flow.sent >= 200 && flow.listed == flow.sent && flow.clean == flow.sent, "{flow:?}");
        }
    }
}
