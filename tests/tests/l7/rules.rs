use std::{fs, process::Command};

use weir_tests::agent;

const CASES: &str = include_str!("../../../config/l7-cases.yaml");

/// Runs `weir l7 test`, and returns its exit code and what it prints.
fn test(cases: &str, config: &str, more: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let (cases_at, config_at) = (directory.path().join("cases.yaml"), directory.path().join("weir.yaml"));
    fs::write(&cases_at, cases).unwrap();
    fs::write(&config_at, config).unwrap();
    let mut command = Command::new(agent::binary().unwrap());
    command.args(["l7", "test"]).arg(&cases_at).arg("--config").arg(&config_at).args(more);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn cases_are_tested_without_an_agent() {
    let config: String =
        CASES.lines().filter_map(|line| line.strip_prefix("#| ")).flat_map(|line| [line, "\n"]).collect();
    let (code, text) = test(CASES, &config, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("8 cases, 0 not as expected"), "{text}");
    let (code, text) = test(&CASES.replace("score: 20}", "score: 30}"), &config, &["-o", "json"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("\"expected\": [\n        \"score 30\"") && text.contains("\"ok\": false"),
        "{text}"
    );
    let (code, text) = test("cases: [{}]", &config, &[]);
    assert_eq!(code, Some(64), "{text}");
    let (code, text) = test(CASES, &config.replace("source.over", "source.busy"), &[]);
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("`source` has no `busy`"), "{text}");
}
