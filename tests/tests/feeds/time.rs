use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use weir_tests::{
    agent::Agent,
    machine,
    namespace::Pair,
    web::{Answer, Server},
};

use super::stand::{CLEAN, LISTED, OTHER, PACKETS, deliver, entries, expired, said, started, value, wait};

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

fn feed(server: &Server, ttl: &str) -> String {
    let url = server.url("/list");
    format!(
        "{{name: list, url: '{url}', action: drop, interval: 1s, ttl: {ttl}, http: {{insecure: true, private: true}}}}"
    )
}

fn served(pair: &Pair) -> Server {
    let server = Server::start(Some(&pair.server)).unwrap();
    server.list("/list", format!("{LISTED}\n"));
    server
}

fn wait_for_list(agent: &Agent) {
    wait(agent, "the list", |agent| entries(agent, "list") == 1);
}

#[test]
fn a_list_that_nobody_confirms_lapses_until_somebody_does() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let mut agent = started(&pair, &[&feed(&server, "4s")]);
    wait_for_list(&agent);
    // That it is the same confirms it.
    thread::sleep(Duration::from_secs(6));
    assert!(server.count("/list", 304) > 2 && server.count("/list", 200) == 1);
    assert!(entries(&agent, "list") == 1 && !expired(&agent, "list"), "{}", agent.log());
    assert_eq!(deliver(&pair, &[LISTED, CLEAN]), [0, PACKETS]);

    server.answer("/list", Answer::status(500));
    wait(&agent, "it lapses", |agent| expired(agent, "list"));
    wait(&agent, "nothing of it is in force", |agent| entries(agent, "list") == 0);
    assert_eq!(deliver(&pair, &[LISTED, CLEAN]), [PACKETS; 2]);
    assert!(agent.log().contains("not confirmed within its ttl"), "{}", agent.log());
    let told = said(&agent, &["explain", &LISTED.to_string()]);
    // Below that is also what has been seen of it before.
    let verdict = told.lines().next().unwrap_or_default();
    assert!(verdict.contains("in no list") && !verdict.contains("drop"), "{told}");

    // Asked for whole: nothing is left that could be the same.
    server.list("/list", format!("{LISTED}\n"));
    wait_for_list(&agent);
    assert!(!expired(&agent, "list"));
    assert_eq!(server.count("/list", 200), 2);
    assert_eq!(deliver(&pair, &[LISTED, CLEAN]), [0, PACKETS]);

    // Time passes without an agent as well.
    server.answer("/list", Answer::status(500));
    assert!(agent.stop().unwrap().success());
    thread::sleep(Duration::from_secs(5));
    assert_eq!(deliver(&pair, &[LISTED, CLEAN]), [0, PACKETS], "the kernel knows of no ttl");
    agent.start().unwrap();
    assert!(expired(&agent, "list") && entries(&agent, "list") == 0, "{}", agent.log());
    assert_eq!(deliver(&pair, &[LISTED, CLEAN]), [PACKETS; 2]);
    server.list("/list", format!("{LISTED}\n"));
    wait_for_list(&agent);
    assert_eq!(deliver(&pair, &[LISTED, CLEAN]), [0, PACKETS]);
}

/// The clock has been set between two agents: a list was confirmed in years to come, or years ago.
#[test]
fn a_start_at_another_time() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let mut agent = started(&pair, &[&feed(&server, "1h")]);
    let path = agent.directory().join("state/feeds/list.list");
    wait(&agent, "it is kept", |_| path.exists());
    for (years, in_force) in [(10, true), (-10, false)] {
        assert!(agent.stop().unwrap().success());
        confirmed_later(&path, years * YEAR);
        server.answer("/list", Answer::status(500));
        agent.start().unwrap();
        assert_eq!((entries(&agent, "list") == 1, expired(&agent, "list")), (in_force, !in_force), "{years}");
        let last = value(&agent, "weir_feed_last_success_timestamp_seconds", &[("feed", "list")]);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(last as u64 <= now, "{last} is after {now}");
        assert_eq!(deliver(&pair, &[LISTED]), [if in_force { 0 } else { PACKETS }], "{years}");
        server.list("/list", format!("{LISTED}\n"));
        wait_for_list(&agent);
        // Which is on disk before it is told.
        wait(&agent, "it is confirmed", |agent| {
            let reads =
                |result| value(agent, "weir_feed_reads_total", &[("feed", "list"), ("result", result)]);
            reads("ok") + reads("unchanged") > 0
        });
        assert!(!expired(&agent, "list"));
        assert_eq!(deliver(&pair, &[LISTED]), [0]);
    }
}

/// Moves the time of a list on disk: the head says when it was confirmed, and has a sum of itself.
fn confirmed_later(path: &Path, seconds: i64) {
    let mut bytes = fs::read(path).unwrap();
    let then = u64::from_le_bytes(bytes[12..20].try_into().unwrap()).saturating_add_signed(seconds);
    bytes[12..20].copy_from_slice(&then.to_le_bytes());
    let sum = crc32(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

/// The wall clock is set while the agent runs. Each network namespace has the machine's.
#[test]
fn whoever_sets_the_clock_ends_nothing() {
    if !machine::is_own() {
        machine::missing("time::whoever_sets_the_clock_ends_nothing");
        return;
    }
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "secret").unwrap();
    let decision = |id, address, duration| {
        format!(
            r#"{{"id":{id},"origin":"x","scope":"Ip","type":"ban","value":"{address}","duration":"{duration}"}}"#
        )
    };
    let short = std::net::Ipv4Addr::new(203, 0, 113, 10);
    let all = [decision(1, OTHER, "4h"), decision(2, short, "90s")].join(",");
    server.handle("/v1/decisions/stream", move |request| {
        let new = if request.path.contains("startup=true") { &*all } else { "" };
        Answer::ok(format!(r#"{{"new":[{new}],"deleted":[]}}"#))
    });
    let crowdsec = format!(
        "{{name: crowd, crowdsec: {{url: '{}', key: {}}}, action: drop, interval: 1s, http: {{insecure: true, private: true}}}}",
        server.url("/"),
        key.path().display()
    );
    let agent = started(&pair, &[&feed(&server, "1h"), &crowdsec]);
    wait(&agent, "all", |agent| entries(agent, "list") == 1 && entries(agent, "crowd") == 2);
    let mut moved = 0;
    for days in [30, -60, 3650, -1] {
        machine::set_clock_forward(days * DAY).unwrap();
        moved += days;
        let asked = server.requests();
        wait(&agent, "both are asked again", |_| server.requests() > asked + 4);
        assert!(!expired(&agent, "list"), "{days}: {}", agent.log());
        assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, PACKETS], "{days}");
    }
    // What lasts for a while does so, and no longer.
    wait(&agent, "the short one ends", |agent| entries(agent, "crowd") == 1);
    assert_eq!(deliver(&pair, &[LISTED, OTHER, short]), [0, 0, PACKETS]);
    machine::set_clock_forward(-moved * DAY).unwrap();
    assert_eq!(deliver(&pair, &[LISTED, OTHER, short]), [0, 0, PACKETS]);
}
