//! Frames and policies, and how the stages judge them. The kernel program runs the same code.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod frames;
mod host;
mod limits;
mod rules;

use std::collections::HashSet;

use frames::{NS_TO_ALL, arp, cut, echo, fragment, neighbour, tags, tcp, tcp_patched, tunnel, udp, v6_chain};
use host::{ALLOW, BALANCER, FEED, FEED_SHADOW, Host, OBSERVE};
use weir_common::{
    class::{ClassId, NONE},
    control::Malformed,
    counter::{
        Answer,
        Outcome::{self, Drop, Pass, WouldDrop},
    },
    limit::Dimension,
    verdict::{Reason, Verdict},
};
use weir_ebpf::Case;

const SYN: u8 = 2;
const ACK: u8 = 16;

/// A frame and its judgement. Those that follow each other in a list meet the same host.
struct Want {
    frame: Vec<u8>,
    outcome: Outcome,
    reason: Reason,
    class: ClassId,
    class_outcome: Outcome,
    limit: u8,
    answer: Answer,
}

/// A judgement in which no limit takes part and the class does as is done.
fn want(frame: Vec<u8>, outcome: Outcome, reason: Reason, class: ClassId) -> Want {
    let class_outcome = if class == NONE { Pass } else { outcome };
    Want { frame, outcome, reason, class, class_outcome, limit: 0, answer: Answer::Within }
}

/// A judgement by `limit`, of a source that may be listed as `class` but passes for that.
fn limited(frame: Vec<u8>, outcome: Outcome, reason: Reason, class: ClassId, limit: u8) -> Want {
    let answer = if outcome == Pass { Answer::Within } else { Answer::over(outcome) };
    Want { limit, answer, class_outcome: Pass, ..want(frame, outcome, reason, class) }
}

/// Has `host` judge all frames, and returns the reasons.
fn judge(name: &str, host: &Host, wants: Vec<Want>) -> HashSet<Reason> {
    let check = |(i, want): (usize, Want)| {
        let case = host.judge(&want.frame);
        let Case { outcome, reason, class, class_outcome, limit, answer, .. } = case;
        assert_eq!(
            (outcome, reason, class, class_outcome, limit, answer),
            (want.outcome, want.reason, want.class, want.class_outcome, want.limit, want.answer),
            "{name}, frame {i}: {case:?}"
        );
        assert_eq!(case.verdict() == Verdict::Drop, outcome == Drop, "{name}, frame {i}");
        reason
    };
    wants.into_iter().enumerate().map(check).collect()
}

/// Every rule, and at the end every reason.
#[test]
fn frames_are_judged_by_policy() {
    let mut reasons = HashSet::new();
    for (name, host, wants) in [
        without_policy(),
        never_judged(),
        lists(),
        shadow_policy(),
        malformed(),
        malformed_shadow(),
        generations(),
        tunnels(),
    ]
    .into_iter()
    .chain(limits::limits())
    .chain(rules::rules())
    {
        reasons.extend(judge(name, &host, wants));
    }
    for reason in Reason::ALL {
        assert!(reasons.contains(&reason), "no frame ends with {reason:?}");
    }
}

type Group = (&'static str, Host, Vec<Want>);

fn without_policy() -> Group {
    let frames = vec![
        want(tcp("198.51.100.7", 443, SYN), Pass, Reason::Clean, NONE),
        want(tcp("2001:db8::7", 443, SYN), Pass, Reason::Clean, NONE),
        want(arp(), Pass, Reason::NotIp, NONE),
    ];
    ("empty maps", Host::empty(), frames)
}

fn never_judged() -> Group {
    let host = Host::new().list("fe80::/10", FEED).list("::/127", FEED).list("2001:db8::/32", FEED);
    let frames = vec![
        want(arp(), Pass, Reason::NotIp, NONE),
        want(neighbour("fe80::7", 133, 255), Pass, Reason::Neighbour, NONE),
        want(neighbour("fe80::7", 135, 255), Pass, Reason::Neighbour, NONE),
        want(neighbour("febf::7", 136, 255), Pass, Reason::Neighbour, NONE),
        want(neighbour("fe80::7", 137, 255), Pass, Reason::Neighbour, NONE),
        // Duplicate address detection: from nobody.
        want(neighbour("::", 135, 255), Pass, Reason::Neighbour, NONE),
        // Through a router, not of these types, from further away, or broken: judged.
        want(neighbour("fe80::7", 135, 254), Drop, Reason::Feed, FEED),
        want(neighbour("fe80::7", 132, 255), Drop, Reason::Feed, FEED),
        want(neighbour("fe80::7", 138, 255), Drop, Reason::Feed, FEED),
        want(neighbour("2001:db8::7", 135, 255), Pass, Reason::Neighbour, NONE),
        want(echo("fe80::7"), Drop, Reason::Feed, FEED),
        want(cut(neighbour("fe80::7", 135, 255), NS_TO_ALL - 1), Drop, Reason::Feed, FEED),
        want(tcp("fe80::7", 443, SYN), Drop, Reason::Feed, FEED),
    ];
    ("never judged", host, frames)
}

/// As policies are compiled: what an allow entry covers is in no narrower list.
fn lists() -> Group {
    let host = Host::new()
        .list("10.1.0.0/16", FEED)
        .list("10.1.2.3/32", ALLOW)
        .list("10.2.0.0/16", ALLOW)
        .list("10.3.0.0/16", FEED_SHADOW)
        .list("10.4.0.0/16", OBSERVE)
        .list("10.5.0.0/16", FEED)
        .hole("10.5.5.0/24")
        .list("2001:db8:1::/48", FEED)
        .list("2001:db8:1:2::/64", ALLOW)
        .list("2001:db8:2::7/128", FEED_SHADOW);
    let mapped = "::ffff:10.1.0.9";
    let frames = vec![
        want(tcp("10.1.0.9", 443, SYN), Drop, Reason::Feed, FEED),
        want(udp("10.1.255.255", 53), Drop, Reason::Feed, FEED),
        want(echo("10.1.0.9"), Drop, Reason::Feed, FEED),
        want(tags(2, tcp("10.1.0.9", 22, ACK)), Drop, Reason::Feed, FEED),
        want(fragment("10.1.0.9", 80, true), Drop, Reason::Feed, FEED),
        want(tcp(mapped, 443, SYN), Drop, Reason::Feed, FEED),
        want(tcp("10.1.2.3", 443, SYN), Pass, Reason::Allow, ALLOW),
        want(tcp("10.1.2.4", 443, SYN), Drop, Reason::Feed, FEED),
        want(tcp("10.2.2.3", 443, SYN), Pass, Reason::Allow, ALLOW),
        want(tcp("10.3.0.1", 443, SYN), WouldDrop, Reason::Feed, FEED_SHADOW),
        want(tcp("10.4.0.1", 443, SYN), Pass, Reason::Observe, OBSERVE),
        want(tcp("10.5.4.1", 443, SYN), Drop, Reason::Feed, FEED),
        want(tcp("10.5.5.1", 443, SYN), Pass, Reason::Clean, NONE),
        want(tcp("10.6.0.1", 443, SYN), Pass, Reason::Clean, NONE),
        want(tcp("2001:db8:1::1", 443, SYN), Drop, Reason::Feed, FEED),
        want(v6_chain("2001:db8:1::1", 8), Drop, Reason::Feed, FEED),
        want(tcp("2001:db8:1:2::1", 443, SYN), Pass, Reason::Allow, ALLOW),
        want(tcp("2001:db8:2::7", 443, SYN), WouldDrop, Reason::Feed, FEED_SHADOW),
        want(tcp("2001:db8:2::8", 443, SYN), Pass, Reason::Clean, NONE),
    ];
    ("lists", host, frames)
}

fn shadow_policy() -> Group {
    let host = Host::new()
        .shadow()
        .list("10.1.0.0/16", FEED)
        .list("10.2.0.0/16", ALLOW)
        .limit(1, Dimension::Packets, 1, false)
        .service(80, &[1]);
    let frames = vec![
        want(tcp("10.1.0.9", 443, SYN), WouldDrop, Reason::Feed, FEED),
        want(tcp("10.2.0.9", 443, SYN), Pass, Reason::Allow, ALLOW),
        want(cut(tcp("10.6.0.1", 443, SYN), 40), WouldDrop, Reason::TotalLength, NONE),
        // The first note stays: the list, though the frame is malformed as well.
        want(cut(tcp("10.1.0.9", 443, SYN), 40), WouldDrop, Reason::Feed, FEED),
        limited(tcp("10.6.0.1", 80, SYN), Pass, Reason::Clean, NONE, 1),
        limited(tcp("10.6.0.1", 80, SYN), WouldDrop, Reason::Limit, NONE, 1),
    ];
    ("shadow policy", host, frames)
}

/// A frame for each defect, from `source`.
fn defects(source: &str) -> Vec<(Vec<u8>, Reason)> {
    vec![
        (tcp_patched(source, 0, 0x44), Reason::HeaderLength),
        (cut(tcp(source, 443, SYN), 53), Reason::TotalLength),
        (tcp_patched(source, 3, 39), Reason::Truncated),
        (tcp_patched(source, 6, 0x20), Reason::TinyFragment),
    ]
}

fn malformed() -> Group {
    let host =
        Host::new().list("10.1.0.0/16", FEED).list("10.2.0.0/16", ALLOW).list("10.3.0.0/16", FEED_SHADOW);
    let mut frames = vec![
        want(vec![0xff; 9], Drop, Reason::Truncated, NONE),
        want(tags(3, tcp("10.6.0.1", 443, SYN)), Drop, Reason::VlanDepth, NONE),
        want(v6_chain("2001:db8::7", 9), Drop, Reason::ExtensionChain, NONE),
        want(v6_chain("2001:db8::7", 8), Pass, Reason::Clean, NONE),
        // Nothing is known of the source: no list can allow it.
        want(tags(3, tcp("10.2.0.1", 443, SYN)), Drop, Reason::VlanDepth, NONE),
    ];
    for (frame, reason) in defects("10.6.0.1") {
        frames.push(want(frame, Drop, reason, NONE));
    }
    for (frame, _) in defects("10.1.0.1") {
        frames.push(want(frame, Drop, Reason::Feed, FEED));
    }
    for (frame, _) in defects("10.2.0.1") {
        frames.push(want(frame, Pass, Reason::Allow, ALLOW));
    }
    for (frame, reason) in defects("10.3.0.1") {
        frames.push(Want { class_outcome: WouldDrop, ..want(frame, Drop, reason, FEED_SHADOW) });
    }
    ("malformed", host, frames)
}

fn malformed_shadow() -> Group {
    let host =
        Host::new().malformed(Malformed::Shadow).list("10.1.0.0/16", FEED).list("10.3.0.0/16", FEED_SHADOW);
    let mut frames = vec![
        want(vec![0xff; 9], WouldDrop, Reason::Truncated, NONE),
        want(tags(3, tcp("10.6.0.1", 443, SYN)), WouldDrop, Reason::VlanDepth, NONE),
        want(v6_chain("2001:db8::7", 9), WouldDrop, Reason::ExtensionChain, NONE),
    ];
    for (frame, reason) in defects("10.6.0.1") {
        frames.push(want(frame, WouldDrop, reason, NONE));
    }
    for (frame, _) in defects("10.1.0.1") {
        frames.push(want(frame, Drop, Reason::Feed, FEED));
    }
    for (frame, _) in defects("10.3.0.1") {
        frames.push(want(frame, WouldDrop, Reason::Feed, FEED_SHADOW));
    }
    ("malformed, shadow", host, frames)
}

/// The other generation holds the opposite of everything.
fn generations() -> Group {
    let host = Host::new()
        .list("10.1.0.0/16", FEED)
        .limit(1, Dimension::Packets, 1, false)
        .service(80, &[1])
        .next_generation()
        .list("10.2.0.0/16", FEED);
    let frames = vec![
        want(tcp("10.1.0.1", 80, SYN), Pass, Reason::Clean, NONE),
        want(tcp("10.2.0.1", 80, SYN), Drop, Reason::Feed, FEED),
        want(tcp("10.3.0.1", 80, SYN), Pass, Reason::Clean, NONE),
        want(tcp("10.3.0.1", 80, SYN), Pass, Reason::Clean, NONE),
    ];
    ("generations", host, frames)
}

/// The class and the limit of what is inside count, and nothing of the balancer.
fn tunnels() -> Group {
    const HERE: &str = "10.9.0.1";
    let host = Host::new()
        .list("10.1.0.0/16", FEED)
        .list("10.3.0.0/16", FEED_SHADOW)
        .list("10.4.0.0/16", OBSERVE)
        .list("10.9.0.1/32", BALANCER)
        .list("2001:db8:1::/48", FEED)
        .limit(1, Dimension::Packets, 1, false)
        .service(80, &[1]);
    let inside = |source, port| tunnel(HERE, &tcp(source, port, SYN));
    let frames = vec![
        want(inside("10.1.0.9", 443), Drop, Reason::Feed, FEED),
        want(inside("2001:db8:1::9", 443), Drop, Reason::Feed, FEED),
        want(inside("10.3.0.9", 443), WouldDrop, Reason::Feed, FEED_SHADOW),
        want(inside("10.4.0.9", 443), Pass, Reason::Observe, OBSERVE),
        want(inside("10.6.0.9", 443), Pass, Reason::Clean, NONE),
        limited(inside("10.6.0.9", 80), Pass, Reason::Clean, NONE, 1),
        limited(inside("10.6.0.9", 80), Drop, Reason::Limit, NONE, 1),
        limited(inside("10.6.0.8", 80), Pass, Reason::Clean, NONE, 1),
        want(tcp(HERE, 80, SYN), Pass, Reason::Allow, BALANCER),
        want(tcp(HERE, 80, SYN), Pass, Reason::Allow, BALANCER),
        want(tunnel("10.6.0.9", &tcp("10.1.0.9", 443, SYN)), Pass, Reason::Clean, NONE),
        want(tunnel(HERE, &tunnel("10.1.0.9", &tcp("10.6.0.9", 443, SYN))), Drop, Reason::Feed, FEED),
        want(tunnel(HERE, &tcp_patched("10.6.0.9", 0, 0x44)), Drop, Reason::HeaderLength, NONE),
    ];
    ("tunnels", host, frames)
}
