//! The audit: an operator's day in it, what finds out that it was changed, and what happens when it
//! cannot be written.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use serde_json::{Value, json};
use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    namespace::Pair,
    patience,
};

const AUTH: &str = "127.0.0.1:9650";

fn agent(pair: &Pair, more: &str) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", "198.51.100.7\n198.51.100.8\n").unwrap();
    let directory = agent.directory().display().to_string();
    agent.configure(&config(&directory, more)).unwrap();
    agent
}

fn config(directory: &str, more: &str) -> String {
    format!(
        "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/tcp]}}]
allow: [172.16.5.0/24]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 1000/s, burst: 2000}}}}]
tables: {{limiter: 8MiB}}
{more}
"
    )
}

fn started(pair: &Pair, more: &str) -> Agent {
    let mut agent = agent(pair, more);
    agent.start().unwrap();
    agent
}

fn path(agent: &Agent) -> PathBuf {
    agent.directory().join("state/audit.jsonl")
}

/// Runs a command that must succeed.
fn weir(agent: &Agent, arguments: &[&str]) -> String {
    agent.done(arguments).unwrap()
}

fn entries(agent: &Agent) -> Vec<Value> {
    let text = weir(agent, &["audit", "tail", "-n", "100000", "-o", "json"]);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn code(entry: &Value) -> &str {
    entry["metadata"]["event_code"].as_str().unwrap()
}

fn wait_until(agent: &Agent, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience::seconds(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}\n{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for an entry of this kind, and returns the first.
fn entry(agent: &Agent, wanted: &str) -> Value {
    let mut found = None;
    wait_until(agent, wanted, || {
        found = entries(agent).into_iter().find(|entry| code(entry) == wanted);
        found.is_some()
    });
    found.unwrap()
}

/// Returns what `weir audit verify` says of the first line that is wrong.
fn broken(agent: &Agent, arguments: &[&str]) -> Value {
    let output = agent.weir(&[&["audit", "verify", "-o", "json"], arguments].concat()).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(i32::from(!report["ok"].as_bool().unwrap())), "{report}");
    report["broken"].clone()
}

#[test]
fn a_day_stands_in_the_audit() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    let directory = agent.directory().display().to_string();
    weir(&agent, &["ban", "203.0.113.7", "--for", "10m", "--note", "scraper"]);
    weir(&agent, &["ban", "203.0.113.9", "--for", "1s"]);
    weir(&agent, &["unban", "203.0.113.7"]);
    assert!(!agent.weir(&["ban", "172.16.5.1"]).unwrap().status.success());
    agent.write("bad.netset", "198.51.100.7\n198.51.100.9\n198.51.100.10\n").unwrap();
    wait_until(&agent, "another list", || {
        entries(&agent).iter().filter(|entry| code(entry) == "feed.changed").count() == 2
    });
    agent.write("bad.netset", "").unwrap();
    entry(&agent, "feed.held");
    agent.configure("enforce: maybe-s3cret\n").unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    entry(&agent, "policy.refused");
    agent
        .configure(
            &config(&directory, "")
                .replace("feeds: [", "feeds: [{name: more, networks: [192.0.2.0/24], action: drop}, "),
        )
        .unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait_until(&agent, "reload", || {
        entries(&agent).iter().filter(|entry| code(entry) == "policy.in_force").count() == 2
    });
    entry(&agent, "rule.ended");
    agent.stop().unwrap();

    let entries = entries(&agent);
    let find = |wanted: &str| entries.iter().filter(|entry| code(entry) == wanted).collect::<Vec<_>>();
    assert_eq!(code(&entries[0]), "audit.opened");
    assert_eq!(code(&entries[1]), "agent.start");
    assert_eq!(code(entries.last().unwrap()), "agent.stop");
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry["seq"], index + 1);
        assert_eq!(
            entry["type_uid"],
            entry["class_uid"].as_u64().unwrap() * 100 + entry["activity_id"].as_u64().unwrap()
        );
    }
    let [first, short] = find("rule.set")[..] else { panic!("two bans") };
    assert_eq!(
        (&first["src_endpoint"]["ip"], &short["src_endpoint"]["ip"]),
        (&"203.0.113.7".into(), &"203.0.113.9".into())
    );
    assert_eq!(
        (&first["class_uid"], &first["action_id"], &first["disposition_id"]),
        (&4001.into(), &2.into(), &6.into())
    );
    assert_eq!(first["firewall_rule"]["desc"], "scraper");
    assert_eq!(first["actor"]["user"]["uid"], "0");
    assert!(first["actor"]["process"]["pid"].as_u64().unwrap() > 1);
    assert_eq!(find("rule.lifted")[0]["src_endpoint"]["ip"], "203.0.113.7");
    assert_eq!(find("rule.refused")[0]["status_code"], "409");
    let changed = find("feed.changed");
    assert_eq!(changed[0]["unmapped"]["entries"]["ipv4"], 2, "at the start");
    assert_eq!(
        (&changed[1]["unmapped"]["added"], &changed[1]["unmapped"]["removed"]),
        (&2.into(), &1.into())
    );
    assert_ne!(changed[0]["entity"]["uid"], changed[1]["entity"]["uid"]);
    assert_eq!(changed[2]["entity"]["name"], "more");
    assert_eq!(find("policy.refused")[0]["actor"]["app_name"], "signal SIGHUP");
    let [start, reload] = find("policy.in_force")[..] else { panic!("two policies") };
    assert_ne!(start["entity"]["uid"], reload["entity"]["uid"]);
    let version = |entry: &Value| entry["unmapped"]["version"].as_u64();
    assert_eq!((version(start), version(reload)), (Some(1), Some(2)));
    // What stands in a file that is wrong may be a secret.
    let text = fs::read_to_string(path(&agent)).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(fs::metadata(path(&agent)).unwrap().permissions().mode() & 0o777, 0o640);
    let table = weir(&agent, &["audit", "tail", "-n", "2"]);
    assert!(table.lines().count() == 3 && table.contains("the agent ends"), "{table}");
    let said = weir(&agent, &["audit", "verify"]);
    assert!(said.starts_with("ok  "), "{said}");
    // It goes on where it ended.
    let last = entries.len() as u64;
    agent.start().unwrap();
    wait_until(&agent, "the start", || self::entries(&agent).len() as u64 > last + 1);
    assert_eq!(broken(&agent, &[]), Value::Null);
    let sequence = agent.metrics().unwrap().count("weir_audit_sequence", &[]);
    assert!(sequence > last, "{sequence}");
}

#[test]
fn what_unloads_or_rolls_back_is_told() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    let directory = agent.directory().display().to_string();
    agent.write("new.yaml", &config(&directory, "partners: [192.0.2.0/24]")).unwrap();
    weir(&agent, &["policy", "apply", &format!("{directory}/new.yaml")]);
    weir(&agent, &["policy", "rollback"]);
    let version =
        |entry: &Value| (entry["unmapped"]["version"].clone(), entry["unmapped"]["returns_to"].clone());
    let told = || {
        let policies = entries(&agent).into_iter().filter(|entry| code(entry) == "policy.in_force");
        policies.map(|entry| version(&entry)).collect::<Vec<_>>()
    };
    let wanted = [(1.into(), Value::Null), (2.into(), Value::Null), (3.into(), 1.into())];
    wait_until(&agent, "the versions", || told() == wanted);
    // Under an agent: it finds it.
    weir(&agent, &["unload"]);
    let found = entry(&agent, "agent.unload");
    assert_eq!(found["actor"]["app_name"], "weir");
    agent.stop().unwrap();
    agent.start().unwrap();
    agent.stop().unwrap();
    // And without one, a line by whoever does it, on which the next agent's hang.
    weir(&agent, &["unload"]);
    let last = entries(&agent).pop().unwrap();
    assert_eq!((code(&last), &last["actor"]["user"]["uid"]), ("agent.unload", &"0".into()));
    assert_eq!(last["unmapped"]["detached"], json!(["eth0"]));
    assert!(weir(&agent, &["unload"]).contains("nothing was loaded"));
    assert_eq!(entries(&agent).pop().unwrap(), last, "nothing was done, and nothing is told");
    agent.start().unwrap();
    agent.stop().unwrap();
    assert_eq!(broken(&agent, &[]), Value::Null);
    assert_eq!(code(&entries(&agent).pop().unwrap()), "agent.stop");
    assert!(!agent.log().contains("not as it was left"), "{}", agent.log());
}

/// Returns the flaw that `weir audit verify` finds, and the line of the file.
fn flaw(agent: &Agent, arguments: &[&str]) -> (String, u64) {
    let broken = broken(agent, arguments);
    (broken["flaw"].as_str().unwrap_or("none").to_owned(), broken["line"].as_u64().unwrap_or(0))
}

#[test]
fn whoever_changes_a_line_is_found_out() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    for n in 0..10 {
        weir(&agent, &["ban", &format!("203.0.113.{n}"), "--note", "x"]);
    }
    agent.stop().unwrap();
    let whole = fs::read_to_string(path(&agent)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let replace = |lines: &[&str]| fs::write(path(&agent), lines.join("\n") + "\n").unwrap();
    assert_eq!(flaw(&agent, &[]), ("none".to_owned(), 0));
    let edited = lines[6].replace("203.0.113", "192.0.2");
    let mut changed = lines.clone();
    changed[6] = &edited;
    replace(&changed);
    assert_eq!(flaw(&agent, &[]), ("edited".to_owned(), 7));
    let file = path(&agent).display().to_string();
    assert_eq!(flaw(&agent, &[&file]), ("edited".to_owned(), 7));
    let output = agent.weir(&["audit", "verify"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("audit.jsonl:7: seq 7: edited"), "{said}");
    assert_eq!(flaw(&agent, &["--from", "8"]), ("none".to_owned(), 0));
    let mut changed = lines.clone();
    changed.remove(6);
    replace(&changed);
    assert_eq!(flaw(&agent, &[]), ("missing".to_owned(), 7));
    let mut changed = lines.clone();
    changed.swap(6, 7);
    replace(&changed);
    assert_eq!(flaw(&agent, &[]), ("reordered".to_owned(), 7));
    replace(&lines[..8]);
    assert_eq!(flaw(&agent, &[]), ("cut_off".to_owned(), 9));
    assert_eq!(flaw(&agent, &[&file]), ("cut_off".to_owned(), 9), "the head lies beside it");
    // In the middle of a line.
    fs::write(path(&agent), &whole[..whole.len() - 40]).unwrap();
    assert_eq!(flaw(&agent, &[]).0, "cut_off");
    // The agent goes on, and the gap stays; somebody is told.
    replace(&lines[..8]);
    agent.start().unwrap();
    wait_until(&agent, "the alert", || {
        agent.metrics().unwrap().sum("weir_alerts", &[("kind", "audit_tampered")]) > 0.5
    });
    assert!(agent.log().contains("the audit is not as it was left"), "{}", agent.log());
    assert_eq!(flaw(&agent, &[]), ("missing".to_owned(), 9));
    // Under the agent that runs.
    fs::remove_file(path(&agent)).unwrap();
    weir(&agent, &["ban", "203.0.113.77"]);
    wait_until(&agent, "a new file", || path(&agent).exists());
    wait_until(&agent, "what is gone is missed", || flaw(&agent, &[]).0 == "missing");
}

#[test]
fn half_a_line_is_no_tampering() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    weir(&agent, &["ban", "203.0.113.7"]);
    entry(&agent, "rule.set");
    agent.kill().unwrap();
    let mut file = File::options().append(true).open(path(&agent)).unwrap();
    file.write_all(b"{\"seq\":99,\"prev\":\"0123").unwrap();
    let said = weir(&agent, &["audit", "verify"]);
    assert!(said.contains("22 bytes at the end are no whole line") && said.contains("ok  "), "{said}");
    agent.start().unwrap();
    let recovered = entry(&agent, "audit.recovered");
    assert_eq!(
        (&recovered["unmapped"]["torn"], &recovered["unmapped"]["tampered"]),
        (&22.into(), &Value::Null)
    );
    let said = weir(&agent, &["audit", "verify"]);
    assert!(said.contains("22 bytes of a line") && said.contains("ok  "), "{said}");
}

#[test]
fn a_full_disk_loses_entries_and_nothing_else() {
    let pair = Pair::new().unwrap();
    let small = "audit: {path: DIR/small/audit.jsonl, size: 1GiB}";
    let mut agent = agent(&pair, "");
    let directory = agent.directory().display().to_string();
    agent.configure(&config(&directory, &small.replace("DIR", &directory))).unwrap();
    let disk = agent.directory().join("small");
    fs::create_dir(&disk).unwrap();
    pair.server
        .run(|| Ok(mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=256k"))?))
        .unwrap();
    agent.start().unwrap();
    let filler = disk.join("filler");
    pair.server.run(|| Ok(_ = fs::write(&filler, vec![1; 1 << 20]))).unwrap();
    // Bans go on, more of them than may wait.
    let mut control = Control::connect(&agent.socket()).unwrap();
    let mut set = |third: u32| {
        let rules: Vec<String> = (0..1000)
            .map(|n| format!(r#"{{"prefix":"100.{third}.{}.{}","action":"ban"}}"#, n / 250, n % 250))
            .collect();
        let body = format!(r#"{{"rules":[{}]}}"#, rules.join(","));
        control.request("POST", "/v1/rules", &body).unwrap().0
    };
    for third in 0..20 {
        assert_eq!(set(third), 200);
    }
    for _ in 0..60 {
        assert_eq!(set(0), 200);
    }
    let metrics = agent.metrics().unwrap();
    assert!(
        metrics.count("weir_audit_lost_total", &[]) >= 1000,
        "{:?}",
        metrics.series("weir_audit_lost_total").next()
    );
    assert!(metrics.count("weir_audit_failures_total", &[]) >= 1);
    assert_eq!(metrics.count("weir_alerts", &[("kind", "audit_failed")]), 1);
    assert_eq!(metrics.count("weir_rules", &[("action", "ban")]), 20_000);
    assert!(agent.log().contains("the audit cannot be written"), "{}", agent.log());
    let lost = metrics.count("weir_audit_lost_total", &[]);
    // With room again what has waited is written, and what was lost is told.
    pair.server
        .run(|| {
            fs::remove_file(&filler)?;
            Ok(mount(None::<&str>, &disk, None::<&str>, MsFlags::MS_REMOUNT, Some("size=512m"))?)
        })
        .unwrap();
    wait_until(&agent, "the audit is written again", || agent.log().contains("the audit is written again"));
    let read = || pair.server.run(|| Ok(fs::read_to_string(disk.join("audit.jsonl"))?)).unwrap();
    wait_until(&agent, "what was lost is told", || read().contains("\"event_code\":\"audit.lost\""));
    let text = read();
    let told: u64 = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| code(line) == "audit.lost")
        .map(|line| line["count"].as_u64().unwrap())
        .sum();
    assert_eq!(told, lost);
    assert_eq!(agent.metrics().unwrap().count("weir_alerts", &[("kind", "audit_failed")]), 0);
    let said = weir(&agent, &["audit", "verify"]);
    assert!(said.contains("ok  ") && said.contains(&format!("{lost} entries are lost")), "{said}");
}

#[test]
fn files_are_rotated_and_followed() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "audit: {size: 64KiB, files: 4}");
    let mut follower = agent.command(&["audit", "tail", "-n", "0", "-f", "-o", "json"]);
    let copy = agent.directory().join("copy");
    // A pipe that nobody reads would be full soon.
    let mut follower = follower.stdout(File::create(&copy).unwrap()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    let mut control = Control::connect(&agent.socket()).unwrap();
    for n in 0..400 {
        let (address, body) = (format!("/v1/rules/100.64.{}.{}", n / 250, n % 250), r#"{"action":"ban"}"#);
        assert_eq!(control.request("PUT", &address, body).unwrap().0, 200);
        if n % 25 == 0 {
            // Who follows looks a few times a second.
            thread::sleep(Duration::from_millis(100));
        }
    }
    let files = || {
        let names =
            fs::read_dir(path(&agent).parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".jsonl")).count()
    };
    wait_until(&agent, "four files", || files() == 4);
    weir(&agent, &["ban", "203.0.113.200"]);
    wait_until(&agent, "the last entry", || {
        fs::read_to_string(path(&agent)).unwrap().contains("203.0.113.200")
    });
    assert_eq!(files(), 4);
    assert_eq!(broken(&agent, &[]), Value::Null);
    thread::sleep(Duration::from_secs(1));
    follower.kill().unwrap();
    follower.wait().unwrap();
    let copy = fs::read_to_string(copy).unwrap();
    assert_eq!(copy.lines().filter(|line| line.contains("\"rule.set\"")).count(), 401);
    // The oldest file that is kept is taken away.
    let mut old: Vec<PathBuf> = fs::read_dir(path(&agent).parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("audit-"))
        .collect();
    old.sort();
    fs::remove_file(&old[0]).unwrap();
    assert_eq!(broken(&agent, &[])["flaw"], "missing");
}

/// Sends requests from a client behind a trusted hop, and returns the status of the last.
fn requests(pair: &Pair, client: &str, many: usize) -> u16 {
    let mut status = 0;
    for _ in 0..many {
        let mut stream = pair.server.run(|| Ok(TcpStream::connect(AUTH)?)).unwrap();
        stream.set_read_timeout(Some(patience::seconds(10))).unwrap();
        let head = "GET /v1/auth HTTP/1.0\r\nhost: h\r\nx-original-method: GET\r\n";
        write!(
            stream,
            "{head}x-original-uri: /admin?token=s3cret\r\nx-forwarded-for: {client}\r\ncookie: s3cret\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    }
    status
}

#[test]
fn refused_requests_are_told_once_and_under_a_pseudonym() {
    let pair = Pair::new().unwrap();
    let more = format!(
        "audit: {{addresses: pseudonymous, prefixes: true}}
l7:
  listen: {{http: ['{AUTH}']}}
  clients: {{trusted_proxies: [127.0.0.0/8]}}
  rules: [{{name: everything, when: 'true', then: deny}}]"
    );
    let agent = started(&pair, &more);
    assert_eq!(requests(&pair, "203.0.113.77", 50), 403);
    assert_eq!(requests(&pair, "203.0.113.78", 50), 403);
    weir(&agent, &["ban", "203.0.113.77", "--note", "203.0.113.77 again"]);
    entry(&agent, "rule.set");
    let entries = entries(&agent);
    let decisions: Vec<&Value> = entries.iter().filter(|entry| code(entry) == "decision").collect();
    assert_eq!(decisions.len(), 2, "{decisions:?}");
    assert_eq!((&decisions[0]["type_uid"], &decisions[0]["disposition_id"]), (&400_105.into(), &2.into()));
    assert_eq!(decisions[0]["unmapped"]["reason"], "rule:everything");
    assert_eq!(decisions[0]["src_endpoint"]["name"], "203.0.113.0/24");
    let ban = entries.iter().find(|entry| code(entry) == "rule.set").unwrap();
    assert_eq!(ban["src_endpoint"]["uid"], decisions[0]["src_endpoint"]["uid"], "the same source");
    assert_ne!(decisions[1]["src_endpoint"]["uid"], decisions[0]["src_endpoint"]["uid"]);
    let text = fs::read_to_string(path(&agent)).unwrap();
    for hidden in ["203.0.113.77", "203.0.113.78", "s3cret", "/admin"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    let key = path(&agent).with_file_name("audit.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_million_lines_are_verified_in_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.jsonl");
    let lines = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    write_chain(&file, lines);
    let begun = Instant::now();
    let report = weir::audit::verify::verify(vec![file], None, 0).unwrap();
    println!("{lines} lines in {:?}", begun.elapsed());
    assert!(report.ok && report.lines == lines, "{:?}", report.broken);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

fn write_chain(file: &Path, lines: u64) {
    let mut link = weir::audit::chain::Link::default();
    let mut text = Vec::new();
    let filler = "x".repeat(500);
    link.seal(r#"{"metadata":{"event_code":"audit.opened"},"unmapped":{"kept_from":1}}"#, &mut text);
    for n in 1..lines {
        link.seal(
            &format!(r#"{{"metadata":{{"event_code":"rule.set"}},"n":{n},"filler":"{filler}"}}"#),
            &mut text,
        );
    }
    fs::write(file, text).unwrap();
}
