//! From the start of a frame to its IP header (IEEE 802.3, 802.1Q, 802.2, and what is put between).
//!
//! Linux reads IP behind tags and, where it ends such a link, behind PPPoE and MPLS; a machine behind
//! a bridge may read it behind LLC/SNAP. A source that stands there in the clear is found. What is
//! looked for behind the usual ethertypes costs the usual frames nothing.

use super::{Defect, Frame};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
/// Neither: an ethertype that stands for all others.
const OTHER: u16 = 0xffff;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;
const QINQ_OLD: u16 = 0x9100;
const MPLS: u16 = 0x8847;
/// MPLS with labels that the sender has chosen (RFC 5332).
const MPLS_UPSTREAM: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
/// Below this it is the length of an LLC frame (IEEE 802.3 section 3.2.6).
const ETHERTYPES: u16 = 0x0600;

const ETHERNET_HEADER: u32 = 14;
const VLAN_TAG: u32 = 4;
const TAGS_MAX: u32 = 2;
const LLC_SNAP_HEADER: u32 = 8;
const PPPOE_HEADER: u32 = 6;
const PPP_PROTOCOL: u32 = 2;
const MPLS_LABEL: u32 = 4;
const LABELS_MAX: u32 = 4;

/// Returns what stands behind all headers of the link, as an ethertype, and where; the frame starts
/// `start` bytes into `frame`.
#[inline(always)]
pub(super) fn find_ip(frame: &impl Frame, start: u32) -> Result<(u16, u32), Defect> {
    let [kind] = frame.load::<1>(start + ETHERNET_HEADER - 2).ok_or(Defect::Truncated)?;
    let mut kind = u16::from_be(kind);
    let mut at = start + ETHERNET_HEADER;
    let mut tags = 0;
    while is_tag(kind) {
        if tags == TAGS_MAX {
            return Err(Defect::VlanDepth);
        }
        tags += 1;
        let [_, inner] = frame.load::<2>(at).ok_or(Defect::Truncated)?;
        kind = u16::from_be(inner);
        at += VLAN_TAG;
    }
    if kind == IPV4 || kind == IPV6 { Ok((kind, at)) } else { find_rare(frame, kind, at) }
}

const fn is_tag(kind: u16) -> bool {
    matches!(kind, VLAN | QINQ | QINQ_OLD)
}

/// Looks for IP behind LLC/SNAP, PPPoE and MPLS, in this order, each at most once.
#[inline(always)]
fn find_rare(frame: &impl Frame, kind: u16, at: u32) -> Result<(u16, u32), Defect> {
    let (mut kind, mut at) = (kind, at);
    if kind < ETHERTYPES {
        kind = behind_llc(frame, at)?;
        at += LLC_SNAP_HEADER;
    }
    if kind == PPPOE_SESSION {
        kind = behind_pppoe(frame, at)?;
        at += PPPOE_HEADER + PPP_PROTOCOL;
    }
    if kind == MPLS || kind == MPLS_UPSTREAM {
        return behind_labels(frame, at);
    }
    Ok((kind, frame.opaque(at)))
}

/// Returns the ethertype in a SNAP header (RFC 1042; IEEE 802.1H for bridged Ethernet).
#[inline(always)]
fn behind_llc(frame: &impl Frame, at: u32) -> Result<u16, Defect> {
    let [saps, control_oui] = frame.load::<2>(at).ok_or(Defect::Truncated)?;
    if u16::from_be(saps) != 0xaaaa || u16::from_be(control_oui) != 0x0300 {
        return Ok(OTHER);
    }
    let [oui, kind] = frame.load::<2>(at + 4).ok_or(Defect::Truncated)?;
    let kind = u16::from_be(kind);
    match u16::from_be(oui) {
        // Nobody puts a tag here.
        0x0000 | 0x00f8 if is_tag(kind) => Err(Defect::VlanDepth),
        0x0000 | 0x00f8 => Ok(kind),
        _ => Ok(OTHER),
    }
}

/// Returns the ethertype of what a PPPoE session carries (RFC 2516). Linux looks at neither version
/// nor code, and so do we not.
#[inline(always)]
fn behind_pppoe(frame: &impl Frame, at: u32) -> Result<u16, Defect> {
    let [protocol] = frame.load::<1>(at + PPPOE_HEADER).ok_or(Defect::Truncated)?;
    match u16::from_be(protocol) {
        0x0021 => Ok(IPV4),
        0x0057 => Ok(IPV6),
        0x0281 => Ok(MPLS),
        0x0283 => Ok(MPLS_UPSTREAM),
        // The same of IP in a single byte (RFC 1661 section 6.5), as Linux takes it whether agreed upon
        // or not. RFC 2516 section 7 advises against it.
        0x2100..=0x21ff | 0x5700..=0x57ff => Err(Defect::VlanDepth),
        _ => Ok(OTHER),
    }
}

/// Looks behind a stack of MPLS labels (RFC 3032), which does not say what is there: IP begins with
/// its version, a pseudowire with 0 (RFC 4928).
#[inline(always)]
fn behind_labels(frame: &impl Frame, at: u32) -> Result<(u16, u32), Defect> {
    let mut at = at;
    let mut labels = 0;
    while labels < LABELS_MAX {
        let [_, low] = frame.load::<2>(at).ok_or(Defect::Truncated)?;
        at += MPLS_LABEL;
        labels += 1;
        if u16::from_be(low) & 0x0100 != 0 {
            let at = frame.opaque(at);
            let [first] = frame.load::<1>(at).ok_or(Defect::Truncated)?;
            let kind = match first.to_ne_bytes()[0] >> 4 {
                4 => IPV4,
                6 => IPV6,
                _ => OTHER,
            };
            return Ok((kind, at));
        }
    }
    Err(Defect::VlanDepth)
}
