use serde_json::Value;

use crate::{
    http::{self, Answer},
    stand::{BANNED, HOSTILE, LISTED, QUIET, STATUS, Stand},
};

impl Stand {
    fn page(&self, method: &str, path: &str, headers: &str) -> Answer {
        http::ask(&self.pair.server, STATUS, method, path, headers, "").unwrap()
    }
}

#[test]
fn the_page_is_for_the_loopback_and_changes_nothing() {
    let stand = Stand::new();
    let page = stand.page("GET", "/", "");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'nonce-")
            && policy.contains("frame-ancestors 'none'")
    );
    assert_ne!(policy, stand.page("GET", "/", "").header("content-security-policy"), "a nonce is used once");
    // A name that leads here is no name of the loopback.
    for host in ["evil.example", "evil.example:9647", "192.0.2.2:9647"] {
        for path in ["/", "/status.json", "/explain.json?address=192.0.2.1"] {
            let answer = stand.page("GET", path, &format!("Host: {host}\r\n"));
            assert_eq!(answer.status, 421, "{answer:?}");
            assert!(!answer.body.contains("192.0.2.1"), "{answer:?}");
        }
    }
    for host in ["localhost:9647", "127.0.0.1"] {
        assert_eq!(stand.page("GET", "/", &format!("Host: {host}\r\n")).status, 200);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in ["/", "/status.json", "/explain.json", "/v1/rules", "/v1/rules/192.0.2.0/24"] {
            let status = stand.page(method, path, "").status;
            assert!([404, 405].contains(&status), "{method} {path}: {status}");
        }
    }
    for path in ["/status.json", "/nothing"] {
        let answer = stand.page("GET", path, "Origin: http://evil.example\r\n");
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // Addresses are not where Prometheus reads.
    stand.rule(&format!("{BANNED}/32"), "ban", HOSTILE);
    let (_, metrics) = stand.agent.get("/metrics").unwrap();
    assert!(!metrics.contains(&BANNED.to_string()));
    assert_eq!(stand.agent.get("/status.json").unwrap().0, 404);
}

#[test]
fn the_page_is_told_all_that_it_shows() {
    let stand = Stand::new();
    stand.rule(&format!("{BANNED}/32"), "ban", HOSTILE);
    stand.traffic();
    let summary = stand.page("GET", "/status.json", "").json();
    assert_eq!(summary["status"]["enforce"], "enforce");
    assert_eq!(summary["status"]["interfaces"][0]["interface"], "eth0");
    assert_eq!(summary["feeds"][0]["name"], "bad");
    assert_eq!(summary["feeds"][0]["packets"]["drop"], 50);
    assert_eq!(summary["feeds"][0]["health"], "ok");
    assert_eq!(summary["limits"][0]["name"], "per-source");
    assert!(summary["limits"][0]["packets"]["drop"].as_u64().unwrap() > 0);
    assert_eq!(
        (&summary["rules"]["all"], &summary["rules"]["shown"][0]["note"]),
        (&1.into(), &Value::from(HOSTILE))
    );
    assert!(summary["rules"]["shown"][0]["seconds_left"].as_u64().unwrap() > 3500);
    assert!(
        summary["l7"].as_array().unwrap().iter().any(|row| row["verdict"] == "deny"),
        "{}",
        summary["l7"]
    );
    assert!(!summary["history"].as_array().unwrap().is_empty());

    for (address, verdict) in [(LISTED, "drop"), (BANNED, "drop"), (QUIET, "pass")] {
        let answer = stand.page("GET", &format!("/explain.json?address={address}&port=443%2Ftcp"), "");
        assert_eq!((answer.status, &answer.json()["verdict"]), (200, &verdict.into()), "{answer:?}");
    }
    // As `weir explain` has it: also what the agent alone knows.
    let known = &stand.page("GET", &format!("/explain.json?address={LISTED}"), "").json()["agent"];
    assert!(known["risk"]["ban_at"].as_f64().unwrap() > 0.0, "{known}");
    assert!(known["recent"]["events"].as_u64().unwrap() > 0, "{known}");
    for (question, field) in
        [("", "address"), ("?address=nobody", "address"), ("?address=192.0.2.1&port=x", "port")]
    {
        let answer = stand.page("GET", &format!("/explain.json{question}"), "");
        assert_eq!((answer.status, &answer.json()["field"]), (422, &field.into()), "{answer:?}");
    }
}
