//! Every shape in which an IP packet comes: from a listed source none gets through, from a clean one
//! none is hurt, and a limit holds for those that show their port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_common::verdict::Reason;
use weir_tests::frame::{Extension, Frame, Link, tpid};

use super::{CLEAN4, CLEAN6, HTTPS, LISTED4, LISTED6, SSH, Table, ip, v4, v6};

/// A shape: its name, a frame, and whether a port of TCP or UDP is to be seen in it.
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) frame: Frame,
    pub(super) ported: bool,
}

pub(super) fn add(table: &mut Table) {
    for (listed, clean) in [(IpAddr::V4(LISTED4), IpAddr::V4(CLEAN4)), (LISTED6.into(), CLEAN6.into())] {
        for Shape { name, frame, .. } in shapes(listed, SSH) {
            table.listed(&format!("listed {name}"), &frame);
        }
        for Shape { name, frame, .. } in shapes(clean, SSH) {
            table.clean(&format!("clean {name}"), &frame);
        }
        for Shape { name, frame, ported } in shapes(clean, HTTPS) {
            table.clean(&format!("at the limit {name}"), &frame).times = 3;
            if ported {
                table.dropped(&format!("limited {name}"), &frame, Reason::Limit, false).times = 4;
            } else {
                table.clean(&format!("without a port {name}"), &frame).times = 4;
            }
        }
    }
}

/// Returns all shapes of packets from `source`, for `port` where they have one.
pub(super) fn shapes(source: IpAddr, port: u16) -> Vec<Shape> {
    let mut shapes = Shapes(Vec::new());
    protocols(&mut shapes, source, port);
    links(&mut shapes, source, port);
    match source {
        IpAddr::V4(source) => {
            options(&mut shapes, source, port);
            fragments_v4(&mut shapes, source, port);
        }
        IpAddr::V6(source) => {
            extensions(&mut shapes, source, port);
            chains(&mut shapes, source, port);
            fragments_v6(&mut shapes, source, port);
        }
    }
    sizes(&mut shapes, source, port);
    let version = if source.is_ipv4() { 4 } else { 6 };
    for shape in &mut shapes.0 {
        shape.name = format!("v{version} {}", shape.name);
    }
    shapes.0
}

struct Shapes(Vec<Shape>);

impl Shapes {
    fn ported(&mut self, name: impl Into<String>, frame: Frame) {
        self.0.push(Shape { name: name.into(), frame, ported: true });
    }

    fn portless(&mut self, name: impl Into<String>, frame: Frame) {
        self.0.push(Shape { name: name.into(), frame, ported: false });
    }
}

fn protocols(shapes: &mut Shapes, source: IpAddr, port: u16) {
    shapes.ported("tcp", ip(source).tcp(40000, port));
    shapes.ported("syn", ip(source).tcp(40000, port).syn());
    shapes.ported("tcp without flags", ip(source).tcp(40000, port).flags(0));
    shapes.ported("tcp with all flags", ip(source).tcp(40000, port).flags(0xff));
    shapes.ported("tcp with data", ip(source).tcp(40000, port).payload(&[7; 1400]));
    shapes.ported("udp", ip(source).udp(40000, port));
    shapes.ported("udp from port 0", ip(source).udp(0, port));
    shapes.portless("sctp", ip(source).sctp(40000, port));
    let ports = [40000u16.to_be_bytes(), port.to_be_bytes(), [0; 2], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2]];
    for (name, protocol) in [("dccp", 33), ("udp-lite", 136)] {
        shapes.portless(name, ip(source).protocol(protocol).payload(ports.as_flattened()));
    }
    shapes.portless("echo request", echo(source));
    let inner4 = v4(CLEAN4).tcp(1, port);
    let inner6 = v6(CLEAN6).tcp(1, port);
    shapes.portless("ipv4 inside", ip(source).ip_in_ip(&inner4));
    shapes.portless("ipv6 inside", ip(source).ip_in_ip(&inner6));
    let gre = [&[0, 0, 8, 0], &inner4.packet()[..]].concat();
    shapes.portless("gre", ip(source).protocol(47).payload(&gre));
    for (name, protocol) in [
        ("igmp", 2),
        ("egp", 8),
        ("rsvp", 46),
        ("esp", 50),
        ("eigrp", 88),
        ("ospf", 89),
        ("etherip", 97),
        ("pim", 103),
        ("vrrp", 112),
        ("l2tp", 115),
        ("fibre channel", 133),
        ("mpls in ip", 137),
        ("ethernet in ip", 143),
        ("experiment", 253),
        ("reserved", 255),
    ] {
        shapes.portless(name, ip(source).protocol(protocol).payload(&[0x45; 40]));
    }
    shapes.portless("a protocol and no payload", ip(source).protocol(253));
}

fn echo(source: IpAddr) -> Frame {
    match source {
        IpAddr::V4(source) => v4(source).icmp(8, 0),
        IpAddr::V6(source) => v6(source).icmpv6(128, 0),
    }
}

fn links(shapes: &mut Shapes, source: IpAddr, port: u16) {
    let tcp = || ip(source).tcp(40000, port);
    shapes.ported("in a vlan", tcp().vlan(tpid::VLAN, 5));
    shapes.ported("with a priority tag", tcp().vlan(tpid::VLAN, 0xe000));
    shapes.ported("may be dropped, vlan 4095", tcp().vlan(tpid::VLAN, 0x1fff));
    shapes.ported("with a service tag", tcp().vlan(tpid::QINQ, 5));
    shapes.ported("qinq", tcp().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6));
    shapes.ported("qinq of two 0x8100", tcp().vlan(tpid::VLAN, 5).vlan(tpid::VLAN, 6));
    shapes.ported("0x9100", tcp().vlan(tpid::QINQ_OLD, 5));
    shapes.ported("0x9100 and 0x8100", tcp().vlan(tpid::QINQ_OLD, 5).vlan(tpid::VLAN, 6));
    shapes.portless("echo in qinq", echo(source).vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6));
    for (name, link) in [
        ("snap", Link::Snap([0; 3])),
        ("snap of bridges", Link::Snap([0, 0, 0xf8])),
        ("pppoe", Link::Pppoe),
        ("a label", Link::Mpls(vec![17])),
        ("explicit null", Link::Mpls(vec![0])),
        ("four labels", Link::Mpls(vec![16, 17, 18, 19])),
    ] {
        shapes.ported(format!("behind {name}"), tcp().link(link.clone()));
        shapes.ported(format!("behind a tag and {name}"), tcp().vlan(tpid::VLAN, 5).link(link.clone()));
        shapes.portless(
            format!("echo behind two tags and {name}"),
            echo(source).vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6).link(link),
        );
    }
    shapes.ported("behind pppoe and labels", tcp().link(Link::Pppoe).link(Link::Mpls(vec![7, 8])));
    let all = tcp().link(Link::Snap([0; 3])).link(Link::Pppoe).link(Link::Mpls(vec![7]));
    shapes.ported("behind snap, pppoe and a label", all);
    shapes.ported("to all stations", tcp().destination_mac([0xff; 6]));
    shapes.ported("from a group address", tcp().source_mac([0x33, 0x33, 0, 0, 0, 1]));
}

fn options(shapes: &mut Shapes, source: Ipv4Addr, port: u16) {
    let tcp = || v4(source).tcp(40000, port);
    shapes.ported("record route", tcp().options(&[7, 7, 4, 0, 0, 0, 0]));
    shapes.ported("loose source route", tcp().options(&[131, 7, 4, 192, 0, 2, 9]));
    shapes.ported("strict source route", tcp().options(&[137, 7, 4, 192, 0, 2, 9]));
    shapes.ported("router alert", tcp().options(&[148, 4, 0, 0]));
    shapes.ported("timestamp", tcp().options(&[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    shapes.ported("40 bytes of options", tcp().options(&[1; 40]));
    shapes.ported("an option that claims more than there is", tcp().options(&[7, 255, 4, 0]));
    shapes.portless("options and no port", v4(source).icmp(8, 0).options(&[1; 8]));
    shapes.ported("time to live 0", tcp().hop_limit(0));
    shapes.ported("wrong checksum", tcp().overwrite(24, &[0, 0]));
    shapes.ported("type of service", tcp().overwrite(15, &[0xff]));
    shapes.portless("authentication header", v4(source).protocol(51).payload(&[6, 4, 0, 0, 0, 0, 0, 1, 0]));
    shapes.portless("protocol 0", v4(source).protocol(0).payload(&[6, 0, 0, 0, 0, 0, 0, 0]));
    shapes.portless("protocol 44", v4(source).protocol(44).payload(&[6, 0, 0, 0, 0, 0, 0, 0]));
}

fn fragments_v4(shapes: &mut Shapes, source: Ipv4Addr, port: u16) {
    let tcp = || v4(source).tcp(40000, port).payload(&[3; 60]);
    let later = |offset, more| v4(source).protocol(6).fragment(offset, more).payload(&[1; 64]);
    shapes.ported("do not fragment", tcp().overwrite(20, &[0x40]));
    shapes.ported("reserved flag", tcp().overwrite(20, &[0x80]));
    shapes.ported("first fragment", tcp().fragment(0, true));
    shapes.ported("first fragment of udp", v4(source).udp(1, port).payload(&[3; 24]).fragment(0, true));
    shapes.portless("second fragment over the header", later(1, true));
    shapes.portless("last fragment over the header", later(2, false));
    shapes.portless("middle fragment", later(10, true));
    shapes.portless("last fragment", later(100, false));
    shapes.portless("fragment beyond 64 KB", later(0x1fff, false));
    shapes.portless("fragment of a byte", v4(source).protocol(6).fragment(50, false).payload(&[1]));
    shapes.portless("fragment of nothing", v4(source).protocol(6).fragment(50, true));
    shapes.portless("later fragment in a vlan", later(10, true).vlan(tpid::VLAN, 5));
    shapes.portless("later fragment behind snap", later(10, true).link(Link::Snap([0; 3])));
    shapes.portless("first fragment of an echo", v4(source).icmp(8, 0).payload(&[0; 24]).fragment(0, true));
}

/// Each IPv6 extension header alone.
fn extensions(shapes: &mut Shapes, source: Ipv6Addr, port: u16) {
    let tcp = || v6(source).tcp(40000, port);
    shapes.portless("no next header", v6(source).protocol(59));
    shapes.portless("no next header, but bytes", v6(source).protocol(59).payload(&[6; 40]));
    for (name, extension) in [
        ("hop-by-hop", Extension::hop_by_hop()),
        ("router alert", Extension::new(0, &[0, 5, 2, 0, 0, 1, 0])),
        ("an option that claims more than there is", Extension::new(0, &[0, 1, 255, 0, 0, 0, 0])),
        ("routing", Extension::routing()),
        (
            "routing of type 0",
            Extension::new(43, &[2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ),
        (
            "routing of type 2",
            Extension::new(43, &[2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ),
        ("destination options", Extension::destination()),
        ("authentication", Extension::authentication()),
        ("authentication of 12 bytes", Extension::new(51, &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])),
        ("mobility", Extension::mobility()),
        ("host identity", Extension::host_identity()),
        ("shim6", Extension::shim6()),
        ("2048 bytes", Extension::new(60, &[&[255], &[0; 2046][..]].concat())),
        ("an atomic fragment", Extension::fragment(0, false)),
    ] {
        shapes.ported(format!("with {name}"), tcp().extension(extension.clone()));
        shapes.portless(format!("echo with {name}"), v6(source).icmpv6(128, 0).extension(extension.clone()));
        shapes.portless(format!("nothing behind {name}"), v6(source).protocol(59).extension(extension));
    }
    shapes.ported("traffic class and flow label", tcp().overwrite(14, &[0x6f, 0xff, 0xff, 0xff]));
    shapes.ported("hop limit 0", tcp().hop_limit(0));
}

/// IPv6 extension headers together, up to as many as are followed.
fn chains(shapes: &mut Shapes, source: Ipv6Addr, port: u16) {
    let tcp = || v6(source).tcp(40000, port);
    let behind = |chain: Vec<Extension>| chain.into_iter().fold(tcp(), Frame::extension);
    shapes.ported(
        "all in the order of RFC 8200",
        behind(vec![
            Extension::hop_by_hop(),
            Extension::destination(),
            Extension::routing(),
            Extension::fragment(0, false),
            Extension::authentication(),
            Extension::mobility(),
            Extension::destination(),
        ]),
    );
    shapes.ported(
        "hop-by-hop in the wrong place",
        behind(vec![Extension::destination(), Extension::hop_by_hop()]),
    );
    for count in 2..=8 {
        shapes.ported(format!("{count} destination options"), behind(vec![Extension::destination(); count]));
    }
    shapes.ported("8 routing headers", behind(vec![Extension::routing(); 8]));
    let esp = v6(source).protocol(50).payload(&[0; 24]).extension(Extension::hop_by_hop());
    shapes.portless("esp behind hop-by-hop", esp.extension(Extension::destination()));
    let inner = v6(source).ip_in_ip(&v4(CLEAN4).tcp(1, port)).extension(Extension::destination());
    shapes.portless("ipv4 behind destination options", inner);
    shapes.ported("in a vlan with hop-by-hop", behind(vec![Extension::hop_by_hop()]).vlan(tpid::VLAN, 5));
    shapes.ported("behind pppoe with routing", behind(vec![Extension::routing()]).link(Link::Pppoe));
}

fn fragments_v6(shapes: &mut Shapes, source: Ipv6Addr, port: u16) {
    let tcp = || v6(source).tcp(40000, port).payload(&[3; 60]);
    let later = |offset, more| v6(source).protocol(6).fragment(offset, more).payload(&[1; 64]);
    shapes.ported("first fragment", tcp().fragment(0, true));
    shapes.portless("second fragment over the header", later(1, true));
    shapes.portless("middle fragment", later(9, true));
    shapes.portless("last fragment", later(90, false));
    shapes.portless("fragment beyond 64 KB", later(0x1fff, false));
    shapes.portless("fragment of nothing", v6(source).protocol(6).fragment(9, true));
    shapes.ported(
        "options, then the first fragment",
        tcp().extension(Extension::destination()).fragment(0, true),
    );
    shapes
        .ported("first fragment, then options", tcp().fragment(0, true).extension(Extension::destination()));
    let options = later(9, true).extension(Extension::destination());
    shapes.portless("later fragment that looks like options", options);
    shapes.ported("an atomic fragment in a first one", tcp().fragment(0, true).fragment(0, false));
    shapes.portless("later fragment in qinq", later(9, true).vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6));
}

/// Frames that are longer than the packet, or than one buffer.
fn sizes(shapes: &mut Shapes, source: IpAddr, port: u16) {
    shapes.ported("padded", ip(source).udp(1, port).padded());
    shapes.ported("with bytes behind its end", {
        let frame = ip(source).udp(1, port);
        let length = u16::try_from(frame.packet().len()).expect("short");
        let length = if source.is_ipv4() { length } else { length - 40 };
        frame.payload(&[0xee; 300]).ip_length(length)
    });
    for size in [3000, 3900, 4096, 9000, 60_000] {
        shapes.ported(format!("{size} bytes"), ip(source).udp(1, port).payload(&vec![5; size]));
    }
    if source.is_ipv6() {
        // RFC 2675: a payload length of 0, and the right one in an option.
        let jumbo = Extension::new(0, &[0, 0xc2, 4, 0, 1, 0, 16]);
        let frame = ip(source).udp(1, port).extension(jumbo).payload(&vec![5; 65_536]).ip_length(0);
        shapes.ported("jumbogram", frame);
    }
}
