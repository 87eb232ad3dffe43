//! Bans, manual rules and management ports; soft bands, shared buckets and control packets.

use weir_common::{
    class::NONE,
    counter::{
        Answer,
        Outcome::{Drop, Pass, WouldDrop},
    },
    limit::{Dimension, Scope},
    overlay::Sentence,
    verdict::Reason,
};

use crate::{
    ACK, Group, SYN, Want,
    frames::{echo, fragment, tcp, udp},
    host::{ALLOW, FEED, Host},
    limited, want,
};

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const FAR: &str = "10.9.0.1";

pub(crate) fn rules() -> Vec<Group> {
    vec![bans(), management(), soft_band(), one_bucket_for_all(), one_bucket_a_network(), control()]
}

fn bans() -> Group {
    let host = Host::new()
        .list("10.0.0.2/32", FEED)
        .list("10.0.0.3/32", ALLOW)
        .rule(A, Sentence::Drop, false)
        .rule("10.0.0.3", Sentence::Drop, false)
        .rule("10.0.0.4", Sentence::Drop, true)
        .rule(B, Sentence::Allow, false)
        .rule("2001:db8::1", Sentence::Drop, false);
    let web = |source| tcp(source, 80, ACK);
    let banned = |source| want(web(source), Drop, Reason::Ban, NONE);
    let spared = Want { class_outcome: Pass, ..want(web(B), Pass, Reason::Allow, FEED) };
    let frames = vec![
        banned(A),
        banned("2001:db8::1"),
        want(web("2001:db8:0:1::1"), Pass, Reason::Clean, NONE),
        want(web("10.0.0.3"), Pass, Reason::Allow, ALLOW),
        want(web("10.0.0.4"), WouldDrop, Reason::Ban, NONE),
        spared,
    ];
    ("bans", host, frames)
}

fn management() -> Group {
    let host = Host::new().list("10.0.0.2/32", FEED).rule(A, Sentence::Drop, false).management(22);
    let spared = |source, class| Want {
        class_outcome: Pass,
        ..want(tcp(source, 22, SYN), Pass, Reason::Management, class)
    };
    let frames = vec![
        spared(A, NONE),
        spared(B, FEED),
        want(tcp(A, 23, SYN), Drop, Reason::Ban, NONE),
        want(udp(A, 22), Drop, Reason::Ban, NONE),
        want(tcp(FAR, 22, SYN), Pass, Reason::Clean, NONE),
    ];
    ("management ports", host, frames)
}

/// Of a burst of four, the last two are in the soft band.
fn soft_band() -> Group {
    let host = Host::new().soft_limit(1, 4, 128).service(80, &[1]);
    let says =
        |outcome, reason, answer| Want { answer, ..limited(tcp(A, 80, ACK), outcome, reason, NONE, 1) };
    let frames = vec![
        says(Pass, Reason::Clean, Answer::Within),
        says(Pass, Reason::Clean, Answer::Within),
        says(Pass, Reason::Clean, Answer::Near),
        says(Pass, Reason::Clean, Answer::Near),
        says(Drop, Reason::Limit, Answer::Drop),
    ];
    ("a soft band", host, frames)
}

fn web(source: &str) -> Vec<u8> {
    tcp(source, 80, ACK)
}

fn passes(frame: Vec<u8>) -> Want {
    limited(frame, Pass, Reason::Clean, NONE, 1)
}

fn drops(frame: Vec<u8>) -> Want {
    limited(frame, Drop, Reason::Limit, NONE, 1)
}

fn one_bucket_for_all() -> Group {
    let host = Host::new().limit_for(1, Dimension::Packets, 3, Scope::ALL).service(80, &[1]);
    let frames = vec![passes(web(A)), passes(web("2001:db8::1")), passes(web(FAR)), drops(web(B))];
    ("one bucket for all", host, frames)
}

fn one_bucket_a_network() -> Group {
    let scope = Scope { v4_bits: 24, v6_bits: 48 };
    let host = Host::new().limit_for(1, Dimension::Packets, 2, scope).service(80, &[1]);
    let frames = vec![
        passes(web(A)),
        passes(web(B)),
        drops(web("10.0.0.255")),
        passes(web("10.0.1.0")),
        passes(web("2001:db8:0:1::1")),
        passes(web("2001:db8:0:2::1")),
        drops(web("2001:db8:0:3::1")),
        passes(web("2001:db8:1:3::1")),
    ];
    ("one bucket a network", host, frames)
}

fn control() -> Group {
    let host = Host::new()
        .limit(1, Dimension::Control, 2, false)
        .limit(2, Dimension::Packets, 100, false)
        .on_control(&[1])
        .service(80, &[2]);
    let clean = |frame| want(frame, Pass, Reason::Clean, NONE);
    let segment = || limited(tcp(A, 80, ACK), Pass, Reason::Clean, NONE, 2);
    let frames = vec![
        passes(echo(A)),
        passes(tcp(A, 80, SYN)),
        drops(fragment(A, 80, false)),
        drops(echo(A)),
        drops(tcp(A, 80, SYN)),
        // What is no control packet, and what is for no declared service.
        segment(),
        clean(tcp(A, 22, SYN)),
        clean(udp(A, 53)),
        passes(fragment(B, 80, true)),
    ];
    ("control packets", host, frames)
}
