use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    agent::Agent,
    namespace::Namespace,
    patience,
    peers::{Program, lay_over, missing},
    web::{self, Server},
};

use crate::{
    http,
    names::{self, deploy},
    stand::{BANNED, Stand, at, list},
};

const PROMETHEUS: SocketAddr = at(9090);
const ALERTMANAGER: SocketAddr = at(9093);
const SECONDS: u64 = 60;

/// Panels that must have figures of an agent with everything that is counted.
const ESSENTIAL: [&str; 30] = [
    "Agents",
    "Mode",
    "Interfaces",
    "Dropped",
    "Bans and rules",
    "Packets by verdict",
    "Bits by verdict",
    "Top reasons of drops",
    "Why packets pass",
    "By interface and family",
    "Age",
    "Entries",
    "Packets by feed",
    "Packets by class",
    "Reads",
    "Over limits",
    "Within limits",
    "Buckets in use",
    "Decisions",
    "Refusals by reason",
    "Time to decide",
    "Quotas",
    "Versions",
    "Memory",
    "CPU",
    "Tables",
    "Events",
    "Age of the policy",
    "Costs",
    "Fleet",
];

/// A Prometheus in the agent's namespace.
struct Prometheus {
    namespace: Namespace,
    program: Program,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one with these jobs; nothing: there is none on this machine.
    fn start(stand: &Stand, more: &str) -> Option<Self> {
        let program = Program::find("prometheus")?;
        let directory = tempfile::Builder::new().prefix("prometheus-").tempdir().unwrap();
        let rules = directory.path().join("alerts.yaml");
        fs::write(&rules, at_once(&fs::read_to_string(deploy("prometheus/alerts.yaml")).unwrap())).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{ALERTMANAGER}']}}]}}]}}
scrape_configs:
  - job_name: weir
    static_configs: [{{targets: ['{}'], labels: {{node: here}}}}]
{more}",
            rules.display(),
            Agent::METRICS,
        );
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", directory.path().join("data").display()),
            format!("--web.listen-address={PROMETHEUS}"),
        ];
        let namespace = stand.pair.server.clone();
        let arguments = arguments.each_ref().map(String::as_str);
        let program =
            Program::start(&namespace, &program, &arguments, directory.path(), Some(PROMETHEUS)).unwrap();
        Some(Self { namespace, program, _directory: directory })
    }

    /// Returns the rows of an expression.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = http::get(&self.namespace, PROMETHEUS, &path).map_err(|error| error.to_string())?;
        // It answers before it is ready.
        if answer.status == 503 {
            return Err(answer.body);
        }
        let answer = answer.json();
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until an expression has rows.
    fn wait_for(&self, expression: &str) -> Vec<Value> {
        let deadline = Instant::now() + patience::seconds(SECONDS);
        loop {
            let rows = self.query(expression).unwrap_or_default();
            if !rows.is_empty() {
                return rows;
            }
            assert!(Instant::now() < deadline, "nothing for {expression}: {}", self.program.log());
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Alerts that wait for minutes would make a test wait for minutes.
fn at_once(rules: &str) -> String {
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with("for: "));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            byte => _ = write!(text, "%{byte:02X}"),
        }
        text
    })
}

#[test]
fn prometheus_reads_both_formats_and_the_dashboard_has_figures() {
    let stand = Stand::new();
    stand.rule(&format!("{BANNED}/32"), "ban", "by hand");
    stand.traffic();
    let classic = Server::start(Some(&stand.pair.server)).unwrap();
    let page = http::get(&stand.pair.server, Agent::METRICS, "/metrics").unwrap();
    classic.answer(
        "/metrics",
        web::Answer::ok(page.body).header("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),
    );
    let job = format!(
        "  - job_name: classic\n    static_configs: [{{targets: ['{}'], labels: {{node: classic}}}}]\n",
        classic.address()
    );
    let Some(prometheus) = Prometheus::start(&stand, &job) else {
        return missing("prometheus", "prometheus");
    };
    for job in ["weir", "classic"] {
        prometheus.wait_for(&format!("count_over_time(up{{job=\"{job}\"}}[1m]) > 3"));
        assert_eq!(
            prometheus.query(&format!("up{{job=\"{job}\"}} == 1")).unwrap().len(),
            1,
            "{job} is not read"
        );
    }
    // The same series, whichever format they came in.
    let differs = "group by (__name__) ({__name__=~\"weir_.+\",job=\"weir\"}) unless \
                   group by (__name__) ({__name__=~\"weir_.+\",job=\"classic\"})";
    assert_eq!(prometheus.query(differs).unwrap(), Vec::<Value>::new());
    let drops = "sum by (job) (weir_packets_total{verdict=\"drop\",reason=\"feed\"}) == 50";
    assert_eq!(prometheus.query(drops).unwrap().len(), 2);
    let buckets = "count by (le) (weir_l7_decision_seconds_bucket) != 2";
    assert_eq!(prometheus.query(buckets).unwrap(), Vec::<Value>::new(), "bounds have other names");

    stand.traffic();
    prometheus.wait_for("rate(weir_packets_total{job=\"weir\",verdict=\"drop\"}[1m]) > 0");
    let mut empty = Vec::new();
    for (panel, expression) in names::expressions() {
        let expression = expression.replace("$__rate_interval", "1m").replace("$node", "here");
        let expression = expression.replace("$interface", ".*");
        match prometheus.query(&expression) {
            Ok(rows) if rows.is_empty() => empty.push(panel),
            Ok(_) => {}
            Err(error) => panic!("{panel}: {expression}: {error}"),
        }
    }
    let panels: Vec<String> = names::expressions().into_iter().map(|(panel, _)| panel).collect();
    for panel in ESSENTIAL {
        assert!(panels.iter().any(|known| known == panel), "no panel {panel}");
        // One expression of several may have nothing to tell.
        let all = panels.iter().filter(|known| *known == panel).count();
        let none = empty.iter().filter(|known| *known == panel).count();
        assert!(none < all, "panel {panel} is empty");
    }
}

#[test]
fn an_alert_goes_from_the_agent_over_prometheus_to_alertmanager() {
    let stand = Stand::new();
    let Some(alertmanager) = Program::find("prometheus-alertmanager") else {
        return missing("alertmanager", "prometheus-alertmanager");
    };
    lay_over(&stand.pair.server, "usr/share").unwrap();
    let directory = tempfile::Builder::new().prefix("alertmanager-").tempdir().unwrap();
    let config = directory.path().join("alertmanager.yml");
    fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", directory.path().display()),
        format!("--web.listen-address={ALERTMANAGER}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let arguments = arguments.each_ref().map(String::as_str);
    let _alertmanager =
        Program::start(&stand.pair.server, &alertmanager, &arguments, directory.path(), Some(ALERTMANAGER))
            .unwrap();
    let Some(prometheus) = Prometheus::start(&stand, "") else { return missing("alert", "prometheus") };
    prometheus.wait_for("up{job=\"weir\"} == 1");
    // The fleet of this agent is never there. The list is, and then most of it is gone.
    stand.agent.write("bad.netset", list(1)).unwrap();
    for name in ["WeirFleetAway", "WeirFeedHeld"] {
        prometheus.wait_for(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}"));
        let alert = wait_for_alert(&stand.pair.server, name);
        let runbook = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
        assert_eq!(runbook, format!("docs/runbook.md#{}", name.to_lowercase()));
        assert_eq!(alert["labels"]["node"], "here");
    }
    // What is well does not fire.
    assert_eq!(
        prometheus.query("ALERTS{alertname=~\"WeirDown|WeirInterfaceNotAttached\"}").unwrap().len(),
        0
    );
}

fn wait_for_alert(namespace: &Namespace, name: &str) -> Value {
    let deadline = Instant::now() + patience::seconds(SECONDS);
    loop {
        let alerts = http::get(namespace, ALERTMANAGER, "/api/v2/alerts").unwrap().json();
        let known = alerts.as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == name);
        if let Some(alert) = known {
            return alert.clone();
        }
        assert!(Instant::now() < deadline, "no {name} in {alerts}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn promtool_tests_the_alert_rules() {
    let Some(promtool) = Program::find("promtool") else { return missing("promtool", "promtool") };
    let namespace = Namespace::new().unwrap();
    let run = |words: &[&str], directory: &Path| {
        let output = Program::command(&namespace, &promtool, words).current_dir(directory).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {words:?}: {said}");
    };
    let directory: PathBuf = deploy("prometheus");
    run(&["check", "rules", "alerts.yaml"], &directory);
    run(&["test", "rules", "alerts_test.yaml"], &directory);
    run(&["check", "config", "prometheus.yaml"], &directory);
}
