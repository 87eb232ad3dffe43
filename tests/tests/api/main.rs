//! The control API: what its description says of it, over TLS, and what bounds it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod client;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rcgen::SanType;
use serde_json::Value;
use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    namespace::Pair,
    patience,
    peers::{Program, missing},
};

use client::{ADDRESS, Authority, Certified, Tls};

/// An agent that serves its API over TLS too, and who is who.
struct Stand {
    pair: Pair,
    agent: Agent,
    authority: Authority,
    writer: Certified,
    reader: Certified,
}

impl Stand {
    fn new() -> Self {
        let pair = Pair::new().unwrap();
        let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
        let authority = Authority::new();
        let (writer, reader) = (
            authority.common("ops"),
            authority.certify(|params| {
                params.subject_alt_names =
                    vec![SanType::URI("spiffe://example.org/dashboard".try_into().unwrap())];
            }),
        );
        authority.host(SanType::IpAddress(ADDRESS.ip())).write(&agent, "host.pem", "host.key");
        writer.write(&agent, "ops.pem", "ops.key");
        agent.write("ca.pem", authority.pem()).unwrap();
        agent.write("bad.netset", "198.51.100.7\n").unwrap();
        agent.configure(&config(&agent)).unwrap();
        agent.start().unwrap();
        Self { pair, agent, authority, writer, reader }
    }

    fn connect(&self, certified: &Certified) -> Tls {
        Tls::connect(&self.pair, &self.authority, Some(certified)).unwrap()
    }

    /// Returns whether this certificate, or none, gets an answer.
    fn answers(&self, certified: Option<&Certified>) -> bool {
        let tls = Tls::connect(&self.pair, &self.authority, certified);
        tls.is_ok_and(|mut tls| tls.request("GET", "/v1/rules", "").is_ok())
    }

    fn audit(&self) -> Vec<Value> {
        let output = self.agent.weir(&["audit", "tail", "-n", "1000", "-o", "json"]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for an entry of this kind, and returns it.
    fn entry(&self, code: &str) -> Value {
        let deadline = Instant::now() + patience::seconds(10);
        loop {
            let found = self.audit().into_iter().find(|line| line["metadata"]["event_code"] == code);
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < deadline, "no {code}\n{}", self.agent.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn config(agent: &Agent) -> String {
    let directory = agent.directory().display();
    format!(
        "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/tcp]}}]
allow: [172.16.5.0/24]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 1000/s, burst: 2000}}}}]
tables: {{limiter: 8MiB}}
listen:
  control_tls:
    address: {ADDRESS}
    certificate: {directory}/host.pem
    key: {directory}/host.key
    client_ca: {directory}/ca.pem
    readers: ['spiffe://example.org/dashboard']
    writers: [ops]
"
    )
}

#[test]
fn the_api_is_what_its_description_says() {
    let Some(schemathesis) = Program::find("schemathesis") else {
        return missing("the_api_is_what_its_description_says", "schemathesis");
    };
    let stand = Stand::new();
    let directory = stand.agent.directory();
    let mut command: Command = Program::command(&stand.pair.server, &schemathesis, &[]);
    command
        .current_dir(directory)
        .env("HOME", directory)
        .args(["run", &format!("https://{ADDRESS}/v1/openapi.json"), "--url", &format!("https://{ADDRESS}")])
        .args(["--request-cert", "ops.pem", "--request-cert-key", "ops.key", "--tls-verify", "ca.pem"])
        // Not all that has the shape of an address is one, so what is well formed may be refused.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--max-examples", "30", "--max-time", "60", "--seed", "7", "--rate-limit", "auto"])
        .args(["--continue-on-failure", "--no-color", "--request-timeout", "10"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = said.lines().rev().take(12).collect();
    println!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // It still works, and what was asked for stands in the audit, which is whole.
    assert!(stand.answers(Some(&stand.writer)));
    let verified = stand.agent.weir(&["audit", "verify"]).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn who_has_a_certificate_may_what_its_name_may() {
    let stand = Stand::new();
    let mut writer = stand.connect(&stand.writer);
    let ban = r#"{"action": "ban", "note": "from afar"}"#;
    let (status, _, body) = writer.request("PUT", "/v1/rules/203.0.113.7", ban).unwrap();
    assert_eq!(status, 200, "{body}");
    let mut reader = stand.connect(&stand.reader);
    assert_eq!(reader.request("GET", "/v1/rules/203.0.113.7", "").unwrap().0, 200);
    let (status, _, body) = reader.request("DELETE", "/v1/rules/203.0.113.7", "").unwrap();
    assert!(status == 403 && body.contains("listen.control_tls.writers"), "{status} {body}");
    let mut nobody = stand.connect(&stand.authority.common("somebody"));
    for page in ["/v1/rules", "/v1/status", "/v1/openapi.json", "/v1/none"] {
        let (status, _, body) = nobody.request("GET", page, "").unwrap();
        assert!(status == 403 && body.contains("somebody"), "{page}: {status} {body}");
    }
    // Who has none, or one of another authority, does not get as far as a page.
    assert!(!stand.answers(None));
    assert!(!stand.answers(Some(&Authority::new().common("ops"))));
    assert!(stand.answers(Some(&stand.writer)));
    let set = stand.entry("rule.set");
    assert_eq!(
        (&set["actor"]["user"]["name"], &set["src_endpoint"]["ip"]),
        (&"ops".into(), &"203.0.113.7".into())
    );
    let forbidden = stand.entry("api.forbidden");
    assert_eq!(forbidden["api"]["operation"], "DELETE /v1/rules");
    assert_eq!(forbidden["actor"]["user"]["name"], "spiffe://example.org/dashboard");
}

#[test]
fn certificates_are_read_anew() {
    let stand = Stand::new();
    assert!(stand.answers(Some(&stand.writer)));
    // Another authority certifies from now on.
    let other = Authority::new();
    thread::sleep(Duration::from_millis(1100));
    stand.agent.write("ca.pem", other.pem()).unwrap();
    let deadline = Instant::now() + patience::seconds(10);
    while stand.answers(Some(&stand.writer)) {
        assert!(Instant::now() < deadline, "{}", stand.agent.log());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(stand.answers(Some(&other.common("ops"))));
    // What cannot be used changes nothing.
    stand.agent.write("ca.pem", "no certificate").unwrap();
    thread::sleep(Duration::from_millis(1100));
    assert!(stand.answers(Some(&other.common("ops"))));
    assert!(stand.agent.log().contains("stay as they were"), "{}", stand.agent.log());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let stand = Stand::new();
    let mut agent = stand.agent;
    agent.stop().unwrap();
    for (file, text) in [("host.pem", "none"), ("host.key", "none"), ("ca.pem", "")] {
        let before = std::fs::read(agent.directory().join(file)).unwrap();
        agent.write(file, text).unwrap();
        let output = agent.weir(&["run"]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let named = said.contains("listen.control_tls") && said.contains(file);
        assert!(output.status.code() == Some(1) && named, "{file}: {said}");
        agent.write(file, before).unwrap();
    }
    agent.start().unwrap();
}

#[test]
fn silence_garbage_and_crowds_are_in_nobodys_way() {
    let stand = Stand::new();
    let connect = || stand.pair.server.run(|| Ok(TcpStream::connect(ADDRESS)?)).unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &vec![0; 100_000], b"\x16\x03\x01\xff\xff"] {
        let mut stream = connect();
        stream.set_read_timeout(Some(patience::seconds(10))).unwrap();
        _ = stream.write_all(garbage);
        _ = stream.read_to_end(&mut Vec::new());
    }
    // More than are served, and none of them says anything.
    let silent: Vec<TcpStream> = (0..60).map(|_| connect()).collect();
    let begun = Instant::now();
    assert!(stand.answers(Some(&stand.writer)));
    println!("an answer behind 60 clients that say nothing: {:?}", begun.elapsed());
    drop(silent);
    // The socket has places of its own.
    assert_eq!(
        Control::connect(&stand.agent.socket()).unwrap().request("GET", "/v1/rules", "").unwrap().0,
        200
    );
    // A body that is too large, over TLS.
    let mut writer = stand.connect(&stand.writer);
    let large = format!(r#"{{"rules": [{}]}}"#, " ".repeat(300 << 10));
    assert_eq!(writer.request("POST", "/v1/rules", &large).unwrap().0, 413);
}

#[test]
fn who_asks_without_a_pause_is_told_to_wait_and_others_are_served() {
    let stand = Stand::new();
    let mut writer = stand.connect(&stand.writer);
    let begun = Instant::now();
    let crowded = (0..20_000).find_map(|_| {
        let (status, head, body) = writer.request("GET", "/v1/none", "").ok()?;
        (status == 429).then_some((head, body))
    });
    let Some((head, body)) = crowded else {
        // A machine that is slower than the limit shows nothing.
        assert!(begun.elapsed() > Duration::from_secs(30), "20000 requests in {:?}", begun.elapsed());
        return;
    };
    assert!(head.contains("retry-after: 1") && body.contains("too many requests"), "{head}{body}");
    assert_eq!(stand.connect(&stand.reader).request("GET", "/v1/rules", "").unwrap().0, 200);
    assert_eq!(
        Control::connect(&stand.agent.socket()).unwrap().request("GET", "/v1/rules", "").unwrap().0,
        200
    );
    thread::sleep(Duration::from_secs(1));
    assert_eq!(writer.request("GET", "/v1/rules", "").unwrap().0, 200);
}

#[test]
fn status_and_the_head_of_the_audit_are_pages() {
    let stand = Stand::new();
    let mut control = Control::connect(&stand.agent.socket()).unwrap();
    let mut page = |path: &str| -> Value {
        let (status, body) = control.request("GET", path, "").unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    // The audit is written beside the start, not before it.
    let deadline = Instant::now() + patience::seconds(10);
    let status = loop {
        let status = page("/v1/status");
        if status["audit"]["seq"].as_u64().is_some_and(|seq| seq >= 3) {
            break status;
        }
        assert!(Instant::now() < deadline, "{status}");
    };
    let printed = stand.agent.weir(&["status", "-o", "json"]).unwrap();
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&status), names(&printed));
    assert_eq!((&status["publication"], &status["agent"]), (&printed["publication"], &true.into()));
    let head = page("/v1/audit");
    assert!(head["seq"].as_u64().unwrap() >= 3 && head["hash"].as_str().unwrap().len() == 64, "{head}");
    assert_eq!(page("/v1/openapi.json")["openapi"], "3.1.0");
}
