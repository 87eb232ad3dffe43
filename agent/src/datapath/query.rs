//! What the kernel tells of an interface, by rtnetlink: its properties, the XDP program that it has,
//! and why it gets no other.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::OnceLock,
    time::Duration,
};

use aya::programs::loaded_programs;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    net::if_::if_nametoindex,
    sys::{
        socket::{setsockopt, sockopt::ReceiveTimeout},
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::config::{self, Mode};

const PATIENCE: Duration = Duration::from_secs(2);
const REPLY_BYTES: usize = 32 << 10;
// include/uapi/linux/if_link.h
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1 << 0;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
// include/uapi/linux/netlink.h
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Processes whose descriptors are looked through for the holder of a program: a bound, no more.
const DESCRIPTORS_MAX: usize = 50_000;

/// What is known of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its driver, or its kind where it has none (`veth`).
    pub(super) kind: String,
    pub(super) mtu: u32,
    /// The longest packet that GRO makes.
    pub(super) gro: u32,
    pub(super) up: bool,
    /// Frames begin with an Ethernet header.
    pub(super) ethernet: bool,
    pub(super) xdp: Option<Attachment>,
}

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    /// Where it runs; nothing for hardware and the like.
    pub(super) mode: Option<Mode>,
    /// Its number in the kernel.
    pub(super) program: u32,
}

/// Returns what is known of the interface with this index.
pub(super) fn interface(ifindex: u32) -> io::Result<Interface> {
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let reply = ask(RouteNetlinkMessage::GetLink(link), NLM_F_REQUEST)?;
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply)
        .map_err(|error| io::Error::other(error.to_string()))?;
    // The kernel's enums grow: what is not asked for is passed over, whatever it is.
    if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload {
        return Ok(read(&link));
    }
    if let NetlinkPayload::Error(error) = message.payload {
        return Err(error.to_io());
    }
    Err(io::Error::other("the kernel answers RTM_GETLINK with something else"))
}

/// Returns the XDP program of the interface with this index, if it has one.
pub(super) fn attachment(ifindex: u32) -> io::Result<Option<Attachment>> {
    interface(ifindex).map(|interface| interface.xdp)
}

/// Returns what the kernel says against attaching an XDP program, which it tells through netlink
/// only: a refused bpf_link is a bare error number. Takes nobody's place
/// (`XDP_FLAGS_UPDATE_IF_NOEXIST`), and takes back what is not refused after all.
pub(super) fn objection(ifindex: u32, program: BorrowedFd<'_>, mode: Mode) -> Option<String> {
    let mode = match mode {
        Mode::Native => XDP_FLAGS_DRV_MODE,
        Mode::Generic => XDP_FLAGS_SKB_MODE,
        Mode::Auto | Mode::Tcx => return None,
    };
    let set = |attributes| {
        let mut link = LinkMessage::default();
        link.header.index = ifindex;
        link.attributes = vec![LinkAttribute::Xdp(attributes)];
        ask(RouteNetlinkMessage::SetLink(link), NLM_F_REQUEST | NLM_F_ACK)
    };
    let fd = LinkXdp::Fd(program.as_raw_fd());
    let reply = set(vec![fd, LinkXdp::Flags(mode | XDP_FLAGS_UPDATE_IF_NOEXIST)]).ok()?;
    let (error, said) = answer(&reply)?;
    if error == 0 {
        let ours = LinkXdp::ExpectedFd(program.as_raw_fd().cast_unsigned());
        _ = set(vec![LinkXdp::Fd(-1), LinkXdp::Flags(mode | XDP_FLAGS_REPLACE), ours]);
        return None;
    }
    said
}

fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(PATIENCE.as_secs().cast_signed()))?;
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut reply = vec![0; REPLY_BYTES];
    let length = socket.recv(&mut &mut reply[..], 0)?;
    reply.truncate(length);
    Ok(reply)
}

/// Reads error number and words of a `struct nlmsgerr` whose request was left out.
fn answer(reply: &[u8]) -> Option<(i32, Option<String>)> {
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    if kind != NLMSG_ERROR {
        return None;
    }
    let error = i32::from_ne_bytes(reply.get(HEADER..HEADER + 4)?.try_into().ok()?);
    let mut rest = reply.get(HEADER + 4 + HEADER..).unwrap_or_default();
    while let [a, b, c, d, ..] = *rest {
        let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        if kind == NLMSGERR_ATTR_MSG {
            let text = rest.get(4..length)?;
            return Some((error, Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..).unwrap_or_default();
    }
    Some((error, None))
}

fn read(link: &LinkMessage) -> Interface {
    let layer = link.header.link_layer_type;
    let mut interface = Interface {
        up: link.header.flags.contains(LinkFlags::Up),
        ethernet: matches!(layer, LinkLayerType::Ether | LinkLayerType::Loopback),
        xdp: xdp(link),
        ..Interface::default()
    };
    for attribute in &link.attributes {
        if let LinkAttribute::Mtu(mtu) = attribute {
            interface.mtu = *mtu;
        } else if let LinkAttribute::GroMaxSize(bytes) | LinkAttribute::GroIpv4MaxSize(bytes) = attribute {
            interface.gro = interface.gro.max(*bytes);
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            let kind = infos
                .iter()
                .find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind.to_string()) } else { None });
            interface.kind = kind.unwrap_or_default();
        }
    }
    interface
}

fn xdp(link: &LinkMessage) -> Option<Attachment> {
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

/// Programs of others that were on interfaces when it could still be seen whose they are.
static NEIGHBOURS: OnceLock<BTreeMap<u32, String>> = OnceLock::new();

/// Remembers whose the programs on these interfaces are: to find out takes what the agent gives up
/// afterwards (CAP_SYS_ADMIN, CAP_SYS_PTRACE).
pub fn look_around(interfaces: &[config::Interface]) {
    let program = |interface: &config::Interface| {
        let ifindex = if_nametoindex(interface.name.as_str()).ok()?;
        attachment(ifindex).ok()?.map(|there| (there.program, describe_program(there.program)))
    };
    NEIGHBOURS.get_or_init(|| interfaces.iter().filter_map(program).collect());
}

/// Returns what people need to find a program and its owner.
pub(super) fn describe_program(id: u32) -> String {
    if let Some(text) = NEIGHBOURS.get().and_then(|neighbours| neighbours.get(&id)) {
        return text.clone();
    }
    let name = loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    let mut text = match name {
        Some(name) if !name.is_empty() => format!("program {id} `{name}`"),
        // Only a start may ask for names of others: docs/privileges.md.
        _ => format!("program {id} (`bpftool prog show id {id}` names it)"),
    };
    if let Some(holder) = holder(id) {
        _ = write!(text, ", held by {holder},");
    }
    text
}

/// Returns the process that holds a program or a link of it, if one does and it can be seen.
fn holder(id: u32) -> Option<String> {
    let mut left = DESCRIPTORS_MAX;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fdinfo")) else { continue };
        for descriptor in descriptors.flatten() {
            left = left.checked_sub(1)?;
            let Ok(text) = fs::read_to_string(descriptor.path()) else { continue };
            if pid != std::process::id() && is_of_program(&text, id) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(format!("process {pid} ({})", name.trim()));
            }
        }
    }
    None
}

fn is_of_program(fdinfo: &str, id: u32) -> bool {
    fdinfo
        .lines()
        .filter_map(|line| line.strip_prefix("prog_id:"))
        .any(|number| number.trim().parse() == Ok(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_kernel_are_found_behind_the_error() {
        let text = b"XDP program already attached\0";
        let mut reply = vec![0; HEADER + 4 + HEADER];
        reply[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        reply[HEADER..HEADER + 4].copy_from_slice(&(-16i32).to_ne_bytes());
        assert_eq!(answer(&reply), Some((-16, None)));
        // An attribute that is not known, and is not a multiple of four long.
        reply.extend([6, 0, 9, 0, 1, 2, 0, 0]);
        reply.extend((4 + u16::try_from(text.len()).unwrap()).to_ne_bytes());
        reply.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        reply.extend(text);
        assert_eq!(answer(&reply), Some((-16, Some("XDP program already attached".to_owned()))));
        assert_eq!(answer(&reply[..10]), None);
    }

    #[test]
    fn a_descriptor_names_its_program() {
        assert!(is_of_program("pos:\t0\nprog_type:\t6\nprog_id:\t17\n", 17));
        assert!(!is_of_program("pos:\t0\nprog_id:\t170\nmap_id:\t17\n", 17));
    }
}
