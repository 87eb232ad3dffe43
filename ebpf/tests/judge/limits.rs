//! Limits on services.

use weir_common::{
    class::{ClassId, NONE},
    counter::{
        Answer,
        Outcome::{self, Drop, Pass, WouldDrop},
    },
    limit::Dimension,
    verdict::Reason,
};

use crate::{
    ACK, Group, SYN, Want,
    frames::{echo, fragment, tags, tcp, udp},
    host::{ALLOW, FEED_SHADOW, Host, STRICT},
    limited, want,
};

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const C: &str = "2001:db8::1";

pub(crate) fn limits() -> Vec<Group> {
    vec![
        where_a_limit_stands(),
        on_udp(),
        profiles(),
        behind_a_shadow_list(),
        in_shadow_mode(),
        connections_and_bytes(),
        full_of_debtors(),
    ]
}

fn http(source: &str) -> Vec<u8> {
    tcp(source, 80, ACK)
}

fn passes(frame: Vec<u8>, limit: u8) -> Want {
    limited(frame, Pass, Reason::Clean, NONE, limit)
}

fn drops(frame: Vec<u8>, limit: u8) -> Want {
    limited(frame, Drop, Reason::Limit, NONE, limit)
}

fn unlimited(frame: Vec<u8>) -> Want {
    want(frame, Pass, Reason::Clean, NONE)
}

/// Two packets at once to port 80.
fn two() -> Host {
    Host::new().limit(1, Dimension::Packets, 2, false).service(80, &[1])
}

fn where_a_limit_stands() -> Group {
    let frames = vec![
        passes(http(A), 1),
        passes(http(A), 1),
        drops(http(A), 1),
        // Other ports and protocols on the same host, and other sources.
        unlimited(tcp(A, 22, SYN)),
        unlimited(tcp(A, 443, SYN)),
        unlimited(udp(A, 80)),
        unlimited(echo(A)),
        passes(http(B), 1),
        passes(tags(2, http(B)), 1),
        drops(http(B), 1),
        // The first fragment has the port, the others have not.
        drops(fragment(A, 0, true), 1),
        unlimited(fragment(A, 80, true)),
        unlimited(fragment(A, 80, false)),
        passes(http(C), 1),
        // The neighbour in the /64 shares.
        passes(http("2001:db8::2"), 1),
        drops(http("2001:db8::3"), 1),
        passes(http("2001:db8:0:1::3"), 1),
    ];
    ("a limit", two(), frames)
}

fn on_udp() -> Group {
    let host = two().limit(2, Dimension::Packets, 1, false).udp_service(53, &[2]);
    let frames =
        vec![passes(udp(A, 53), 2), drops(udp(A, 53), 2), passes(http(A), 1), unlimited(tcp(A, 53, SYN))];
    ("a limit on UDP", host, frames)
}

/// The class of the source chooses the profile; an allowed source is asked for none.
fn profiles() -> Group {
    let host = two().list("10.0.0.2/32", STRICT).list("10.0.0.4/32", ALLOW);
    let strict = |outcome: Outcome, reason| limited(http(B), outcome, reason, STRICT, 1);
    let allowed = || want(http("10.0.0.4"), Pass, Reason::Allow, ALLOW);
    let frames = vec![
        strict(Pass, Reason::Observe),
        strict(Drop, Reason::Limit),
        passes(http(A), 1),
        passes(http(A), 1),
        drops(http(A), 1),
        allowed(),
        allowed(),
        allowed(),
    ];
    ("profiles", host, frames)
}

/// A list in shadow mode says what it would do, and the limit does what it does.
fn behind_a_shadow_list() -> Group {
    const SOURCE: &str = "10.0.0.3";
    const LISTED: ClassId = FEED_SHADOW;
    let listed = |outcome, reason, answer| Want {
        limit: 1,
        answer,
        class_outcome: WouldDrop,
        ..want(http(SOURCE), outcome, reason, LISTED)
    };
    let frames = vec![
        listed(WouldDrop, Reason::Feed, Answer::Within),
        listed(WouldDrop, Reason::Feed, Answer::Within),
        listed(Drop, Reason::Limit, Answer::Drop),
    ];
    ("a limit behind a list in shadow mode", two().list("10.0.0.3/32", LISTED), frames)
}

fn in_shadow_mode() -> Group {
    let host = Host::new()
        .limit(1, Dimension::Packets, 1, true)
        .limit(2, Dimension::Packets, 3, false)
        .limit(3, Dimension::Packets, 2, true)
        .service(80, &[1, 2])
        .service(81, &[1, 3])
        .service(82, &[2, 1]);
    let notes = |frame, limit| limited(frame, WouldDrop, Reason::Limit, NONE, limit);
    let frames = vec![
        passes(http(A), 2),
        // The limit that would have dropped it is named, not the next, which lets it pass.
        notes(http(A), 1),
        notes(http(A), 1),
        // Both are over, and one of them drops.
        drops(http(A), 2),
        // Of two that only note the first.
        passes(tcp(B, 81, SYN), 3),
        notes(tcp(B, 81, SYN), 1),
        notes(tcp(B, 81, SYN), 1),
        passes(tcp(C, 82, SYN), 1),
        notes(tcp(C, 82, SYN), 1),
        notes(tcp(C, 82, SYN), 1),
        drops(tcp(C, 82, SYN), 2),
    ];
    ("limits in shadow mode", host, frames)
}

fn connections_and_bytes() -> Group {
    let host = Host::new()
        .limit(1, Dimension::Connections, 1, false)
        .limit(2, Dimension::Bytes, 150, false)
        .service(80, &[1])
        .service(81, &[2]);
    let frames = vec![
        passes(tcp(A, 80, SYN), 1),
        // Only a SYN without ACK opens a connection.
        unlimited(tcp(A, 80, ACK)),
        unlimited(tcp(A, 80, SYN | ACK)),
        drops(tcp(A, 80, SYN), 1),
        // 54 bytes each.
        passes(tcp(A, 81, ACK), 2),
        passes(tcp(A, 81, ACK), 2),
        drops(tcp(A, 81, ACK), 2),
    ];
    ("connections and bytes", host, frames)
}

fn full_of_debtors() -> Group {
    let host = two();
    host.fill_limiter();
    let refused = |source| limited(http(source), Drop, Reason::Valve, NONE, 1);
    let frames = vec![
        passes(http("10.0.0.1"), 1),
        passes(http("10.0.0.2"), 1),
        refused("10.0.0.3"),
        // Another /16, or /32, has its own.
        passes(http("10.1.0.3"), 1),
        passes(http("2001:db8:1::1"), 1),
        passes(http("2001:db8:2::1"), 1),
        refused("2001:db8:3::1"),
        passes(http("2001:db9:3::1"), 1),
    ];
    ("a limiter full of debtors", host, frames)
}
