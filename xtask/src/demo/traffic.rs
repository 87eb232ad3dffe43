//! What is sent, and what of it arrives.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use weir_tests::{
    frame::{Frame, Sight, tpid},
    namespace::Pair,
    service::ask,
    wire::{Receiver, Wire},
};

use super::{
    BURST, EXCESS, LIMIT_PPS, PORT,
    sources::{EXCESSIVE, Sources},
};

/// How fast listed sources send, frames per second.
const LISTED_PPS: u32 = 10_000;
/// Every so many IPv4 sources, one also sends with tags.
const TAGGED_EVERY: usize = 40;
/// How often each clean client asks.
const QUESTIONS: usize = 4;

/// Traffic that is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    /// Listed IPv4 sources.
    V4,
    /// Listed IPv6 sources.
    V6,
    /// Listed IPv4 sources behind an IEEE 802.1Q tag.
    Vlan,
    /// Listed IPv4 sources behind two tags.
    QinQ,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 4] = [Self::V4, Self::V6, Self::Vlan, Self::QinQ];

    fn of(frame: &Sight) -> Self {
        match (frame.tags, frame.source) {
            (0, IpAddr::V4(_)) => Self::V4,
            (0, IpAddr::V6(_)) => Self::V6,
            (1, _) => Self::Vlan,
            _ => Self::QinQ,
        }
    }
}

/// Frames by group.
pub(super) type Counts = HashMap<Group, usize>;

/// What became of requests of clean clients.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) asked: usize,
    pub(super) answered: usize,
    /// What went wrong first.
    pub(super) error: Option<String>,
}

/// What became of the source that sends more than it may.
#[derive(Debug)]
pub(super) struct Excess {
    /// Frames sent, in all.
    pub(super) sent: usize,
    /// Frames that arrived, in all: the burst is among them.
    pub(super) delivered: usize,
    /// Frames sent per second.
    pub(super) offered_pps: f64,
    /// Frames that arrived per second, from when the burst was spent.
    pub(super) admitted_pps: f64,
}

/// Returns the frames of listed sources: one of each address of the IPv4 list, of some also behind
/// tags, and three of each IPv6 address.
pub(super) fn listed(sources: &Sources) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut v6 = sources.listed_v6.iter();
    for (n, source) in sources.listed.iter().enumerate() {
        let source = IpAddr::from(*source);
        frames.push(frame(n, source, &[]));
        if n % TAGGED_EVERY == 0 {
            let kind = n / TAGGED_EVERY;
            frames.push(frame(kind, source, &[tpid::VLAN]));
            frames.push(frame(kind, source, &[tpid::QINQ, tpid::VLAN]));
            if let Some(source) = v6.next() {
                frames.extend((0..3).map(|kind| frame(kind, (*source).into(), &[])));
            }
        }
    }
    frames
}

/// Returns, by turns, a TCP SYN, a UDP datagram, an echo request.
fn frame(n: usize, source: IpAddr, tags: &[u16]) -> Vec<u8> {
    let frame = tags.iter().fold(Frame::new(), |frame, tpid| frame.vlan(*tpid, 7));
    let frame = frame.ip(source, server_of(source));
    match (n % 3, source) {
        (0, _) => frame.tcp(40_000, PORT).syn(),
        (1, _) => frame.udp(40_000, PORT).payload(b"listed"),
        (_, IpAddr::V4(_)) => frame.icmp(8, 0).payload(b"listed"),
        (_, IpAddr::V6(_)) => frame.icmpv6(128, 0).payload(b"listed"),
    }
    .build()
}

/// Returns the address of the server in the family of `source`.
fn server_of(source: IpAddr) -> IpAddr {
    if source.is_ipv4() { Pair::SERVER.v4.into() } else { Pair::SERVER.v6.into() }
}

/// Counts frames by group.
pub(super) fn count(frames: &[Vec<u8>]) -> Counts {
    let mut counts = Counts::new();
    for sight in frames.iter().filter_map(|frame| Sight::of(frame)) {
        *counts.entry(Group::of(&sight)).or_default() += 1;
    }
    counts
}

/// Sends the frames of listed sources once, and returns what arrives behind XDP.
pub(super) fn send_listed(pair: &Pair, frames: &[Vec<u8>]) -> Result<Counts> {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE))?;
    let receiver = pair.server.run(|| {
        Receiver::start(Pair::INTERFACE, |frame| {
            let sight = Sight::of(frame)?;
            is_listed(&sight).then(|| Group::of(&sight))
        })
    })?;
    let paces = Duration::from_secs(frames.len() as u64) / LISTED_PPS;
    wire.send_paced(frames, LISTED_PPS, paces)?;
    let arrivals = receiver.stop()?;
    Ok(Group::ALL.into_iter().map(|group| (group, arrivals.packets(&group))).collect())
}

/// Everything but what the client sends on its own behalf: all of that is from the networks of the
/// cable.
fn is_listed(frame: &Sight) -> bool {
    match frame.source {
        IpAddr::V4(source) => source.octets()[..3] != Pair::CLIENT.v4.octets()[..3],
        IpAddr::V6(source) => {
            let network = source.segments()[..4] == Pair::CLIENT.v6.segments()[..4];
            !network && !source.is_unicast_link_local() && !source.is_unspecified()
        }
    }
}

/// Sends the frames of listed sources while clean clients make requests.
pub(super) fn send_listed_and_ask(
    pair: &Pair,
    frames: &[Vec<u8>],
    clean: &[IpAddr],
) -> Result<(Counts, Requests)> {
    thread::scope(|scope| {
        let requests = scope.spawn(|| pair.client.run(|| Ok(make_requests(clean))));
        let delivered = send_listed(pair, frames)?;
        let requests = requests.join().map_err(|_panic| anyhow!("the clean clients panicked"))??;
        Ok((delivered, requests))
    })
}

fn make_requests(clean: &[IpAddr]) -> Requests {
    let mut requests = Requests { asked: 0, answered: 0, error: None };
    for round in 0..QUESTIONS {
        for source in clean {
            requests.asked += 1;
            match ask(*source, SocketAddr::new(server_of(*source), PORT), &format!("question {round}")) {
                Ok(()) => requests.answered += 1,
                Err(error) => _ = requests.error.get_or_insert_with(|| format!("{error:#}")),
            }
        }
    }
    requests
}

/// Returns a socket of the server that takes datagrams and never reads them: without it, each would
/// be answered with an ICMP error.
pub(super) fn sink(pair: &Pair) -> Result<UdpSocket> {
    pair.server.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("bind a UDP socket"))
}

/// Sends more from one source than it may, and measures for as long as `window` what is let
/// through once the burst is spent.
pub(super) fn exceed(pair: &Pair, window: Duration) -> Result<Excess> {
    let frame = Frame::new().ipv4(EXCESSIVE, Pair::SERVER.v4).udp(40_000, PORT).payload(b"more").build();
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE))?;
    let receiver = pair.server.run(|| {
        Receiver::start(Pair::INTERFACE, |frame| (Sight::of(frame)?.source == EXCESSIVE).then_some(()))
    })?;
    let offered = EXCESS * LIMIT_PPS;
    // Twice the time that the burst takes: it must not reach into the window.
    let spent = Duration::from_secs(2 * u64::from(BURST)) / (offered - LIMIT_PPS);
    let margin = Duration::from_millis(100);
    let paced = wire.send_paced(&[frame], offered, spent + window + margin)?;
    let arrivals = receiver.stop()?;
    let start = paced.start + spent;
    Ok(Excess {
        sent: usize::try_from(paced.packets).context("count frames")?,
        delivered: arrivals.packets(&()),
        offered_pps: paced.rate(),
        admitted_pps: arrivals.rate(&(), &(start..start + window)),
    })
}
