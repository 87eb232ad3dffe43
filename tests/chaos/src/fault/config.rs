//! Configurations that are none: refused with file, line and field, and the policy in force stays.

use anyhow::{Result, ensure};
use weir_tests::control::Control;

use crate::stand::Stand;

/// A mistake: what stands in the configuration, what somebody writes instead, a word of the message.
const MISTAKES: [(&str, &str, &str); 6] = [
    ("enforce: enforce", "enforce: maybe", "maybe"),
    ("tables:", "colour: red\ntables:", "colour"),
    ("service: https", "service: htps", "htps"),
    ("allow: [", "allow: [192.0.2.1/24, ", "192.0.2.0/24"),
    ("rate: 50/s", "rate: 50/fortnight", "limits[0].packets.rate"),
    ("feeds:", "feeds: [", "weir.yaml:"),
];

fn mistake(stand: &mut Stand) -> (String, &'static str, &'static str) {
    let (from, to, word) = MISTAKES[stand.random.usize(..MISTAKES.len())];
    (stand.config(Some("auto")).replacen(from, to, 1), to, word)
}

pub(super) fn reloaded(stand: &mut Stand) -> Result<String> {
    let (text, what, word) = mistake(stand);
    let log = stand.log_end();
    stand.agent.configure(&text)?;
    stand.reload("refused")?;
    stand.wait_for_log(log, word)?;
    ensure!(stand.log_from(log).contains("weir.yaml:"), "no place: {}", stand.log_from(log));
    stand.wait("the alert", |metrics, _| {
        metrics.count("weir_alerts", &[("kind", "configuration_refused")]) == 1
    })?;
    stand.unchanged()?;
    let agent = stand.agent.weir(&["check"])?;
    ensure!(agent.status.code() == Some(64), "weir check finds nothing: {}", agent.status);
    Ok(what.replace('\n', " "))
}

pub(super) fn applied(stand: &mut Stand) -> Result<String> {
    let (text, what, word) = mistake(stand);
    let versions =
        |stand: &Stand| Control::connect(&stand.agent.socket())?.request("GET", "/v1/policies", "");
    let before = versions(stand)?;
    let body = serde_json::json!({ "text": text }).to_string();
    let (status, answer) = Control::connect(&stand.agent.socket())?.request("POST", "/v1/policies", &body)?;
    let word = if word == "weir.yaml:" { "\"line\"" } else { word };
    ensure!(status == 422 && answer.contains(word), "not refused with its place: {status} {answer}");
    ensure!(versions(stand)? == before, "a version was made of what is none");
    stand.unchanged()?;
    Ok(what.replace('\n', " "))
}
