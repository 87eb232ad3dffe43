//! Gateways of all routes, over rtnetlink (`RTM_GETROUTE`).

use std::{io, net::IpAddr, time::Duration};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};

const PATIENCE: Duration = Duration::from_secs(2);
const REPLY_BYTES: usize = 64 << 10;
/// Replies that are read; a router with a full table has gateways enough in the first of them.
const REPLIES_MAX: usize = 4096;

/// Returns the gateways of all routes of both families.
pub(super) fn gateways() -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        dump(family, |route| gateways.extend(gateways_of(route)))?;
    }
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

fn dump(family: AddressFamily, mut each: impl FnMut(&RouteMessage)) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(PATIENCE.as_secs().cast_signed()))?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut route = RouteMessage::default();
    route.header.address_family = family;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetRoute(route)));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut reply = vec![0; REPLY_BYTES];
    for _ in 0..REPLIES_MAX {
        let length = socket.recv(&mut &mut reply[..], 0)?;
        let mut rest = &reply[..length];
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            // Messages are aligned to four bytes.
            let taken = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
            rest = &rest[taken..];
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = &message.payload {
                each(route);
            } else if let NetlinkPayload::Error(error) = &message.payload {
                return Err(error.to_io());
            } else if let NetlinkPayload::Done(_) = message.payload {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn gateways_of(route: &RouteMessage) -> Vec<IpAddr> {
    let mut gateways = Vec::new();
    for attribute in &route.attributes {
        // The kernel's enums grow: what is not asked for is passed over, whatever it is.
        if let RouteAttribute::MultiPath(hops) = attribute {
            gateways.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(gateway));
        } else {
            gateways.extend(gateway(attribute));
        }
    }
    gateways
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    if let RouteAttribute::Gateway(RouteAddress::Inet(address))
    | RouteAttribute::Via(RouteVia::Inet(address)) = attribute
    {
        return Some(IpAddr::V4(*address));
    }
    if let RouteAttribute::Gateway(RouteAddress::Inet6(address))
    | RouteAttribute::Via(RouteVia::Inet6(address)) = attribute
    {
        return Some(IpAddr::V6(*address));
    }
    None
}
