//! `weir policy test`: the example that is shipped, judged natively and by the kernel, and what the
//! program says of files that are wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{path::Path, process::Output};

use serde_json::Value;
use weir_tests::{
    agent::{Agent, binary},
    namespace::Namespace,
};

/// The example, and the configuration that it shows.
fn example() -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policy-cases.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("#| "));
    let config = lines.flat_map(|line| [line, "\n"]).collect();
    (text, config)
}

/// An agent that does not run: a directory with the example and its configuration.
fn place() -> Agent {
    let agent = Agent::new(binary().unwrap(), &Namespace::new().unwrap()).unwrap();
    let (cases, config) = example();
    agent.write("cases.yaml", cases).unwrap();
    agent.configure(&config).unwrap();
    agent
}

fn test(agent: &Agent, arguments: &[&str]) -> Output {
    let cases = agent.directory().join("cases.yaml");
    agent.weir(&[&["policy", "test", cases.to_str().unwrap()], arguments].concat()).unwrap()
}

fn all_come_as_expected(arguments: &[&str], judge: &str) {
    let agent = place();
    let output = test(&agent, arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let tested: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&tested["ok"], &tested["judge"]), (&true.into(), &judge.into()), "{text}");
    assert!(tested["cases"].as_array().unwrap().len() > 15);
}

#[test]
fn natively() {
    all_come_as_expected(&["-o", "json"], "native");
}

/// The program is loaded for the test: nothing is pinned, and nothing stays.
#[test]
fn by_the_kernel() {
    all_come_as_expected(&["-o", "json", "--kernel"], "kernel");
}

#[test]
fn what_comes_otherwise_fails() {
    let agent = place();
    let (cases, _) = example();
    agent.write("cases.yaml", cases.replacen("verdict: drop", "verdict: pass", 1)).unwrap();
    let output = test(&agent, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("cases.yaml:") && text.contains("expected verdict pass; got verdict drop"),
        "{text}"
    );
}

#[test]
fn the_file_can_name_its_configuration() {
    let agent = place();
    let (cases, config) = example();
    agent.write("other.yaml", config).unwrap();
    agent.configure("interfaces: []\n").unwrap();
    assert_eq!(test(&agent, &[]).status.code(), Some(64));
    agent.write("cases.yaml", format!("config: other.yaml\n{cases}")).unwrap();
    assert!(test(&agent, &[]).status.success());
}

#[test]
fn a_wrong_file_is_wrong_usage() {
    let agent = place();
    agent
        .write(
            "cases.yaml",
            "cases:\n  - {name: x, packet: {src: 192.0.2.1, proto: carp}, expect: {verdict: drop}}\n",
        )
        .unwrap();
    let output = test(&agent, &[]);
    let says = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(says.contains("cases.yaml: line 2: cases[0]: packet.proto: `carp`"), "{says}");
    assert_eq!(agent.weir(&["policy", "test", "/missing.yaml"]).unwrap().status.code(), Some(64));
}
