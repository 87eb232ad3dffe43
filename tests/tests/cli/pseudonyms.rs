use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use weir_tests::{namespace::Pair, patience};

use crate::{BANNED, LISTED, has, json, prepared, send, text, weir};

const STATUS: &str = "127.0.0.1:9647";

/// Returns what the status page is told.
fn status_page(pair: &Pair) -> String {
    let mut stream = pair.server.run(|| Ok(TcpStream::connect(STATUS)?)).unwrap();
    stream.set_read_timeout(Some(patience::seconds(10))).unwrap();
    stream.write_all(format!("GET /status.json HTTP/1.0\r\nHost: {STATUS}\r\n\r\n").as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn a_source_has_the_same_name_everywhere_and_nobody_learns_its_address() {
    let pair = Pair::new().unwrap();
    let settings = format!("audit: {{addresses: pseudonymous}}\nlisten: {{status: '{STATUS}'}}");
    let mut agent = prepared(&pair, &settings).with_variable("WEIR_LOG", "debug");
    agent.start().unwrap();
    weir(&agent, &["ban", "203.0.113.7", "--note", "as 203.0.113.7 wanted"]);
    send(&pair, LISTED, 53, 4);
    send(&pair, BANNED, 443, 3);
    let deadline = Instant::now() + patience::seconds(30);
    let events = loop {
        let events = json(&agent, &["events"]);
        if events["events"].as_array().unwrap().len() >= 7 {
            break events;
        }
        assert!(Instant::now() < deadline, "{events}");
        thread::sleep(Duration::from_millis(20));
    };
    let banned = json(&agent, &["events", "--source", "203.0.113.7"]);
    let name = banned["events"][0]["source"].as_str().unwrap();
    assert!(name.len() == 32 && banned["events"].as_array().unwrap().len() == 3, "{banned}");
    // What is known of an address is told to whoever names it, and not by halves.
    assert_eq!(json(&agent, &["explain", "203.0.113.7"])["agent"]["recent"]["events"], 3);
    let refused = agent.weir(&["events", "--source", "203.0.113.0/24"]).unwrap();
    assert!(!refused.status.success());
    has(&text(&refused), &["203.0.113.0/24", "name a single address"]);
    let top = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                send(&pair, BANNED, 443, 20);
                thread::sleep(Duration::from_millis(100));
            }
        });
        json(&agent, &["top", "--once", "--delay", "1s"])
    });
    let (audit, page) = (weir(&agent, &["audit", "tail", "-o", "json"]), status_page(&pair));
    let told = [("events", events.to_string()), ("top", top.to_string()), ("audit", audit), ("page", page)];
    for (what, text) in told.into_iter().chain([("log", agent.log())]) {
        assert!(text.contains(name), "no {name} in {what}: {text}");
        for address in [BANNED, LISTED] {
            assert!(!text.contains(&address.to_string()), "{address} in {what}: {text}");
        }
    }
    // It has to be found to be lifted.
    has(&weir(&agent, &["bans"]), &["203.0.113.7"]);
}
