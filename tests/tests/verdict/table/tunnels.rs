//! Packets inside of packets. From a declared balancer the inner one is judged, by its own source and
//! port, from anybody else the outer.

use std::net::IpAddr;

use weir_common::verdict::Reason;
use weir_tests::frame::{Extension, Frame, Link, tpid};

use super::{
    ALLOWED4, ALLOWED6, BALANCER4, BALANCER6, CLEAN4, CLEAN6, HTTPS, LISTED_BALANCER4, LISTED4, LISTED6,
    ON_TRIAL4, SSH, Table, WATCHED4, ip, shapes, v4, v6,
};

pub(super) fn add(table: &mut Table) {
    for (kind, wrap) in KINDS {
        from_balancers(table, kind, wrap);
        from_others(table, kind, wrap);
        inner_shapes(table, kind, wrap);
        inner_form(table, kind, wrap);
        fragments(table, kind, wrap);
    }
    outer_shapes(table);
    one_level(table);
    inner_frames(table);
    no_tunnel(table);
}

type Wrap = fn(Frame, &Frame) -> Frame;
type Make = fn() -> Frame;

/// Ways to carry a packet.
const KINDS: [(&str, Wrap); 7] = [
    ("ip in ip", Frame::ip_in_ip),
    ("gue", |outer, inner| outer.gue(0, inner)),
    ("gue with a word", |outer, inner| outer.gue(1, inner)),
    ("gue with 31 words", |outer, inner| outer.gue(31, inner)),
    ("gue without a header", Frame::gue_direct),
    ("vxlan", Frame::vxlan),
    ("vxlan in qinq", |outer, inner| outer.vxlan(&inner.clone().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6))),
];

const BALANCERS: [IpAddr; 2] = [IpAddr::V4(BALANCER4), IpAddr::V6(BALANCER6)];

fn version(source: IpAddr) -> u8 {
    if source.is_ipv4() { 4 } else { 6 }
}

fn from_balancers(table: &mut Table, kind: &str, wrap: Wrap) {
    for balancer in BALANCERS {
        let name = |who: &str| format!("{kind} over v{}: {who}", version(balancer));
        let carry = |inner: &Frame| wrap(ip(balancer), inner);
        for listed in [IpAddr::V4(LISTED4), LISTED6.into()] {
            let inner = ip(listed).tcp(40000, SSH);
            table.listed(&name(&format!("listed v{}", version(listed))), &carry(&inner));
        }
        for clean in [IpAddr::V4(CLEAN4), CLEAN6.into()] {
            let who = |what: &str| name(&format!("{what} v{}", version(clean)));
            table.clean(&who("clean"), &carry(&ip(clean).tcp(40000, SSH)));
            let limited = carry(&ip(clean).udp(1, HTTPS));
            table.clean(&who("at the limit"), &limited).times = 3;
            table.dropped(&who("over the limit"), &limited, Reason::Limit, false).times = 4;
        }
        table.passed(&name("allowed v4"), &carry(&v4(ALLOWED4).udp(1, HTTPS)), Reason::Allow).times = 9;
        table.passed(&name("allowed v6"), &carry(&v6(ALLOWED6).udp(1, HTTPS)), Reason::Allow).times = 9;
        table.passed(&name("watched"), &carry(&v4(WATCHED4).udp(1, SSH)), Reason::Observe);
        table.dropped(&name("on trial"), &carry(&v4(ON_TRIAL4).udp(1, SSH)), Reason::Feed, true);
        let mapped = v6(LISTED4.to_ipv6_mapped()).udp(1, SSH);
        table.listed(&name("listed, v4-mapped"), &carry(&mapped));
    }
}

/// The outer source counts, and what is inside is payload.
fn from_others(table: &mut Table, kind: &str, wrap: Wrap) {
    let inner = [v4(LISTED4).udp(1, HTTPS), v6(LISTED6).udp(1, HTTPS)];
    for (inner, inside) in inner.into_iter().zip([4, 6]) {
        for clean in [IpAddr::V4(CLEAN4), CLEAN6.into()] {
            let name = format!("{kind} of v{inside} over v{} from nobody's balancer", version(clean));
            table.clean(&name, &wrap(ip(clean), &inner)).times = 9;
        }
    }
    for inside in [IpAddr::V4(CLEAN4), ALLOWED4.into(), BALANCER6.into()] {
        let inner = ip(inside).udp(1, SSH);
        for listed in [IpAddr::V4(LISTED4), LISTED6.into()] {
            let name = format!("{kind} of {inside} over v{} from a listed source", version(listed));
            table.listed(&name, &wrap(ip(listed), &inner));
        }
    }
    table.passed(
        &format!("{kind} from an allowed source"),
        &wrap(v4(ALLOWED4), &v4(LISTED4).udp(1, SSH)),
        Reason::Allow,
    );
}

/// Every shape of packet, inside. Links are only where frames are inside.
fn inner_shapes(table: &mut Table, kind: &str, wrap: Wrap) {
    if !matches!(kind, "ip in ip" | "vxlan") {
        return;
    }
    let fits = |name: &str| {
        // 60 kB and more are not carried, and IP in IP carries no padding.
        !name.contains("60000")
            && !name.contains("jumbogram")
            && (kind == "vxlan" || !name.contains("padded"))
    };
    for (listed, clean) in [(IpAddr::V4(LISTED4), IpAddr::V4(CLEAN4)), (LISTED6.into(), CLEAN6.into())] {
        for shapes::Shape { name, frame, .. } in shapes::shapes(listed, SSH) {
            if fits(&name) {
                table.listed(&format!("{kind}: listed {name}"), &wrap(v4(BALANCER4), &frame));
            }
        }
        for shapes::Shape { name, frame, ported } in shapes::shapes(clean, HTTPS) {
            if fits(&name) && ported {
                let frame = wrap(v6(BALANCER6), &frame);
                table.dropped(&format!("{kind}: limited {name}"), &frame, Reason::Limit, false).times = 4;
            } else if fits(&name) {
                table.clean(&format!("{kind}: clean {name}"), &wrap(v4(BALANCER4), &frame)).times = 4;
            }
        }
    }
}

fn inner_form(table: &mut Table, kind: &str, wrap: Wrap) {
    let chain =
        |source| (0..9).fold(v6(source).tcp(1, SSH), |frame, _| frame.extension(Extension::destination()));
    let shapes = |from4, from6| {
        [
            ("ihl 4", v4(from4).tcp(1, SSH).ihl(4), Reason::HeaderLength),
            ("total length above the frame", v4(from4).tcp(1, SSH).ip_length(1000), Reason::TotalLength),
            ("total length below the header", v4(from4).tcp(1, SSH).ip_length(19), Reason::TotalLength),
            ("payload length above the frame", v6(from6).tcp(1, SSH).ip_length(1000), Reason::TotalLength),
            ("tcp cut off", v4(from4).tcp(1, SSH).ip_length(30), Reason::Truncated),
            ("nine extensions", chain(from6), Reason::ExtensionChain),
            ("tiny fragment", v4(from4).protocol(6).fragment(0, true).payload(&[0; 8]), Reason::TinyFragment),
        ]
    };
    for (name, inner, reason) in shapes(CLEAN4, CLEAN6) {
        table.malformed(&format!("{kind}: {name} inside"), &wrap(v4(BALANCER4), &inner), reason);
    }
    for (name, inner, _) in shapes(LISTED4, LISTED6) {
        table.listed(&format!("{kind}: listed, {name} inside"), &wrap(v6(BALANCER6), &inner));
    }
    for (name, inner, _) in shapes(ALLOWED4, ALLOWED6) {
        table.passed(&format!("{kind}: allowed, {name} inside"), &wrap(v4(BALANCER4), &inner), Reason::Allow);
    }
    // The inner header is not all there, though the outer packet is whole.
    for (inner, header) in [(v4(CLEAN4).tcp(1, SSH), 20), (v6(LISTED6).tcp(1, SSH), 40)] {
        let whole = wrap(v4(BALANCER4), &inner).build().len();
        let rest = inner.packet().len();
        for kept in 0..header {
            let length = whole - rest + kept;
            let total = u16::try_from(length - 14).expect("short");
            let frame = wrap(v4(BALANCER4), &inner).ip_length(total).truncate(length);
            let name = format!("{kind}: {kept} bytes of {header} inside");
            if kept == 0 && kind == "gue without a header" {
                // Without a byte inside it is no tunnel.
                table.passed(&name, &frame, Reason::Allow);
            } else if kept == 1 && kind == "gue without a header" {
                table.passed(&name, &frame, Reason::Allow);
            } else {
                table.malformed(&name, &frame, Reason::Truncated);
            }
        }
    }
}

/// Tunnels in fragments: the first shows the source, later ones are the balancer's.
fn fragments(table: &mut Table, kind: &str, wrap: Wrap) {
    for balancer in BALANCERS {
        let name = |what: &str| format!("{kind} over v{}: {what}", version(balancer));
        let first = |inner: &Frame| {
            let frame = wrap(ip(balancer), &inner.clone().payload(&[9; 100])).fragment(0, true);
            let whole = frame.build().len();
            let header = if balancer.is_ipv4() { 14 } else { 14 + 40 };
            frame.ip_length(u16::try_from(whole - 40 - header).expect("short")).truncate(whole - 40)
        };
        table.listed(&name("listed in a first fragment"), &first(&v4(LISTED4).tcp(1, SSH)));
        table.listed(&name("listed6 in a first fragment"), &first(&v6(LISTED6).tcp(1, SSH)));
        table.clean(&name("clean in a first fragment"), &first(&v4(CLEAN4).tcp(1, SSH)));
        table.clean(&name("clean6 in a first fragment"), &first(&v6(CLEAN6).tcp(1, SSH)));
        let limited = first(&v6(CLEAN6).udp(1, HTTPS));
        table.dropped(&name("limited in a first fragment"), &limited, Reason::Limit, false).times = 4;
        let later = wrap(ip(balancer), &v4(LISTED4).tcp(1, SSH)).fragment(20, false);
        table.passed(&name("later fragment"), &later, Reason::Allow);
    }
}

/// Whatever the outer packet looks like.
fn outer_shapes(table: &mut Table) {
    let inner = |source| v4(source).tcp(1, SSH);
    let outers: [(&str, Make); 10] = [
        ("in a vlan", || v4(BALANCER4).vlan(tpid::VLAN, 5)),
        ("in qinq", || v6(BALANCER6).vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6)),
        ("with options", || v4(BALANCER4).options(&[1; 40])),
        ("behind snap", || v4(BALANCER4).link(Link::Snap([0; 3]))),
        ("behind labels", || v6(BALANCER6).link(Link::Mpls(vec![1, 2]))),
        ("behind pppoe", || v4(BALANCER4).link(Link::Pppoe)),
        ("with destination options", || v6(BALANCER6).extension(Extension::destination())),
        ("with an atomic fragment", || v6(BALANCER6).extension(Extension::fragment(0, false))),
        ("with eight extensions", || {
            (0..8).fold(v6(BALANCER6), |frame, _| frame.extension(Extension::routing()))
        }),
        ("from a listed balancer", || v4(LISTED_BALANCER4)),
    ];
    for (kind, wrap) in KINDS {
        for (shape, outer) in outers {
            table.listed(&format!("{kind} {shape}: listed"), &wrap(outer(), &inner(LISTED4)));
            table.clean(&format!("{kind} {shape}: clean"), &wrap(outer(), &inner(CLEAN4)));
            let limited = wrap(outer(), &v6(CLEAN6).tcp(1, HTTPS));
            table.dropped(&format!("{kind} {shape}: limited"), &limited, Reason::Limit, false).times = 4;
        }
    }
    // Nobody sends 4 kB of outer headers; what does is not followed, and passes as the balancer's.
    let long = (0..3).fold(v6(BALANCER6), |frame, _| {
        frame.extension(Extension::new(60, &[&[255], &[0; 2046][..]].concat()))
    });
    table.passed("6 kB of outer headers", &long.ip_in_ip(&inner(LISTED4)), Reason::Allow);
}

fn one_level(table: &mut Table) {
    let listed = v4(LISTED4).tcp(1, SSH);
    let once = v4(CLEAN4).ip_in_ip(&listed);
    table.clean("two levels: the middle one is judged", &v4(BALANCER4).ip_in_ip(&once));
    let middle = v4(LISTED4).ip_in_ip(&v4(CLEAN4).tcp(1, SSH));
    table.listed("two levels: the middle one is listed", &v4(BALANCER4).ip_in_ip(&middle));
    let again = v6(BALANCER6).ip_in_ip(&listed);
    table.passed("two levels of balancers", &v4(BALANCER4).ip_in_ip(&again), Reason::Allow);
    let probe = v4(BALANCER4).tcp(1, HTTPS);
    table
        .passed("a balancer's probe through its tunnel", &v4(BALANCER4).ip_in_ip(&probe), Reason::Allow)
        .times = 9;
}

/// VXLAN carries frames, not only packets.
fn inner_frames(table: &mut Table) {
    let carry = |inner: &Frame| v4(BALANCER4).vxlan(inner);
    let arp = Frame::new().ethertype(0x0806).payload(&[0; 28]);
    table.passed("vxlan: arp", &carry(&arp), Reason::NotIp);
    table.passed(
        "vxlan: spanning tree",
        &carry(&Frame::new().ethertype(38).payload(&[0x42; 38])),
        Reason::NotIp,
    );
    let deep = v4(LISTED4).udp(1, 2).vlan(tpid::QINQ, 1).vlan(tpid::VLAN, 2).vlan(tpid::VLAN, 3);
    table.malformed("vxlan: three tags", &carry(&deep), Reason::VlanDepth);
    // Neighbour discovery is spared on the wire, not in a tunnel.
    let discovery = Frame::new().ipv6(LISTED6, super::TO6).hop_limit(255).icmpv6(135, 0).payload(&[0; 20]);
    table.listed("vxlan: neighbour discovery of a listed source", &carry(&discovery));
    for length in 0..14 {
        let frame = v4(BALANCER4).udp(1, 4789).payload(&[8, 0, 0, 0, 0, 0, 1, 0]).payload(&vec![0; length]);
        table.malformed(&format!("vxlan: {length} bytes of a frame"), &frame, Reason::Truncated);
    }
}

/// What a balancer sends that is no tunnel passes, and is not held to form.
fn no_tunnel(table: &mut Table) {
    for balancer in BALANCERS {
        let name = |what: &str| format!("balancer v{}: {what}", version(balancer));
        table.passed(&name("tcp"), &ip(balancer).tcp(1, HTTPS), Reason::Allow).times = 9;
        table.passed(&name("udp"), &ip(balancer).udp(1, HTTPS), Reason::Allow).times = 9;
        table.passed(&name("to port 6081"), &ip(balancer).udp(1, 6081).payload(&[0x45; 60]), Reason::Allow);
        table.passed(&name("from port 6080"), &ip(balancer).udp(6080, 5).payload(&[0x45; 60]), Reason::Allow);
        table.passed(&name("tcp to port 4789"), &ip(balancer).tcp(1, 4789).payload(&[8; 60]), Reason::Allow);
        let gre = ip(balancer).protocol(47).payload(&[0, 0, 8, 0]).payload(&v4(LISTED4).udp(1, 2).packet());
        table.passed(&name("gre"), &gre, Reason::Allow);
        for (what, first, carried) in [
            ("control message", 0x20, 4),
            ("gue of tcp", 0, 6),
            ("gue of version 5", 0x50, 4),
            ("gue of version 2", 0x80, 4),
        ] {
            let frame = ip(balancer).udp(1, 6080).payload(&[first, carried, 0, 0]);
            table.passed(&name(what), &frame.payload(&v4(LISTED4).udp(1, 2).packet()), Reason::Allow);
        }
        table.passed(&name("gue of nothing"), &ip(balancer).udp(1, 6080), Reason::Allow);
        let cut = ip(balancer).ip_in_ip(&v4(LISTED4).tcp(1, SSH)).truncate(60);
        table.passed(&name("a tunnel cut off on the way"), &cut, Reason::Allow);
        table.listed(&format!("beside {}", name("tunnel")), &v4(LISTED4).ip_in_ip(&v4(CLEAN4).udp(1, 2)));
    }
}
