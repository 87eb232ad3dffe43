//! Bans, manual rules, profiles, control packets, and what must not be cut off.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_common::{
    addr::Address,
    control::Seed,
    limit::SUSPICIOUS,
    line::Memory,
    overlay::{self, FOREVER, Prefix, Rule, Sentence},
    verdict::Reason,
};

use super::{LISTED4, Setting, Table, v4, v6};

const BANNED4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
const BANNED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1);
const BANNED_IN_SHADOW: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 90);
const FORGIVEN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 91);
/// Listed, and allowed by a manual rule.
const PARDONED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// Listed, and banned in shadow mode.
const DOUBTED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 130);
/// In the allowed 10.1.0.0/16.
const TRUSTED: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 4);
/// Held to the suspicious profile by a manual rule.
const THROTTLED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 61);
/// In the list `poor`.
const POOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 60);
const PARTNER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// A partner on the list `bad`.
const LISTED_PARTNER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);
/// From where the host is managed, on the list `bad`.
const OPERATOR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);

/// Puts the rules of the table in force.
pub(crate) fn set(memory: &impl Memory, seed: Seed, now: u64) {
    overlay::clear(memory);
    let drop = Rule { sentence: Sentence::Drop, shadow: false, profile: 0, until: FOREVER };
    for (address, length, rule) in [
        (IpAddr::V4(BANNED4), 32, Rule { until: now + 3_600_000_000, ..drop }),
        (IpAddr::V6(BANNED6), 64, drop),
        (IpAddr::V4(BANNED_IN_SHADOW), 32, Rule { shadow: true, ..drop }),
        (IpAddr::V4(FORGIVEN), 32, Rule { until: now, ..drop }),
        (IpAddr::V4(PARDONED), 32, Rule { sentence: Sentence::Allow, ..drop }),
        (IpAddr::V4(TRUSTED), 32, drop),
        (IpAddr::V4(THROTTLED), 32, Rule { sentence: Sentence::Limit, profile: SUSPICIOUS, ..drop }),
        (IpAddr::V4(DOUBTED), 32, Rule { shadow: true, ..drop }),
    ] {
        let prefix = Prefix { address: Address::from(address), length };
        overlay::insert(memory, seed, prefix, rule, now).expect("there is room");
    }
}

pub(super) fn add(table: &mut Table) {
    bans(table);
    protected(table);
    profiles(table);
    together(table);
}

fn bans(table: &mut Table) {
    table.dropped("banned", &v4(BANNED4).tcp(1, 22), Reason::Ban, false);
    table.dropped("banned, malformed", &v4(BANNED4).tcp(1, 22).ihl(4), Reason::Ban, false);
    table.dropped("banned, later fragment", &v4(BANNED4).protocol(6).fragment(9, true), Reason::Ban, false);
    table.dropped("banned v6", &v6(BANNED6).tcp(1, 22), Reason::Ban, false);
    let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 9, 9, 9, 9);
    table.dropped("banned v6 /64", &v6(neighbour).tcp(1, 22), Reason::Ban, false);
    let beside = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 1);
    table.passed("beside a banned /64", &v6(beside).tcp(1, 22), Reason::Clean);
    table.dropped("banned in shadow", &v4(BANNED_IN_SHADOW).tcp(1, 22), Reason::Ban, true);
    // A ban that only counts does not stand in the way of a list that drops.
    let reason = if table.setting == Setting::Shadow { Reason::Ban } else { Reason::Feed };
    table.dropped("listed, banned in shadow", &v4(DOUBTED).tcp(1, 22), reason, false).from_listed = true;
    table.passed("the ban has ended", &v4(FORGIVEN).tcp(1, 22), Reason::Clean);
    table.passed("a manual rule allows a listed source", &v4(PARDONED).tcp(1, 22), Reason::Allow);
    table.passed("no ban on an allowed source", &v4(TRUSTED).tcp(1, 22), Reason::Allow);
}

fn protected(table: &mut Table) {
    table.passed("listed, to a management port", &v4(LISTED4).tcp(1, 2222), Reason::Management);
    table.passed("banned, to a management port", &v4(BANNED4).tcp(1, 2222), Reason::Management);
    table.passed("clean, to a management port", &v4(PARTNER).tcp(1, 2222), Reason::Observe);
    table.dropped("listed, udp", &v4(BANNED4).udp(1, 2222), Reason::Ban, false);
    table.passed("listed, but the operator", &v4(OPERATOR).tcp(1, 22), Reason::Allow);
    table.passed("the operator over a limit", &v4(OPERATOR).udp(1, 443), Reason::Allow).times = 9;
}

fn profiles(table: &mut Table) {
    table.passed("poor, within its limit", &v4(POOR).udp(1, 443), Reason::Observe).times = 2;
    table.dropped("poor, over its limit", &v4(POOR).udp(1, 443), Reason::Limit, false).times = 3;
    table.passed("partner", &v4(PARTNER).udp(1, 443), Reason::Observe).times = 6;
    table.dropped("partner, over its limit", &v4(PARTNER).udp(1, 443), Reason::Limit, false).times = 7;
    table.passed("partner, listed", &v4(LISTED_PARTNER).tcp(1, 22), Reason::Observe);
    table.passed("throttled by a rule, within", &v4(THROTTLED).udp(1, 443), Reason::Clean).times = 2;
    table.dropped("throttled by a rule", &v4(THROTTLED).udp(1, 443), Reason::Limit, false).times = 3;
}

/// Five at once: SYN to declared services, ICMP and fragments, whatever else they are.
pub(super) fn control(table: &mut Table) {
    let source = Ipv4Addr::new(192, 0, 2, 70);
    table.passed("pings", &v4(source).icmp(8, 0), Reason::Clean).times = 5;
    table.dropped("too many pings", &v4(source).icmp(8, 0), Reason::Limit, false).times = 6;
    let later = v4(source).protocol(17).fragment(9, false).payload(&[0; 8]);
    table.dropped("too many fragments", &later, Reason::Limit, false).times = 6;
    table.dropped("too many SYN", &v4(source).tcp(1, 9000).syn(), Reason::Limit, false).times = 6;
    table.passed("segments after them", &v4(source).tcp(1, 9000), Reason::Clean).times = 50;
    table.passed("SYN to no service", &v4(source).tcp(1, 22).syn(), Reason::Clean).times = 50;
    table.passed("SYN to a management port", &v4(source).tcp(1, 2222).syn(), Reason::Clean).times = 50;
}

/// Sources of one /24 or /48 share a bucket of eight, and the whole service one of twenty.
fn together(table: &mut Table) {
    let one = v4([192, 0, 2, 80].into()).udp(1, 7000);
    table.passed("within the limit of the /24", &one, Reason::Clean).times = 8;
    table.dropped("over the limit of the /24", &one, Reason::Limit, false).times = 9;
    let whole = v4([192, 0, 2, 81].into()).udp(1, 7001);
    table.passed("within the limit of all", &whole, Reason::Clean).times = 20;
    table.dropped("over the limit of all", &whole, Reason::Limit, false).times = 21;
}
