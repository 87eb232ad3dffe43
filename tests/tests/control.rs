//! Bans and manual rules: from the command line and the control socket to the kernel, and beyond
//! agents and reboots.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use weir::datapath::{Pins, memory::Mapped, rules};
use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    namespace::{Namespace, Pair},
    process::text,
    wire,
};

const BANNED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);
const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn agent(pair: &Pair) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{LISTED}\n")).unwrap();
    let directory = agent.directory().display();
    agent
        .configure(&format!(
            "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/udp]}}]
management: {{sources: [10.20.0.0/16]}}
allow: [172.16.5.0/24]
partners: [172.17.0.0/16]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop}}]
limits:
  - name: per-source
    service: https
    packets: {{rate: 1000/s, burst: 2000, suspicious: {{rate: 1/m, burst: 5}}}}
tables: {{limiter: 8MiB}}
"
        ))
        .unwrap();
    agent
}

fn started(pair: &Pair) -> Agent {
    let mut agent = agent(pair);
    agent.start().unwrap();
    agent
}

/// Sends ten frames from each source and returns how many of each arrived behind XDP.
fn deliver<const N: usize>(pair: &Pair, sources: [Ipv4Addr; N], port: u16) -> [usize; N] {
    wire::deliver(pair, &sources, port, 10).unwrap().try_into().unwrap()
}

/// Runs a command that must succeed, and returns what it prints.
fn weir(agent: &Agent, arguments: &[&str]) -> String {
    agent.done(arguments).unwrap()
}

#[test]
fn banned_at_once_and_lifted_at_once() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [10, 10]);
    let said = weir(&agent, &["ban", "203.0.113.7", "2001:db8:7::/48", "--for", "10m", "--note", "too loud"]);
    assert!(said.contains("203.0.113.7/32  ban until "), "{said}");
    assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [0, 10]);
    let metrics = agent.metrics().unwrap();
    let dropped = metrics.sum("weir_packets_total", &[("verdict", "drop"), ("reason", "ban")]);
    assert!((dropped - 10.0).abs() < 0.5, "{dropped}");
    assert!((metrics.sum("weir_rules", &[("action", "ban")]) - 2.0).abs() < 0.1);
    let changes = |result| metrics.sum("weir_rule_changes_total", &[("action", "ban"), ("result", result)]);
    assert!((changes("ok") - 2.0).abs() < 0.1);

    let bans = weir(&agent, &["bans"]);
    assert!(bans.contains("203.0.113.7/32") && bans.contains("too loud"), "{bans}");
    assert!(bans.contains(" 10m ") || bans.contains(" 9m 5"), "{bans}");
    assert!(weir(&agent, &["bans", "-o", "json"]).contains("\"action\": \"ban\""));
    assert!(weir(&agent, &["status"]).contains("rules        2"));
    assert!(weir(&agent, &["explain", "203.0.113.7"]).contains("banned"));

    assert!(weir(&agent, &["unban", "203.0.113.7"]).contains("lifted"));
    assert_eq!(deliver(&pair, [BANNED], 53), [10]);
    let again = agent.weir(&["unban", "203.0.113.7", "2001:db8:7::1"]).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("203.0.113.7/32: has no rule"), "{}", text(&again));
    assert!(text(&again).contains("2001:db8:7::/48 around it has one"), "{}", text(&again));
    // What clients are called is in no log line.
    assert!(!agent.log().contains("203.0.113") && !agent.log().contains("2001:db8:7"), "{}", agent.log());
    assert!(agent.log().contains("uid 0"), "{}", agent.log());
}

#[test]
fn a_shadow_ban_counts_and_passes() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    assert!(weir(&agent, &["ban", "203.0.113.0/24", "--shadow"]).contains("ban (shadow)"));
    assert_eq!(deliver(&pair, [BANNED], 53), [10]);
    let metrics = agent.metrics().unwrap();
    let would = metrics.sum("weir_packets_total", &[("verdict", "would_drop"), ("reason", "ban")]);
    assert!((would - 10.0).abs() < 0.5, "{would}");
}

#[test]
fn a_ban_ends_in_the_kernel_without_the_agent() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        weir(&agent, &["ban", "203.0.113.7", "--for", "3s"]);
        let end = Instant::now() + Duration::from_millis(3100);
        agent.signal(signal).unwrap();
        assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [0, 10], "{signal}");
        assert!(Instant::now() < end, "too slow to see it in force");
        thread::sleep(end.saturating_duration_since(Instant::now()));
        assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [10, 10], "{signal}");
        if signal == Signal::SIGSTOP {
            agent.signal(Signal::SIGCONT).unwrap();
        }
    }
}

#[test]
fn restarts_and_reboots_do_not_forgive() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    weir(&agent, &["ban", "203.0.113.7", "2001:db8:7::/48", "--for", "forever", "--note", "for good"]);
    weir(&agent, &["ban", "203.0.113.8", "--for", "1s"]);
    agent.kill().unwrap();
    assert_eq!(deliver(&pair, [BANNED], 53), [0]);
    agent.start().unwrap();
    assert_eq!(deliver(&pair, [BANNED], 53), [0]);
    // The kernel forgets everything.
    agent.stop().unwrap();
    assert!(!agent.socket().exists(), "the socket is left");
    weir(&agent, &["unload"]);
    assert_eq!(deliver(&pair, [BANNED], 53), [10]);
    thread::sleep(Duration::from_millis(1500));
    agent.start().unwrap();
    assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [0, 10]);
    let bans = weir(&agent, &["bans"]);
    assert!(
        bans.contains("for good") && bans.contains("2001:db8:7::/48") && bans.contains("forever"),
        "{bans}"
    );
    assert!(!bans.contains("203.0.113.8"), "{bans}");
}

#[test]
fn a_broken_book_changes_nothing_that_is_in_force() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    weir(&agent, &["ban", "203.0.113.7"]);
    agent.kill().unwrap();
    let state = agent.directory().join("state");
    fs::write(state.join("rules.json"), "{\"version\": 1, \"rul").unwrap();
    agent.start().unwrap();
    assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [0, 10]);
    assert!(agent.log().contains("the file of bans and rules cannot be used"), "{}", agent.log());
    let names = fs::read_dir(state).unwrap().flatten().map(|entry| entry.file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("rules.json.broken-")));
    // It can still be lifted by its name.
    weir(&agent, &["unban", "203.0.113.7"]);
    assert_eq!(deliver(&pair, [BANNED], 53), [10]);
}

#[test]
fn a_full_disk_does_not_stop_a_ban() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair);
    let state = agent.directory().join("state");
    fs::create_dir(&state).unwrap();
    let filler = state.join("filler");
    pair.server
        .run(|| Ok(mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))?))
        .unwrap();
    agent.start().unwrap();
    pair.server.run(|| Ok(_ = fs::write(&filler, vec![1; 1 << 20]))).unwrap();
    let said = weir(&agent, &["ban", "203.0.113.7"]);
    assert!(said.contains("will not survive a reboot"), "{said}");
    assert_eq!(deliver(&pair, [BANNED], 53), [0]);
    let unsaved = || {
        agent.metrics().unwrap().sum("weir_rule_changes_total", &[("action", "ban"), ("result", "unsaved")])
    };
    assert!((unsaved() - 1.0).abs() < 0.1);
    // With room again it is written without being asked.
    pair.server.run(|| Ok(fs::remove_file(&filler)?)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !agent.log().contains("bans and rules are written again") {
        assert!(Instant::now() < deadline, "{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
    let said = weir(&agent, &["ban", "203.0.113.8"]);
    assert!(!said.contains("reboot"), "{said}");
}

#[test]
fn allow_beats_a_feed_and_throttle_slows_down() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    assert_eq!(deliver(&pair, [LISTED, OTHER], 443), [0, 10]);
    weir(&agent, &["allow", "198.51.100.0/24", "--note", "a customer"]);
    weir(&agent, &["throttle", "203.0.113.9", "--for", "1h"]);
    let slow = Ipv4Addr::new(203, 0, 113, 9);
    assert_eq!(deliver(&pair, [LISTED, slow, OTHER], 443), [10, 5, 10]);
    assert!(weir(&agent, &["explain", "203.0.113.9"]).contains("limit"));
    weir(&agent, &["unban", "198.51.100.0/24", "203.0.113.9"]);
    assert_eq!(deliver(&pair, [LISTED, OTHER], 443), [0, 10]);
}

#[test]
fn nobody_is_locked_out() {
    let pair = Pair::new().unwrap();
    pair.server.ip(&format!("route add 10.99.0.0/16 via {}", Pair::CLIENT.v4)).unwrap();
    let agent = started(&pair);
    let own = Pair::SERVER.v4.to_string();
    let gateway = Pair::CLIENT.v4.to_string();
    for (prefix, name) in [
        (own.as_str(), "own address"),
        ("192.0.0.0/8", "own address"),
        (&gateway, "gateway"),
        ("10.20.7.7", "management"),
        ("10.0.0.0/8", "10.20.0.0/16 (management)"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("172.16.5.9", "172.16.5.0/24 (allow)"),
        ("172.17.0.0/24", "partners"),
        ("::ffff:172.16.5.9", "allow"),
    ] {
        for command in ["ban", "throttle"] {
            let output = agent.weir(&[command, "203.0.113.7", prefix]).unwrap();
            let said = text(&output);
            assert!(output.status.code() == Some(1) && said.contains(name), "{command} {prefix}: {said}");
        }
    }
    for (prefix, name) in
        [("11.0.0.0/7", "write 10.0.0.0/7"), ("0.0.0.0/0", "wider than /8"), ("2000::/12", "/16")]
    {
        let said = text(&agent.weir(&["ban", prefix]).unwrap());
        assert!(said.contains(name), "{prefix}: {said}");
    }
    assert_eq!(agent.weir(&["ban", "nobody"]).unwrap().status.code(), Some(64));
    assert_eq!(agent.weir(&["ban", "203.0.113.7", "--for", "soon"]).unwrap().status.code(), Some(64));
    // All or none: the address beside them is not banned either.
    assert_eq!(weir(&agent, &["bans"]).trim(), "no bans, no rules");
    assert_eq!(deliver(&pair, [BANNED], 53), [10]);
    let refused = agent.metrics().unwrap().sum("weir_rule_changes_total", &[("result", "refused")]);
    assert!((refused - 20.0).abs() < 0.1, "{refused}");
}

#[test]
fn the_api_says_what_is_wrong_and_where() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let mut control = Control::connect(&agent.socket()).unwrap();
    let mut ask = |method: &str, path: &str, body: &str| control.request(method, path, body).unwrap();
    let ban = r#"{"action":"ban","seconds":60,"note":"x"}"#;
    assert_eq!(ask("PUT", "/v1/rules/203.0.113.7", ban).0, 200);
    let (status, body) = ask("GET", "/v1/rules/203.0.113.7/32", "");
    assert!(status == 200 && body.contains("\"prefix\":\"203.0.113.7/32\""), "{status} {body}");
    assert_eq!(ask("PUT", "/v1/rules/2001%3Adb8%3A7%3A%3A/48", ban).0, 200);
    assert_eq!(ask("DELETE", "/v1/rules/2001:db8:7::/48", "").0, 200);
    assert_eq!(ask("DELETE", "/v1/rules/203.0.113.7", "").0, 200);
    for (method, path, body, want, says) in [
        ("GET", "/v1/rules/203.0.113.7", "", 404, "has no rule"),
        ("DELETE", "/v1/rules/203.0.113.7", "", 404, "has no rule"),
        ("PUT", "/v1/rules/203.0.113.7/24", ban, 422, "write 203.0.113.0/24"),
        ("PUT", "/v1/rules/203.0.113.7", r#"{"action":"nuke"}"#, 400, "nuke"),
        ("PUT", "/v1/rules/203.0.113.7", r#"{"action":"ban","for":1}"#, 400, "\"field\":\"for\""),
        ("PUT", "/v1/rules/203.0.113.7", r#"{"action":"ban","seconds":0}"#, 422, "\"field\":\"seconds\""),
        ("PUT", "/v1/rules/203.0.113.7", r#"{"action":"ban","seconds":"1h"}"#, 400, "forever"),
        ("PUT", "/v1/rules/203.0.113.7", r#"{"action":"allow","shadow":true}"#, 422, "no shadow mode"),
        ("PUT", "/v1/rules/203.0.113.7", r#"{"action":"ban","note":"a\nb"}"#, 422, "note"),
        ("PUT", "/v1/rules/172.16.5.0/25", ban, 409, "172.16.5.0/24 (allow)"),
        ("POST", "/v1/rules", r#"{"rules":[]}"#, 422, "1 to 1000"),
        ("POST", "/v1/rules", r#"{"rules":[{"action":"ban"}]}"#, 422, "rules[0].prefix"),
        ("PATCH", "/v1/rules", "", 405, "method"),
        ("GET", "/v2/rules", "", 404, "docs/control.md"),
        ("PUT", "/v1/rules/203.0.113.7", "", 400, "body"),
    ] {
        let (status, answer) = ask(method, path, body);
        let named = answer.contains(says) && answer.starts_with("{\"error\":");
        assert!(status == want && named, "{method} {path} {body}: {status} {answer}");
    }
    let (_, bans) = ask("GET", "/v1/rules", "");
    assert_eq!(bans, "{\"rules\":[],\"warnings\":[]}");
}

#[test]
fn ten_thousand_bans() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    let mut control = Control::connect(&agent.socket()).unwrap();
    let started = Instant::now();
    for third in 0..10 {
        let rules: Vec<String> = (0..1000)
            .map(|n| format!(r#"{{"prefix":"100.{third}.{}.{}","action":"ban"}}"#, n / 250, n % 250))
            .collect();
        let (status, body) =
            control.request("POST", "/v1/rules", &format!(r#"{{"rules":[{}]}}"#, rules.join(","))).unwrap();
        assert_eq!(status, 200, "{body}");
    }
    println!("10000 bans in requests of 1000: {:?}", started.elapsed());
    let started = Instant::now();
    let bans = weir(&agent, &["bans"]);
    println!("`weir bans` of 10000: {:?}", started.elapsed());
    assert_eq!(bans.lines().count(), 10_001);
    let some = [Ipv4Addr::new(100, 0, 0, 0), Ipv4Addr::new(100, 9, 3, 249), OTHER];
    assert_eq!(deliver(&pair, some, 53), [0, 0, 10]);
    let started = Instant::now();
    weir(&agent, &["ban", "203.0.113.7"]);
    println!("one more over the command line: {:?}", started.elapsed());
    agent.kill().unwrap();
    weir(&agent, &["unload"]);
    let started = Instant::now();
    agent.start().unwrap();
    println!("started with them after a reboot: {:?}", started.elapsed());
    assert_eq!(deliver(&pair, some, 53), [0, 0, 10]);
    assert!((agent.metrics().unwrap().sum("weir_rules", &[]) - 10_001.0).abs() < 0.1);
}

#[test]
fn latency_over_the_socket() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let mut control = Control::connect(&agent.socket()).unwrap();
    // What the kernel reads, to see when it is there.
    let memory = pair.server.run(|| Ok(Mapped::open(&Pins::new(Path::new("/sys/fs/bpf")))?)).unwrap();
    let (mut enforced, mut answered): (Vec<Duration>, Vec<Duration>) = (0..300)
        .map(|n| {
            let address = format!("100.64.{}.{}", n / 250, n % 250);
            let prefix = format!("{address}/32").parse().unwrap();
            let begun = Instant::now();
            control.send_request("PUT", &format!("/v1/rules/{address}"), r#"{"action":"ban"}"#).unwrap();
            while rules::get(&memory, prefix).unwrap().is_none() {
                assert!(begun.elapsed() < Duration::from_secs(10), "{}", agent.log());
                thread::yield_now();
            }
            let enforced = begun.elapsed();
            let (status, body) = control.answer().unwrap();
            assert_eq!(status, 200, "{body}");
            (enforced, begun.elapsed())
        })
        .unzip();
    for (what, times) in [("in force", &mut enforced), ("on disk and answered", &mut answered)] {
        times.sort_unstable();
        println!("{what}: p50 {:?}, p99 {:?}, most {:?}", times[150], times[297], times[299]);
    }
    let last = Ipv4Addr::new(100, 64, 1, 49);
    assert_eq!(deliver(&pair, [last, OTHER], 53), [0, 10]);
}

#[test]
fn one_agent_a_socket() {
    let pair = Pair::new().unwrap();
    let mut first = agent(&pair);
    let no_agent = first.weir(&["bans"]).unwrap();
    let said = text(&no_agent);
    assert!(
        no_agent.status.code() == Some(1) && said.contains("weir.sock") && said.contains("weir run"),
        "{said}"
    );
    first.start().unwrap();
    // Another host as far as bpffs is concerned, but the same socket.
    let elsewhere = Pair::new().unwrap();
    let mut second = agent(&elsewhere);
    fs::create_dir(second.socket().parent().unwrap()).unwrap();
    symlink(first.socket(), second.socket()).unwrap();
    let said = text(&second.weir(&["run"]).unwrap());
    assert!(said.contains("is no socket"), "{said}");
    let socket = first.socket();
    let run = ["--socket", socket.to_str().unwrap(), "run"];
    let output = second.weir(&run).unwrap();
    let said = text(&output);
    assert!(output.status.code() == Some(1) && said.contains("another agent listens there"), "{said}");
    assert_eq!(weir(&first, &["bans"]).trim(), "no bans, no rules");
    // One that is gone leaves a socket that is in nobody's way.
    first.kill().unwrap();
    assert!(socket.exists());
    first.start().unwrap();
    weir(&first, &["ban", "203.0.113.7"]);
    fs::remove_file(second.socket()).unwrap();
    second.start().unwrap();
}

#[test]
fn only_who_may_can_change_things() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (socket, run) = (agent.socket(), agent.socket().parent().unwrap().to_owned());
    assert_eq!((mode(&socket), mode(&run)), (0o660, 0o750));
    let program = agent.directory().join("weir");
    fs::copy(binary().unwrap(), &program).unwrap();
    set_mode(agent.directory(), 0o755);
    let nobody = |groups: &str, command: &str| {
        let mut setpriv = Namespace::command(&pair.server, "setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", groups, "--"]).arg(&program);
        setpriv.arg("--socket").arg(&socket).arg(command);
        if command == "ban" {
            setpriv.arg("203.0.113.7");
        }
        let output = setpriv.output().unwrap();
        (output.status.success(), text(&output))
    };
    let (done, said) = nobody("--clear-groups", "bans");
    assert!(!done && said.contains("in the group of the socket"), "{said}");
    // Even where somebody has opened it to everybody: reading is all.
    set_mode(&run, 0o755);
    set_mode(&socket, 0o666);
    assert!(nobody("--clear-groups", "bans").0);
    let (done, said) = nobody("--clear-groups", "ban");
    assert!(!done && said.contains("may read here, not change"), "{said}");
    // Members of its group may, as the kernel sees it.
    set_mode(&run, 0o751);
    set_mode(&socket, 0o660);
    std::os::unix::fs::chown(&socket, None, Some(4242)).unwrap();
    assert!(!nobody("--clear-groups", "ban").0);
    let (done, said) = nobody("--groups=4242", "ban");
    assert!(done, "{said}\n{}", agent.log());
    assert_eq!(deliver(&pair, [BANNED], 53), [0]);
}

#[test]
fn garbage_and_slow_clients_are_in_nobodys_way() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let connect = || Control::connect(&agent.socket()).unwrap();
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", &vec![b'A'; 1 << 20], b"\0\0\0\0\r\n\r\n"]
    {
        let mut client = connect();
        _ = client.send(garbage);
        _ = client.wait_closed();
    }
    let headers = "x: y\r\n".repeat(100);
    let mut client = connect();
    client.send(format!("GET /v1/rules HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().0, 431);
    let mut client = connect();
    let head = "PUT /v1/rules/203.0.113.7 HTTP/1.1\r\nHost: weir\r\n";
    client.send(format!("{head}Content-Length: 9999999\r\n\r\n").as_bytes()).unwrap();
    _ = client.send(&vec![b' '; 1 << 20]);
    assert_eq!(client.answer().unwrap().0, 413);
    // More than are served, and none of them says anything, or ends what it says.
    let mut clients: Vec<Control> = (0..60).map(|_| connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        match n % 3 {
            0 => client.send(b"GET /v1/ru").unwrap(),
            1 => client.send(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).unwrap(),
            _ => {}
        }
    }
    let begun = Instant::now();
    weir(&agent, &["ban", "203.0.113.7"]);
    println!("a ban behind 60 clients that say nothing: {:?}", begun.elapsed());
    assert_eq!(deliver(&pair, [BANNED, OTHER], 53), [0, 10]);
    assert_eq!(agent.get("/readyz").unwrap().0, 200);
    for client in clients {
        client.wait_closed().unwrap();
    }
}
