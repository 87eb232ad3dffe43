use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir::datapath::{Pins, memory::Mapped};
use weir_common::control::Global;
use weir_tests::{agent::Agent, namespace::Pair, patience};

use crate::{BANNED, LISTED, has, json, send, started, text, weir};

const PATIENCE_SECONDS: u64 = 30;

/// Returns how many events a CPU may send in a second.
fn budget(pair: &Pair) -> u32 {
    let memory = pair.server.run(|| Ok(Mapped::open(&Pins::new("/sys/fs/bpf".as_ref()))?)).unwrap();
    Global::load(&memory).unwrap().events_per_second
}

fn wait_for_budget(pair: &Pair, wanted: u32) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while budget(pair) != wanted {
        assert!(Instant::now() < deadline, "the budget is {}, not {wanted}", budget(pair));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the agent has told of so many events.
fn wait_for_events(agent: &Agent, wanted: usize) -> Value {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    loop {
        let it = json(agent, &["events"]);
        if it["events"].as_array().unwrap().len() >= wanted {
            return it;
        }
        assert!(Instant::now() < deadline, "{it}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_last_events_are_told_in_names_and_by_filters() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    has(&weir(&agent, &["events"]), &["no events"]);
    weir(&agent, &["ban", "203.0.113.7"]);
    send(&pair, LISTED, 53, 4);
    send(&pair, BANNED, 443, 3);
    let it = wait_for_events(&agent, 7);
    let event = &it["events"][0];
    for (field, value) in [
        ("source", "198.51.100.7"),
        ("interface", "eth0"),
        ("verdict", "drop"),
        ("reason", "feed"),
        ("protocol", "udp"),
    ] {
        assert_eq!(event[field], value, "{it}");
    }
    assert_eq!((&event["destination_port"], &event["lists"][0]), (&53.into(), &"feed bad".into()), "{it}");
    has(&weir(&agent, &["events", "--limit", "1"]), &["INTERFACE", "203.0.113.7", "443/udp", "drop", "ban"]);
    let count = |arguments: &[&str]| json(&agent, arguments)["events"].as_array().unwrap().len();
    assert_eq!(count(&["events", "--reason", "ban"]), 3);
    assert_eq!(count(&["events", "--source", "198.51.100.0/24"]), 4);
    assert_eq!(count(&["events", "--source", "198.51.100.0/24", "--reason", "ban"]), 0);
    let wrong = agent.weir(&["events", "--reason", "rain"]).unwrap();
    assert_eq!(wrong.status.code(), Some(64), "{}", text(&wrong));
}

#[test]
fn who_follows_gets_more_of_them_as_they_come() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    assert_eq!(budget(&pair), 32);
    let mut command = agent.command(&["events", "--follow", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for_budget(&pair, 1000);
    send(&pair, LISTED, 53, 500);
    let sources = |lines: &mut dyn Iterator<Item = std::io::Result<String>>, count: usize| {
        let events = lines.take(count).map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        events.map(|event| event["source"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // More than the 32 that are told in a second to nobody.
    assert_eq!(sources(&mut lines, 500), vec![LISTED.to_string(); 500]);
    // An agent that comes back is followed on.
    agent.stop().unwrap();
    agent.start().unwrap();
    wait_for_budget(&pair, 1000);
    send(&pair, LISTED, 53, 5);
    assert_eq!(sources(&mut lines, 5).len(), 5);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for_budget(&pair, 32);
}

fn follow(agent: &Agent) -> UnixStream {
    let mut stream = UnixStream::connect(agent.socket()).unwrap();
    stream.set_read_timeout(Some(patience::seconds(PATIENCE_SECONDS))).unwrap();
    stream.write_all(b"GET /v1/events?follow=true&limit=0 HTTP/1.1\r\nHost: weir\r\n\r\n").unwrap();
    stream
}

#[test]
fn who_is_slow_is_told_what_is_missing_and_holds_nobody_up() {
    const PACKETS: usize = 30_000;
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "events: {per_second: 10000}");
    let mut slow = follow(&agent);
    wait_for_budget(&pair, 10_000);
    let watching = thread::scope(|scope| {
        let stream = follow(&agent);
        let quick = scope.spawn(move || {
            let mut seen = 0;
            let mut lines = BufReader::new(stream).lines();
            while seen < 2000 {
                seen += usize::from(lines.next().unwrap().unwrap().contains("198.51.100.7"));
            }
            seen
        });
        thread::sleep(Duration::from_millis(200));
        let wire = pair.client.run(|| weir_tests::wire::Wire::open(Pair::INTERFACE)).unwrap();
        wire.send_paced(&[crate::frame(LISTED, 53)], 8000, Duration::from_secs(4)).unwrap();
        quick.join().unwrap()
    });
    assert_eq!(watching, 2000);
    // What it did not read in time is not kept for it, but counted.
    let mut told = (0, 0);
    let mut lines = BufReader::new(&mut slow).lines();
    while told.1 == 0 {
        let line = lines.next().unwrap().unwrap();
        match serde_json::from_str::<Value>(&line) {
            Ok(line) if line["lost"].is_u64() => told.1 += line["lost"].as_u64().unwrap(),
            Ok(line) if line["source"].is_string() => told.0 += 1,
            Ok(_) | Err(_) => {}
        }
        assert!(told.0 <= PACKETS, "nothing was lost");
    }
    assert!(told.1 > 1000, "{told:?}");
}

#[test]
fn few_may_watch_and_the_rest_of_the_socket_is_served() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    let answer = |stream: &mut UnixStream| {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head).into_owned()
    };
    let mut watchers: Vec<UnixStream> = (0..8).map(|_| follow(&agent)).collect();
    for stream in &mut watchers {
        assert_eq!(answer(stream), "HTTP/1.1 200");
    }
    assert_eq!(answer(&mut follow(&agent)), "HTTP/1.1 503");
    has(&weir(&agent, &["bans"]), &["no bans"]);
    let refused = agent.weir(&["events", "-f"]).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    has(&text(&refused), &["8 watch already"]);
    drop(watchers);
    // A place is free again once the agent has noticed.
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while answer(&mut follow(&agent)) != "HTTP/1.1 200" {
        assert!(Instant::now() < deadline, "places stay taken");
        thread::sleep(Duration::from_millis(100));
    }
}
