//! Which XDP program an interface has, from the kernel: rtnetlink `RTM_GETLINK`, `IFLA_XDP`.

use std::{io, time::Duration};

use aya::programs::loaded_programs;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};

use crate::config::Mode;

const PATIENCE: Duration = Duration::from_secs(2);
const REPLY_BYTES: usize = 32 << 10;

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    /// Where it runs; nothing for hardware and the like.
    pub(super) mode: Option<Mode>,
    /// Its number in the kernel.
    pub(super) program: u32,
}

/// Returns the XDP program of the interface with this index, if it has one.
pub(super) fn attachment(ifindex: u32) -> io::Result<Option<Attachment>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(PATIENCE.as_secs().cast_signed()))?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetLink(link)));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut reply = vec![0; REPLY_BYTES];
    let length = socket.recv(&mut &mut reply[..], 0)?;
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply[..length])
        .map_err(|error| io::Error::other(error.to_string()))?;
    // The kernel's enums grow: what is not asked for is passed over, whatever it is.
    if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload {
        return Ok(find(&link));
    }
    if let NetlinkPayload::Error(error) = message.payload {
        return Err(error.to_io());
    }
    Err(io::Error::other("the kernel answers RTM_GETLINK with something else"))
}

fn find(link: &LinkMessage) -> Option<Attachment> {
    let mut attachment = Attachment { mode: None, program: 0 };
    for attribute in &link.attributes {
        let LinkAttribute::Xdp(attributes) = attribute else { continue };
        for attribute in attributes {
            if let LinkXdp::ProgId(id) = attribute {
                attachment.program = *id;
            } else if let LinkXdp::Attached(XdpAttached::Driver) = attribute {
                attachment.mode = Some(Mode::Native);
            } else if let LinkXdp::Attached(XdpAttached::SocketBuffer) = attribute {
                attachment.mode = Some(Mode::Generic);
            }
        }
    }
    (attachment.program != 0).then_some(attachment)
}

/// Returns what people need to find a program and its owner.
pub(super) fn describe_program(id: u32) -> String {
    let name = loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        Some(name) if !name.is_empty() => format!("program {id} `{name}`"),
        _ => format!("program {id}"),
    }
}
