//! No alert and no panel asks for what nobody counts, and no alert sends anybody to a heading that is
//! not there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;
use weir_tests::metrics::Metrics;

use crate::stand::{BANNED, Stand};

/// Metrics that Prometheus makes itself.
const OTHERS: [&str; 1] = ["up"];
/// What is on the page of an agent only once something has gone wrong that is hard to bring about. It is
/// in the catalogue all the same.
const RARE: [&str; 6] = [
    "weir_alerts",
    "weir_escalation_bans_total",
    "weir_notify_deliveries_total",
    "weir_l7_rule_errors_total",
    "weir_l7_would_total",
    "weir_l7_feedback_total",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).with_context(|| path.as_ref().display().to_string()).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&read(deploy("grafana/weir.json"))).unwrap()
}

/// Returns all expressions of the dashboard, with the titles of their panels.
pub(crate) fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            all.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    all
}

/// Returns the names of metrics in a text of expressions.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| {
        (word.starts_with("weir_") || word.starts_with("process_")) && !word.ends_with('_') || *word == "up"
    });
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

/// Returns lines of the rules that have this key, without it.
fn values(rules: &str, key: &str) -> Vec<String> {
    let lines = rules.lines().map(|line| line.trim().trim_start_matches("- "));
    lines
        .filter_map(|line| line.strip_prefix(key))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .collect()
}

#[test]
fn what_is_asked_for_is_counted() {
    let stand = Stand::new();
    stand.rule(&format!("{BANNED}/32"), "ban", "by hand");
    stand.traffic();
    let (status, page) = stand.agent.get("/metrics").unwrap();
    assert_eq!(status, 200);
    let live: BTreeSet<String> = Metrics::parse(&page)
        .unwrap()
        .iter()
        .map(|(series, _)| series.name.strip_suffix("_bucket").unwrap_or(&series.name).to_owned())
        .collect();
    let catalogue = read(root().join("docs/metrics.md"));
    // Of the rules only expressions: texts name commands and settings.
    let rules = read(deploy("prometheus/alerts.yaml"));
    let rules: String = rules
        .lines()
        .filter(|line| {
            !["summary:", "description:", "runbook_url:", "#", "- name:"]
                .iter()
                .any(|key| line.trim().starts_with(key))
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let panels =
        expressions().into_iter().fold(String::new(), |text, (_, expression)| text + &expression + "\n");
    for name in metrics_in(&(rules + &panels)) {
        let known = catalogue.contains(&format!("| `{name}` |"));
        if OTHERS.contains(&&*name) {
            continue;
        }
        assert!(known, "{name} is not in docs/metrics.md");
        assert!(live.contains(&name) || RARE.contains(&&*name), "{name} is not on the page of an agent");
    }
    // And the other way round: what is on the page is in the catalogue.
    for name in &live {
        let name = name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count")).unwrap_or(name);
        assert!(catalogue.contains(&format!("| `{name}` |")), "{name} is not in docs/metrics.md");
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = read(deploy("prometheus/alerts.yaml"));
    let alerts = values(&rules, "alert:");
    assert!(alerts.len() > 20, "{alerts:?}");
    let runbook = read(root().join("docs/runbook.md"));
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .collect();
    for (key, each) in [("labels: {severity:", 1), ("summary:", 1), ("description:", 1), ("runbook_url:", 1)]
    {
        assert_eq!(values(&rules, key).len(), alerts.len() * each, "{key}");
    }
    for (alert, url) in alerts.iter().zip(values(&rules, "runbook_url:")) {
        assert_eq!(url, format!("docs/runbook.md#{}", alert.to_lowercase()));
        assert!(anchors.contains(&alert.to_lowercase()), "docs/runbook.md has no heading {alert}");
        assert!(
            read(deploy("prometheus/alerts_test.yaml")).contains(&format!("alertname: {alert}\n")),
            "{alert}"
        );
    }
    // Links within the runbook lead somewhere.
    for link in runbook.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(link), "docs/runbook.md has no heading #{link}");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "weir");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "node", "interface"]);
    let mut numbers = BTreeSet::new();
    let mut rows = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "two panels have one number");
        if panel["type"] == "row" {
            rows.push(panel["title"].as_str().unwrap());
        } else {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    assert_eq!(rows, ["Overview", "Feeds", "Limits", "Requests (L7)", "Agent"]);
}
