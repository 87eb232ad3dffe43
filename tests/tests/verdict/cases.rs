//! The table. Settings share the lists; what differs is how they are enforced.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_common::verdict::Reason;
use weir_tests::frame::{Extension, Frame, tpid};

use crate::judge::Outcome;

/// A frame and what it must get.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) frame: Vec<u8>,
    /// How often it comes; the last one counts.
    pub(crate) times: u32,
    /// Every bucket is owed debt by somebody else.
    pub(crate) full_limiter: bool,
    /// Its source is on a list that drops.
    pub(crate) from_listed: bool,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
}

/// How the lists are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// They are.
    Enforce,
    /// Nothing is dropped.
    Shadow,
    /// Lists and limits are, malformed frames only counted.
    Lenient,
}

impl Setting {
    pub(crate) const ALL: [Self; 3] = [Self::Enforce, Self::Shadow, Self::Lenient];

    pub(crate) fn config(self) -> String {
        let (enforce, malformed) = match self {
            Self::Enforce => ("enforce", "drop"),
            Self::Shadow => ("shadow", "drop"),
            Self::Lenient => ("enforce", "shadow"),
        };
        format!(
            "enforce: {enforce}
malformed: {malformed}
interfaces: [{{name: eth0}}]
services:
  - {{name: https, ports: [443/tcp, 443/udp]}}
  - {{name: api, ports: [8000-8010/tcp]}}
  - {{name: other, ports: [9000/tcp]}}
  - {{name: networks, ports: [7000/udp]}}
  - {{name: whole, ports: [7001/udp]}}
management: {{ports: [2222/tcp]}}
partners: [192.0.2.50, 198.51.100.50]
allow: [10.1.0.0/16, 198.51.100.77, '2001:db8:bad:1::/64']
feeds:
  - {{name: bad, path: /bad, action: drop}}
  - {{name: trial, path: /trial, action: drop, enforce: shadow}}
  - {{name: watch, path: /watch, action: observe}}
  - {{name: poor, path: /poor, action: suspicious}}
limits:
  - name: https
    service: https
    packets:
      rate: 1/s
      burst: 3
      partner: {{rate: 1/s, burst: 6}}
      suspicious: {{rate: 1/s, burst: 1}}
  - {{name: networks, service: networks, packets: {{rate: 1/s, burst: 8}}, ipv4_prefix: 24, ipv6_prefix: 48}}
  - {{name: whole, service: whole, per: service, packets: {{rate: 1/s, burst: 20}}, soft: 50%}}
  - {{name: control, control: {{rate: 1/s, burst: 5}}}}
  - {{name: opens, service: api, connections: {{rate: 1/s, burst: 2}}, enforce: shadow}}
"
        )
    }

    pub(crate) fn list(feed: &str) -> &'static str {
        match feed {
            "bad" => {
                "198.51.100.0/24\n203.0.113.9\n10.1.2.3\n100.64.0.0/10\n203.0.113.128/25\n\
                 2001:db8:bad::/48\n2001:db8:1::1\nfe80::/16\n"
            }
            "trial" => "203.0.113.50\n203.0.113.9\n2001:db8:7::/48\n",
            "poor" => "192.0.2.60\n",
            "watch" => "203.0.113.60\n198.51.100.1\n",
            other => panic!("no list {other}"),
        }
    }
}

const TO4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const TO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub(crate) const LISTED4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const LISTED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 7);
const CLEAN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLEAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

pub(crate) fn v4(source: Ipv4Addr) -> Frame {
    Frame::new().ipv4(source, TO4)
}

pub(crate) fn v6(source: Ipv6Addr) -> Frame {
    Frame::new().ipv6(source, TO6)
}

/// Frames of every shape in which an IPv4 packet comes.
fn shapes_v4(source: Ipv4Addr) -> Vec<(&'static str, Frame)> {
    let tcp = || v4(source).tcp(40000, 22);
    vec![
        ("tcp4", tcp()),
        ("syn4", tcp().syn()),
        ("udp4", v4(source).udp(40000, 53)),
        ("icmp4", v4(source).icmp(8, 0)),
        ("sctp4", v4(source).sctp(40000, 53)),
        ("gre4", v4(source).protocol(47).payload(&[0; 24])),
        ("esp4", v4(source).protocol(50).payload(&[0; 24])),
        ("6in4", v4(source).protocol(41).payload(&v6(CLEAN6).tcp(1, 2).packet())),
        ("ip options", tcp().options(&[7, 7, 4, 0, 0, 0, 0])),
        ("vlan", tcp().vlan(tpid::VLAN, 5)),
        ("priority tag", tcp().vlan(tpid::VLAN, 0xe000)),
        ("qinq", tcp().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6)),
        ("0x9100", tcp().vlan(0x9100, 5).vlan(tpid::VLAN, 6)),
        ("first fragment", tcp().fragment(0, true)),
        ("middle fragment", v4(source).protocol(6).fragment(10, true).payload(&[1; 64])),
        ("last fragment", v4(source).protocol(6).fragment(100, false).payload(&[1; 9])),
        ("padded", v4(source).udp(1, 2).padded()),
    ]
}

/// Frames of every shape in which an IPv6 packet comes.
fn shapes_v6(source: Ipv6Addr) -> Vec<(&'static str, Frame)> {
    let tcp = || v6(source).tcp(40000, 22);
    vec![
        ("tcp6", tcp()),
        ("udp6", v6(source).udp(40000, 53)),
        ("icmp6", v6(source).icmpv6(128, 0)),
        ("esp6", v6(source).protocol(50).payload(&[0; 24])),
        ("no next header", v6(source).protocol(59)),
        ("4in6", v6(source).protocol(4).payload(&v4(CLEAN4).tcp(1, 2).packet())),
        ("vlan6", tcp().vlan(tpid::VLAN, 5)),
        ("qinq6", tcp().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6)),
        ("hop-by-hop", tcp().extension(Extension::hop_by_hop())),
        ("routing", tcp().extension(Extension::routing())),
        ("destination options", tcp().extension(Extension::destination())),
        ("ah", tcp().extension(Extension::authentication())),
        ("mobility", tcp().extension(Extension::mobility())),
        ("first fragment6", tcp().extension(Extension::fragment(0, true))),
        ("later fragment6", v6(source).protocol(6).extension(Extension::fragment(9, true)).payload(&[1; 64])),
        (
            "chain",
            tcp()
                .extension(Extension::hop_by_hop())
                .extension(Extension::destination())
                .extension(Extension::routing())
                .extension(Extension::authentication())
                .extension(Extension::destination()),
        ),
    ]
}

/// Frames that no honest sender makes, and what is wrong with them.
fn malformed(from4: Ipv4Addr, from6: Ipv6Addr) -> Vec<(&'static str, Frame, Reason)> {
    let tcp4 = || v4(from4).tcp(40000, 22);
    let tcp6 = || v6(from6).tcp(40000, 22);
    let chain = (0..9).fold(tcp6(), |frame, _| frame.extension(Extension::destination()));
    vec![
        ("ihl 4", tcp4().ihl(4), Reason::HeaderLength),
        ("version 5", tcp4().overwrite(14, &[0x55]), Reason::HeaderLength),
        ("total length above the frame", tcp4().ip_length(1000), Reason::TotalLength),
        ("total length below the header", tcp4().ip_length(19), Reason::TotalLength),
        ("tcp header cut off", tcp4().ip_length(30), Reason::Truncated),
        ("tiny fragment", v4(from4).protocol(6).fragment(0, true).payload(&[0; 8]), Reason::TinyFragment),
        ("version 4 in ipv6", tcp6().overwrite(14, &[0x45]), Reason::HeaderLength),
        ("payload length above the frame", tcp6().ip_length(1000), Reason::TotalLength),
        ("nine extensions", chain, Reason::ExtensionChain),
        (
            "extension beyond the packet",
            tcp6().extension(Extension::new(60, &[200, 0, 0, 0])),
            Reason::Truncated,
        ),
    ]
}

/// Frames in which no source can be found.
fn unreadable() -> Vec<(&'static str, Frame, Reason)> {
    let tcp4 = || v4(CLEAN4).tcp(40000, 22);
    vec![
        ("ipv4 header cut off", tcp4().truncate(30), Reason::Truncated),
        ("ipv6 header cut off", v6(CLEAN6).tcp(1, 2).truncate(50), Reason::Truncated),
        ("tag cut off", tcp4().vlan(tpid::VLAN, 5).truncate(16), Reason::Truncated),
        ("three tags", tcp4().vlan(tpid::QINQ, 1).vlan(tpid::VLAN, 2).vlan(tpid::VLAN, 3), Reason::VlanDepth),
    ]
}

pub(crate) struct Table {
    pub(crate) setting: Setting,
    cases: Vec<Case>,
}

impl Table {
    /// Adds a frame that a rule drops if it is enforced.
    pub(crate) fn dropped(&mut self, name: &str, frame: &Frame, reason: Reason, shadow: bool) -> &mut Case {
        let outcome =
            if shadow || self.setting == Setting::Shadow { Outcome::WouldDrop } else { Outcome::Drop };
        self.add(name, frame, outcome, reason)
    }

    pub(crate) fn passed(&mut self, name: &str, frame: &Frame, reason: Reason) -> &mut Case {
        self.add(name, frame, Outcome::Pass, reason)
    }

    fn add(&mut self, name: &str, frame: &Frame, outcome: Outcome, reason: Reason) -> &mut Case {
        self.cases.push(Case {
            name: name.to_owned(),
            frame: frame.build(),
            times: 1,
            full_limiter: false,
            from_listed: false,
            outcome,
            reason,
        });
        self.cases.last_mut().expect("just pushed")
    }
}

/// Returns the table of a setting.
pub(crate) fn cases(setting: Setting) -> Vec<Case> {
    let mut table = Table { setting, cases: Vec::new() };
    listed(&mut table);
    clean(&mut table);
    bad_form(&mut table);
    limits(&mut table);
    crate::rules::rules(&mut table);
    table.cases
}

fn listed(table: &mut Table) {
    for (name, frame) in shapes_v4(LISTED4).into_iter().chain(shapes_v6(LISTED6)) {
        table.dropped(&format!("listed {name}"), &frame, Reason::Feed, false).from_listed = true;
    }
    let sources: [(&str, [u8; 4]); 6] = [
        ("first of /24", [198, 51, 100, 0]),
        ("last of /24", [198, 51, 100, 255]),
        ("host", [203, 0, 113, 9]),
        ("first of /25", [203, 0, 113, 128]),
        ("first of /10", [100, 64, 0, 0]),
        ("last of /10", [100, 127, 255, 255]),
    ];
    for (name, source) in sources {
        let frame = v4(source.into()).udp(1, 53);
        table.dropped(&format!("listed, {name}"), &frame, Reason::Feed, false).from_listed = true;
    }
    let mapped = v6(LISTED4.to_ipv6_mapped()).udp(1, 53);
    table.dropped("listed, v4-mapped", &mapped, Reason::Feed, false).from_listed = true;
    table.dropped("listed for trial", &v4([203, 0, 113, 50].into()).udp(1, 53), Reason::Feed, true);
    table.passed("listed to be watched", &v4([203, 0, 113, 60].into()).udp(1, 53), Reason::Observe);
    table
        .dropped("listed twice", &v4([198, 51, 100, 1].into()).udp(1, 53), Reason::Feed, false)
        .from_listed = true;
}

fn clean(table: &mut Table) {
    for (name, frame) in shapes_v4(CLEAN4).into_iter().chain(shapes_v6(CLEAN6)) {
        table.passed(&format!("clean {name}"), &frame, Reason::Clean);
    }
    let neighbours: [[u8; 4]; 6] = [
        [198, 51, 99, 255],
        [198, 51, 101, 0],
        [203, 0, 113, 8],
        [203, 0, 113, 127],
        [100, 63, 255, 255],
        [100, 128, 0, 0],
    ];
    for source in neighbours {
        table.passed(&format!("beside a list {source:?}"), &v4(source.into()).udp(1, 53), Reason::Clean);
    }
    table.passed("allowed around listed", &v4([10, 1, 2, 3].into()).udp(1, 53), Reason::Allow);
    table.passed("allowed inside listed", &v4([198, 51, 100, 77].into()).udp(1, 53), Reason::Allow);
    let inside = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 1, 0, 0, 0, 9);
    table.passed("allowed inside listed6", &v6(inside).udp(1, 53), Reason::Allow);
    table.passed("allowed and malformed", &v4([10, 1, 2, 3].into()).udp(1, 53).ihl(4), Reason::Allow);
    table.passed("allowed over a limit", &v4([10, 1, 2, 3].into()).udp(1, 443), Reason::Allow).times = 9;
    table.passed("arp", &Frame::new().ethertype(0x0806).payload(&[0; 28]), Reason::NotIp);
    table.passed("lldp", &Frame::new().ethertype(0x88cc).payload(&[0; 46]), Reason::NotIp);
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    for kind in 133..=137 {
        let frame = Frame::new().ipv6(link_local, TO6).hop_limit(255).icmpv6(kind, 0).payload(&[0; 20]);
        table.passed(&format!("neighbour discovery {kind}"), &frame, Reason::Neighbour);
    }
    let unspecified = Frame::new().ipv6(Ipv6Addr::UNSPECIFIED, TO6).hop_limit(255).icmpv6(135, 0);
    table.passed("address detection", &unspecified.payload(&[0; 20]), Reason::Neighbour);
    // fe80::/16 is listed; only discovery is spared.
    let routed = Frame::new().ipv6(link_local, TO6).hop_limit(254).icmpv6(135, 0).payload(&[0; 20]);
    table.dropped("discovery from afar", &routed, Reason::Feed, false).from_listed = true;
    let echo = Frame::new().ipv6(link_local, TO6).hop_limit(255).icmpv6(128, 0);
    table.dropped("link-local echo", &echo, Reason::Feed, false).from_listed = true;
}

fn bad_form(table: &mut Table) {
    let counted = table.setting == Setting::Lenient;
    for (name, frame, reason) in malformed(CLEAN4, CLEAN6).into_iter().chain(unreadable()) {
        table.dropped(name, &frame, reason, counted);
    }
    for (name, frame, _) in malformed(LISTED4, LISTED6) {
        table.dropped(&format!("listed, {name}"), &frame, Reason::Feed, false).from_listed = true;
    }
}

fn limits(table: &mut Table) {
    let https = v4(CLEAN4).udp(1, 443);
    table.passed("at the limit", &https, Reason::Clean).times = 3;
    table.dropped("over the limit", &https, Reason::Limit, false).times = 4;
    table.dropped("over the limit by far", &https, Reason::Limit, false).times = 50;
    table.dropped("over the limit, tcp", &v4(CLEAN4).tcp(1, 443), Reason::Limit, false).times = 4;
    table.dropped("over the limit, ipv6", &v6(CLEAN6).tcp(1, 443), Reason::Limit, false).times = 4;
    table.dropped("over the limit, vlan", &https.clone().vlan(tpid::VLAN, 7), Reason::Limit, false).times = 4;
    table.passed("no service, no limit", &v4(CLEAN4).udp(1, 444), Reason::Clean).times = 50;
    table.passed("from a service's port", &v4(CLEAN4).udp(443, 5000), Reason::Clean).times = 50;
    table
        .passed("watched, over the limit", &v4([203, 0, 113, 60].into()).udp(1, 443), Reason::Observe)
        .times = 3;
    let watched = v4([203, 0, 113, 60].into()).udp(1, 443);
    table.dropped("watched, over the limit", &watched, Reason::Limit, false).times = 4;
    let opening = v4(CLEAN4).tcp(1, 8005).syn();
    table.passed("opening within the limit", &opening, Reason::Clean).times = 2;
    table.dropped("opening too often", &opening, Reason::Limit, true).times = 3;
    table.passed("established", &v4(CLEAN4).tcp(1, 8005), Reason::Clean).times = 50;
    let later = v4(CLEAN4).protocol(17).fragment(9, false).payload(&[0x01, 0xbb, 0x01, 0xbb, 0, 0, 0, 0]);
    table.passed("a later fragment has no port", &later, Reason::Clean).times = 5;
    let valve = table.passed("admitted by the valve", &https, Reason::Clean);
    (valve.times, valve.full_limiter) = (3, true);
    let valve = table.dropped("refused by the valve", &https, Reason::Valve, false);
    (valve.times, valve.full_limiter) = (4, true);
}
