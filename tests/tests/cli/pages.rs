use std::process::Command;

use serde_json::Value;
use weir_tests::{agent::binary, namespace::Pair};

use crate::{has, started, terminal::Terminal, text};

fn weir(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary().unwrap()).args(arguments).output().unwrap();
    (output.status.code(), text(&output))
}

#[test]
fn the_schema_completions_and_pages_are_printed() {
    let (code, schema) = weir(&["schema"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(code, Some(0));
    assert!(schema["properties"]["interfaces"]["description"].is_string(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        has(&weir(&["completions", shell]).1, &["explain", "unban"]);
    }
    has(&weir(&["man"]).1, &[".TH weir 1", "Exit codes"]);
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(weir(&["man", directory.path().to_str().unwrap()]).0, Some(0));
    for page in ["weir.1", "weir-ban.1", "weir-top.1", "weir-feeds-accept.1"] {
        assert!(directory.path().join(page).exists(), "{page}");
    }
    let (code, said) = weir(&["man", "/nowhere"]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn commands_end_as_they_say() {
    for (arguments, code, want) in [
        (&["explain", "--help"][..], 0, "Examples:"),
        (&["--help"], 0, "Exit codes:"),
        (&["explain", "not-an-address"], 64, "invalid value"),
        (&["expalin", "192.0.2.7"], 64, "explain"),
        (&["events", "--limit", "5000"], 64, "4096"),
        (&["top", "-d", "0"], 64, "100ms"),
        (&["top", "-o", "json"], 64, "--once"),
        (&["events", "--socket", "/nowhere/weir.sock"], 1, "no agent answers at /nowhere/weir.sock"),
        (&["check", "--config", "/nowhere/weir.yaml"], 64, "/nowhere/weir.yaml"),
    ] {
        let (ended, said) = weir(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    // To a pipe there is none.
    assert!(!text(&agent.weir(&["unban", "192.0.2.7"]).unwrap()).contains('\u{1b}'));
    for (variable, coloured) in [(None, true), (Some(("NO_COLOR", "1")), false)] {
        let mut command = agent.command(&["unban", "192.0.2.7"]);
        command.envs(variable);
        let mut terminal = Terminal::run(command, 24, 100);
        terminal.ended_as_before();
        terminal.wait_for("has no rule");
        assert_eq!(terminal.starts_bold(), coloured, "{variable:?}");
    }
}
