//! Packet sockets (packet(7)).

use std::{
    io::IoSliceMut,
    mem,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    time::{Duration, SystemTime},
};

use nix::{
    Result,
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, setsockopt,
            socket,
            sockopt::{RcvBufForce, ReceiveTimeout, ReceiveTimestampns},
        },
        time::{TimeSpec, TimeVal},
    },
};

#[expect(clippy::cast_possible_truncation, reason = "17")]
const AF_PACKET: u16 = libc::AF_PACKET as u16;
/// Length of a VLAN tag, and where in a frame the first stands.
const TAG: usize = 4;
const TAG_AT: usize = 12;
/// The longest frame: what GRO puts together from an IP packet's worth of segments.
const LONGEST: usize = 65_536 + 64;

#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Makes a socket that receives nothing until it is bound.
    pub(super) fn new() -> Result<Self> {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map(Self)
    }

    /// Binds to an interface. `protocol` is an ethertype, [`libc::ETH_P_ALL`], or 0 to receive
    /// nothing.
    pub(super) fn bind(&self, interface: &str, protocol: u16) -> Result<()> {
        let index = if_nametoindex(interface)?;
        let address = libc::sockaddr_ll {
            sll_family: AF_PACKET,
            sll_protocol: protocol.to_be(),
            sll_ifindex: index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = length_of(&address);
        // SAFETY: the address is as long as is said.
        let result = unsafe { libc::bind(self.raw(), (&raw const address).cast(), length) };
        Errno::result(result).map(drop)
    }

    pub(super) fn send(&self, frame: &[u8]) -> Result<()> {
        send(self.raw(), frame, MsgFlags::empty()).map(drop)
    }

    /// Prepares to receive: a buffer of `bytes`, a timeout, arrival times, VLAN tags, and nothing
    /// of what this host sends.
    pub(super) fn prepare_to_receive(&self, bytes: usize, timeout: Duration) -> Result<()> {
        setsockopt(&self.0, RcvBufForce, &bytes)?;
        setsockopt(&self.0, ReceiveTimestampns, &true)?;
        let micros = timeout.as_micros().try_into().unwrap_or(libc::suseconds_t::MAX);
        setsockopt(&self.0, ReceiveTimeout, &TimeVal::new(0, micros))?;
        self.enable(libc::PACKET_AUXDATA)?;
        self.enable(libc::PACKET_IGNORE_OUTGOING)
    }

    /// Waits for a frame, and shows it as it was on the wire. `EAGAIN` after the timeout.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, of which two kinds were asked for")]
    pub(super) fn receive<'b>(&self, buffer: &'b mut Buffer) -> Result<(&'b [u8], SystemTime)> {
        let Buffer { frame, control } = buffer;
        let (bytes, stamp, tag) = {
            let mut parts = [IoSliceMut::new(&mut frame[TAG..])];
            let message = recvmsg::<()>(self.raw(), &mut parts, Some(control), MsgFlags::empty())?;
            let (mut stamp, mut tag) = (None, None);
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::ScmTimestampns(time) => stamp = Some(time),
                    ControlMessageOwned::Unknown(other) => tag = tag_of(&other.data_bytes),
                    _ => {}
                }
            }
            (message.bytes, stamp, tag)
        };
        let time = stamp.map_or_else(SystemTime::now, |stamp| SystemTime::UNIX_EPOCH + Duration::from(stamp));
        let frame = match tag {
            // The kernel has taken the outer tag out of the frame.
            Some(tag) if bytes >= TAG_AT => {
                frame.copy_within(TAG..TAG + TAG_AT, 0);
                frame[TAG_AT..TAG_AT + TAG].copy_from_slice(&tag);
                &frame[..TAG + bytes]
            }
            Some(_) | None => &frame[TAG..TAG + bytes],
        };
        Ok((frame, time))
    }

    /// Returns how many frames the kernel threw away for want of room since the last call.
    pub(super) fn drops(&self) -> Result<u32> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = length_of(&statistics);
        let value = (&raw mut statistics).cast();
        // SAFETY: the value is as long as is said.
        let result = unsafe {
            libc::getsockopt(self.raw(), libc::SOL_PACKET, libc::PACKET_STATISTICS, value, &raw mut length)
        };
        Errno::result(result).map(|_| statistics.tp_drops)
    }

    fn enable(&self, option: i32) -> Result<()> {
        let one = 1_i32;
        let length = length_of(&one);
        // SAFETY: the value is as long as is said.
        let result = unsafe {
            libc::setsockopt(self.raw(), libc::SOL_PACKET, option, (&raw const one).cast(), length)
        };
        Errno::result(result).map(drop)
    }

    fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Room for a frame and what the kernel tells of it.
#[derive(Debug)]
pub(super) struct Buffer {
    frame: Vec<u8>,
    control: Vec<u8>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { frame: vec![0; TAG + LONGEST], control: nix::cmsg_space!(TimeSpec, libc::tpacket_auxdata) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "some bytes")]
const fn length_of<T>(value: &T) -> libc::socklen_t {
    mem::size_of_val(value) as libc::socklen_t
}

/// Returns the VLAN tag that a `struct tpacket_auxdata` tells of.
fn tag_of(auxdata: &[u8]) -> Option<[u8; TAG]> {
    let status = u32::from_ne_bytes(auxdata.get(..4)?.try_into().ok()?);
    let half = |at: usize| Some(u16::from_ne_bytes(auxdata.get(at..at + 2)?.try_into().ok()?));
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let [a, b] = half(mem::offset_of!(libc::tpacket_auxdata, tp_vlan_tpid))?.to_be_bytes();
    let [c, d] = half(mem::offset_of!(libc::tpacket_auxdata, tp_vlan_tci))?.to_be_bytes();
    Some([a, b, c, d])
}
