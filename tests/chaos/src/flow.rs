//! Whose frames come in, and what must become of them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use weir_tests::{frame::Frame, namespace::Pair};

/// The port of the service that has a limit.
const SERVICE: u16 = 443;
/// Ports without a limit begin here, one a flow.
const PORTS: u16 = 7000;
/// Numbers of epochs begin here among source ports.
const EPOCHS: u16 = 1024;
/// The limit of the service: what a source may send a second, and at once.
pub(crate) const LIMIT: (u32, u32) = (50, 250);
/// The network that the second list names.
pub(crate) const LISTED_V6: &str = "2001:db8:bad::/48";

/// Frames of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Of sources that the list names.
    Listed,
    /// Likewise, IPv6.
    ListedV6,
    /// Of sources that are banned.
    Banned,
    /// Of sources that the list names and the configuration allows.
    Allowed,
    /// Of sources that nobody names.
    Ordinary,
    /// Likewise, IPv6.
    OrdinaryV6,
    /// Of a source that sends ten times what the limit of the service is.
    Offender,
    /// Of all the sources of the list, as fast as can be.
    Flood,
}

/// What must become of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// No frame comes through.
    Drop,
    /// All do.
    Pass,
    /// As many as the limit says.
    Limited,
}

impl Flow {
    /// Every flow.
    pub const ALL: [Self; 8] = [
        Self::Listed,
        Self::ListedV6,
        Self::Banned,
        Self::Allowed,
        Self::Ordinary,
        Self::OrdinaryV6,
        Self::Offender,
        Self::Flood,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::ListedV6 => "listed, IPv6",
            Self::Banned => "banned",
            Self::Allowed => "listed and allowed",
            Self::Ordinary => "ordinary",
            Self::OrdinaryV6 => "ordinary, IPv6",
            Self::Offender => "over the limit",
            Self::Flood => "listed, in a flood",
        }
    }

    /// Returns what must become of it.
    #[must_use]
    pub const fn must(self) -> Must {
        match self {
            Self::Listed | Self::ListedV6 | Self::Banned | Self::Flood => Must::Drop,
            Self::Allowed | Self::Ordinary | Self::OrdinaryV6 => Must::Pass,
            Self::Offender => Must::Limited,
        }
    }

    /// Returns how many frames of it are sent a second; floods are sent by whoever makes one.
    pub(crate) const fn per_second(self) -> u32 {
        match self {
            Self::Listed | Self::Ordinary => 400,
            Self::Offender => 10 * LIMIT.0,
            Self::Allowed => 200,
            Self::ListedV6 | Self::Banned | Self::OrdinaryV6 => 100,
            Self::Flood => 0,
        }
    }

    /// Returns its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    fn port(self) -> u16 {
        match self {
            Self::Offender => SERVICE,
            Self::Listed
            | Self::ListedV6
            | Self::Banned
            | Self::Allowed
            | Self::Ordinary
            | Self::OrdinaryV6
            | Self::Flood => PORTS + u16::try_from(self.index()).unwrap_or(0),
        }
    }

    /// Returns a frame of it. Whoever counts reads flow and epoch in its ports.
    pub(crate) fn frame(self, source: IpAddr, epoch: usize) -> Vec<u8> {
        let destination = match source {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 1)),
        };
        let port = EPOCHS + u16::try_from(epoch % usize::from(u16::MAX - EPOCHS)).unwrap_or(0);
        let frame = Frame::new().destination_mac(Pair::ELSEWHERE).ip(source, destination);
        frame.udp(port, self.port()).payload(b"weir").build()
    }

    /// Returns the flow and the epoch of a frame; nothing: it is none of ours.
    pub(crate) fn of(frame: &[u8]) -> Option<(Self, usize)> {
        let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
        let (at, protocol) = match word(12)? {
            0x0800 => (14 + 20, frame.get(14 + 9)?),
            0x86dd => (14 + 40, frame.get(14 + 6)?),
            _ => return None,
        };
        let (epoch, port) = (word(at)?.checked_sub(EPOCHS)?, word(at + 2)?);
        let flow = Self::ALL.into_iter().find(|flow| flow.port() == port && *protocol == 17)?;
        Some((flow, epoch.into()))
    }
}

/// Returns a frame of a source that somebody has made up. It goes to the server itself, where nobody
/// wants it, so that it costs what it costs weir and nothing behind.
pub(crate) fn spoofed(random: &mut fastrand::Rng) -> Vec<u8> {
    let source = Ipv4Addr::from(0x1400_0000 | random.u32(..) & 0x00ff_ffff);
    let destination = Ipv4Addr::new(203, 0, 113, 201);
    let port = if random.bool() { SERVICE } else { 53 };
    let frame = Frame::new().destination_mac(Pair::SERVER.mac).ipv4(source, destination);
    frame.udp(random.u16(1024..), port).payload(b"flood").build()
}

/// The addresses of each flow.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The text of the list.
    pub list: String,
    /// All that it names.
    pub listed: Vec<Ipv4Addr>,
    of: [Vec<IpAddr>; Flow::COUNT],
}

impl Sources {
    /// Reads the list, and takes the sources that seed and list say.
    ///
    /// # Errors
    /// If the list cannot be read, or has something else than addresses in it.
    pub fn load(list: &Path, random: &mut fastrand::Rng) -> Result<Self> {
        let text = std::fs::read_to_string(list).with_context(|| format!("read {}", list.display()))?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let listed: Vec<Ipv4Addr> = lines
            .map(|line| line.parse().with_context(|| format!("list entry `{line}`")))
            .collect::<Result<_>>()?;
        ensure!(listed.len() > 1000, "{} has {} entries, too few", list.display(), listed.len());
        let known: std::collections::HashSet<_> = listed.iter().copied().collect();
        let mut some = listed.clone();
        random.shuffle(&mut some);
        let unknown = std::iter::repeat_with(|| Ipv4Addr::from(0x6440_0000 | random.u32(..) & 0x003f_ffff));
        let ordinary: Vec<_> = unknown.filter(|address| !known.contains(address)).take(64).collect();
        let v6 = |group: u16| {
            (0..16)
                .map(move |n| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, group, n, 0, 0, 0, n + 1)))
                .collect()
        };
        let (allowed, listed_some) = some.split_at(8);
        let v4 = |addresses: &[Ipv4Addr]| addresses.iter().map(|address| IpAddr::from(*address)).collect();
        let of = Flow::ALL.map(|flow| match flow {
            Flow::Listed | Flow::Flood => v4(listed_some),
            Flow::ListedV6 => v6(0xbad),
            Flow::Banned => v4(&[1, 2, 3, 4].map(|n| Ipv4Addr::new(100, 127, 255, n))),
            Flow::Allowed => v4(allowed),
            Flow::Ordinary => v4(&ordinary),
            Flow::OrdinaryV6 => v6(0x900d),
            Flow::Offender => v4(&[Ipv4Addr::new(192, 0, 2, 200)]),
        });
        Ok(Self { list: text, listed, of })
    }

    /// Returns the sources of a flow.
    #[must_use]
    pub fn of(&self, flow: Flow) -> &[IpAddr] {
        &self.of[flow.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_what_it_is() {
        let sources = ["192.0.2.1", "2001:db8::1"].map(|source| source.parse().unwrap());
        for flow in Flow::ALL {
            for (source, epoch) in sources.into_iter().zip([0, 40_000]) {
                assert_eq!(Flow::of(&flow.frame(source, epoch)), Some((flow, epoch)));
            }
        }
        assert_eq!(Flow::of(&spoofed(&mut fastrand::Rng::with_seed(1))[..40]), None);
        assert_eq!(Flow::of(b""), None);
    }
}
