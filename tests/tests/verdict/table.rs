//! The table: frames, who sent them, and what they must get. Settings share the lists; what differs
//! is how they are enforced.

/// Every shape in which an IP packet comes.
mod shapes;
/// What lists say, and what is none of theirs.
mod lists;
/// Frames that no honest sender makes.
mod form;
/// Frames that are cut off.
mod cuts;
/// Limits on services.
mod limits;
/// Bans, manual rules, profiles, and what must not be cut off.
pub(crate) mod rules;
/// Packets inside of packets.
mod tunnels;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_common::verdict::Reason;
use weir_tests::frame::Frame;

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
    /// It is an honest sender's, who is on no list.
    pub(crate) from_clean: bool,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
}

impl Case {
    /// A packet that comes once is not over any limit, whatever came before; no source of the table
    /// sends that many.
    pub(crate) fn needs_clean_limiter(&self) -> bool {
        self.times > 1 || self.full_limiter
    }
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
    /// They are, and control packets have a budget. Apart, since it is for all that a source sends.
    Control,
}

impl Setting {
    pub(crate) const ALL: [Self; 4] = [Self::Enforce, Self::Shadow, Self::Lenient, Self::Control];

    pub(crate) fn config(self) -> String {
        let (enforce, malformed) = match self {
            Self::Enforce | Self::Control => ("enforce", "drop"),
            Self::Shadow => ("shadow", "drop"),
            Self::Lenient => ("enforce", "shadow"),
        };
        let control = match self {
            Self::Control => "  - {name: control, control: {rate: 1/s, burst: 5}}\n",
            Self::Enforce | Self::Shadow | Self::Lenient => "",
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
balancers: [{BALANCER4}, '{BALANCER6}', 198.51.100.66]
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
      suspicious: {{rate: 1/s, burst: 2}}
  - {{name: networks, service: networks, packets: {{rate: 1/s, burst: 8}}, ipv4_prefix: 24, ipv6_prefix: 48}}
  - {{name: whole, service: whole, per: service, packets: {{rate: 1/s, burst: 20}}, soft: 50%}}
  - {{name: opens, service: api, connections: {{rate: 1/s, burst: 2}}, enforce: shadow}}
{control}"
        )
    }

    pub(crate) fn list(feed: &str) -> &'static str {
        match feed {
            "bad" => {
                "198.51.100.0/24\n203.0.113.9\n10.1.2.3\n100.64.0.0/10\n203.0.113.128/25\n\
                 2001:db8:bad::/48\n2001:db8:1::1\nfe80::/16\n::198.51.100.9\n"
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
const LISTED4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const LISTED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 7);
const CLEAN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLEAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const ALLOWED4: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
const ALLOWED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 1, 0, 0, 0, 9);
const WATCHED4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 60);
const ON_TRIAL4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);
const BALANCER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
const BALANCER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xba1, 0, 0, 0, 0, 1);
/// A balancer that a list names as well.
const LISTED_BALANCER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// A port of a service with a limit of three packets.
const HTTPS: u16 = 443;
/// A port of no service.
const SSH: u16 = 22;

fn v4(source: Ipv4Addr) -> Frame {
    Frame::new().ipv4(source, TO4)
}

fn v6(source: Ipv6Addr) -> Frame {
    Frame::new().ipv6(source, TO6)
}

fn ip(source: IpAddr) -> Frame {
    match source {
        IpAddr::V4(source) => v4(source),
        IpAddr::V6(source) => v6(source),
    }
}

struct Table {
    setting: Setting,
    cases: Vec<Case>,
}

impl Table {
    /// Adds a frame that a rule drops if it is enforced.
    fn dropped(&mut self, name: &str, frame: &Frame, reason: Reason, shadow: bool) -> &mut Case {
        let outcome =
            if shadow || self.setting == Setting::Shadow { Outcome::WouldDrop } else { Outcome::Drop };
        self.add(name, frame.build(), outcome, reason)
    }

    /// Adds a frame from a listed source.
    fn listed(&mut self, name: &str, frame: &Frame) -> &mut Case {
        let case = self.dropped(name, frame, Reason::Feed, false);
        case.from_listed = true;
        case
    }

    /// Adds a malformed frame from a source in no list.
    fn malformed(&mut self, name: &str, frame: &Frame, reason: Reason) -> &mut Case {
        self.dropped(name, frame, reason, self.setting == Setting::Lenient)
    }

    /// Adds a frame that nothing speaks against.
    fn clean(&mut self, name: &str, frame: &Frame) -> &mut Case {
        let case = self.passed(name, frame, Reason::Clean);
        case.from_clean = true;
        case
    }

    fn passed(&mut self, name: &str, frame: &Frame, reason: Reason) -> &mut Case {
        self.add(name, frame.build(), Outcome::Pass, reason)
    }

    fn add(&mut self, name: &str, frame: Vec<u8>, outcome: Outcome, reason: Reason) -> &mut Case {
        self.cases.push(Case {
            name: name.to_owned(),
            frame,
            times: 1,
            full_limiter: false,
            from_listed: false,
            from_clean: false,
            outcome,
            reason,
        });
        self.cases.last_mut().expect("just pushed")
    }
}

/// Returns the table of a setting.
pub(crate) fn cases(setting: Setting) -> Vec<Case> {
    let mut table = Table { setting, cases: Vec::new() };
    if setting == Setting::Control {
        rules::control(&mut table);
        return table.cases;
    }
    shapes::add(&mut table);
    lists::add(&mut table);
    form::add(&mut table);
    cuts::add(&mut table);
    limits::add(&mut table);
    tunnels::add(&mut table);
    rules::add(&mut table);
    table.cases
}
