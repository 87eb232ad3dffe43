//! Frames that are cut off at every byte.

use std::net::IpAddr;

use weir_common::verdict::Reason;
use weir_tests::frame::{Extension, Frame, Link, tpid};

use super::{CLEAN4, CLEAN6, LISTED4, LISTED6, SSH, Table, ip};
use crate::judge::Outcome;

/// The kernel's test run wants a whole Ethernet header.
pub(crate) const SHORTEST: usize = 14;

pub(super) fn add(table: &mut Table) {
    for clean in [IpAddr::V4(CLEAN4), CLEAN6.into()] {
        for (name, frame, start) in frames(clean) {
            cut(table, &name, &frame, start, false);
        }
    }
    for listed in [IpAddr::V4(LISTED4), LISTED6.into()] {
        for (name, frame, start) in frames(listed) {
            cut(table, &format!("listed, {name}"), &frame, start, true);
        }
    }
}

/// Adds all beginnings of a frame, whose IP header starts at `start`.
fn cut(table: &mut Table, name: &str, frame: &Frame, start: usize, listed: bool) {
    let whole = frame.build();
    let header = if whole[start] >> 4 == 4 { 20 } else { 40 };
    for length in SHORTEST..whole.len() {
        let name = format!("{name} cut at {length}");
        let frame = frame.clone().truncate(length);
        if length < start + header {
            table.malformed(&name, &frame, Reason::Truncated);
        } else if listed {
            table.listed(&name, &frame);
        } else {
            table.malformed(&name, &frame, Reason::TotalLength);
        }
    }
    // And behind its end.
    for extra in [1, 7, 46] {
        let name = format!("{name} with {extra} bytes more");
        let bytes = [&whole[..], &vec![0x77; extra]].concat();
        let (outcome, reason) = match (listed, table.setting) {
            (false, _) => (Outcome::Pass, Reason::Clean),
            (true, super::Setting::Shadow) => (Outcome::WouldDrop, Reason::Feed),
            (true, _) => (Outcome::Drop, Reason::Feed),
        };
        table.add(&name, bytes, outcome, reason).from_listed = listed;
    }
}

/// Frames, and where their IP header starts.
fn frames(source: IpAddr) -> Vec<(String, Frame, usize)> {
    let tcp = || ip(source).tcp(40000, SSH);
    let mut frames = vec![
        ("tcp", tcp(), 14),
        ("udp with data", ip(source).udp(1, SSH).payload(&[1; 9]), 14),
        ("sctp", ip(source).sctp(1, SSH), 14),
        ("ipv4 inside", ip(source).ip_in_ip(&ip(CLEAN4.into()).udp(1, 2)), 14),
        ("vlan", tcp().vlan(tpid::VLAN, 5), 18),
        ("qinq", tcp().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6), 22),
        ("snap", tcp().link(Link::Snap([0; 3])), 22),
        ("snap in qinq", tcp().link(Link::Snap([0; 3])).vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6), 30),
        ("pppoe", tcp().link(Link::Pppoe), 22),
        ("labels", tcp().link(Link::Mpls(vec![1, 2, 3])), 26),
        (
            "labels in pppoe in a vlan",
            tcp().vlan(tpid::VLAN, 5).link(Link::Pppoe).link(Link::Mpls(vec![1])),
            30,
        ),
        ("first fragment", tcp().payload(&[1; 20]).fragment(0, true), 14),
        ("later fragment", ip(source).protocol(6).fragment(9, true).payload(&[1; 24]), 14),
        ("options", tcp().options(&[1; 12]).extension(Extension::hop_by_hop()), 14),
    ];
    if source.is_ipv6() {
        let chain = tcp()
            .extension(Extension::hop_by_hop())
            .extension(Extension::routing())
            .extension(Extension::fragment(0, false))
            .extension(Extension::authentication())
            .extension(Extension::destination());
        frames.push(("chain", chain, 14));
    }
    let version = if source.is_ipv4() { 4 } else { 6 };
    frames.into_iter().map(|(name, frame, start)| (format!("v{version} {name}"), frame, start)).collect()
}
