//! Which tests a kernel has to pass.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::sh;

/// The package whose tests run: those that need a kernel.
const PACKAGE: &str = "weir-tests";

/// Words in the names of tests, or whole titles, and the first kernel that has what these are about.
/// Any other test runs on every kernel.
const NEEDS: [(&str, (u32, u32)); 1] = [("tcx", (6, 6))];

/// Test programs about files, people and other programs: to these one kernel is like another, and an
/// emulated machine takes an hour for them. They run where they are asked for by name.
const ELSEWHERE: [&str; 12] = [
    "api",
    "audit",
    "chaos",
    "cli",
    "container",
    "feeds",
    "feeds_formats",
    "l7",
    "observe",
    "package",
    "replay",
    "streams",
];
/// What is in those and runs here all the same, since the clock of the machine is nobody else's.
const HERE: &str = "feeds time::";

/// A test: a program, and the name by which it knows the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// Name of the program.
    pub(super) binary: String,
    /// Name of the test in it.
    pub(super) name: String,
}

/// What was built.
#[derive(Debug)]
pub(super) struct Programs {
    /// The agent.
    pub(super) agent: PathBuf,
    /// Test programs with their names.
    pub(super) tests: Vec<(String, PathBuf)>,
}

impl Test {
    /// Returns its name for people, and for the filter.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.binary, self.name)
    }

    /// Tells whether a kernel makes a difference to it.
    fn is_of_the_kernel(&self) -> bool {
        !ELSEWHERE.contains(&&*self.binary) || self.title().starts_with(HERE)
    }

    /// Returns the first kernel that has what it is about, if that is not in all.
    pub(super) fn needs(&self) -> Option<(u32, u32)> {
        let title = self.title();
        let is_about = |what| title == what || self.name.split(['_', ':']).any(|word| word == what);
        NEEDS.iter().find(|(what, _)| is_about(*what)).map(|(_, since)| *since)
    }

    /// Returns what is said of it where it does not run.
    pub(super) fn needs_text(&self) -> String {
        self.needs().map_or_else(String::new, |(major, minor)| format!("needs {major}.{minor}"))
    }
}

/// Builds the agent and the tests, together: see `test::run`.
pub(super) fn build() -> Result<Programs> {
    let words = ["build", "--locked", "--workspace", "--bins", "--tests"];
    let mut command = sh::command("cargo");
    command.args(words).args(["--message-format", "json-render-diagnostics"]);
    let messages = sh::text(&mut command)?;
    let artifacts: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let agent = artifacts.iter().find_map(|artifact| program(artifact, "bin", "weir", "agent"));
    let tests = artifacts.iter().filter_map(|artifact| {
        let name = artifact["target"]["name"].as_str()?;
        Some((name.to_owned(), program(artifact, "test", name, "tests")?))
    });
    Ok(Programs { agent: agent.context("cargo has built no agent")?, tests: tests.collect() })
}

/// Returns the executable of an artifact of this kind and name, if it is that and of this folder.
fn program(artifact: &Value, kind: &str, name: &str, folder: &str) -> Option<PathBuf> {
    let target = &artifact["target"];
    let manifest = Path::new(artifact["manifest_path"].as_str()?);
    let matches = target["kind"][0] == kind
        && target["name"] == name
        && manifest.parent() == Some(&sh::root().join(folder))
        // The agent as such, not its unit tests.
        && (kind == "test" || artifact["profile"]["test"] == false);
    matches.then(|| artifact["executable"].as_str().map(PathBuf::from)).flatten()
}

/// Returns the tests in the programs whose title has one of the words; if there are none, all that a
/// kernel can fail.
pub(super) fn select(programs: &Programs, words: &[String]) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for (binary, path) in &programs.tests {
        let list = |ignored: &[&str]| {
            let mut command = sh::command(&path.to_string_lossy());
            command.args(["--list", "--format", "terse"]).args(ignored);
            sh::output(&mut command).with_context(|| format!("{} does not list its tests", path.display()))
        };
        let ignored = names(&list(&["--ignored"])?);
        let all = names(&list(&[])?).into_iter().filter(|name| !ignored.contains(name));
        tests.extend(all.map(|name| Test { binary: binary.clone(), name }));
    }
    let is_asked_for = |test: &Test| words.iter().any(|word| test.title().contains(word.as_str()));
    let wanted = |test: &Test| if words.is_empty() { test.is_of_the_kernel() } else { is_asked_for(test) };
    tests.retain(wanted);
    ensure!(!tests.is_empty(), "no test of {PACKAGE} is called {}", words.join(" or "));
    Ok(tests)
}

/// Returns the names in what a test program lists.
fn names(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_tests() {
        assert_eq!(names("kernel: test\nsub::native: test\nspeed: bench\n"), ["kernel", "sub::native"]);
    }

    #[test]
    fn a_test_of_something_new_is_told_by_its_name() {
        let test = |name: &str| Test { binary: "attach".to_owned(), name: name.to_owned() };
        assert_eq!(test("auto_takes_tcx_at_last").needs(), Some((6, 6)));
        assert_eq!(test("tcx::drops").needs_text(), "needs 6.6");
        assert_eq!(test("native").needs(), None);
        assert_eq!(test("tcxlike").needs(), None);
    }

    #[test]
    fn a_kernel_runs_what_it_can_fail() {
        let test = |binary: &str, name: &str| Test { binary: binary.to_owned(), name: name.to_owned() };
        assert!(test("verdict", "native").is_of_the_kernel());
        assert!(test("feeds", "time::whoever_sets_the_clock_ends_nothing").is_of_the_kernel());
        assert!(!test("feeds", "web::redirects").is_of_the_kernel());
    }

    #[test]
    fn artifact_is_found_by_kind_name_and_folder() {
        let artifact = |kind: &str, name: &str, folder: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": sh::root().join(folder).join("Cargo.toml"),
                "target": {"kind": [kind], "name": name},
                "profile": {"test": kind == "test"},
                "executable": "/target/it",
            })
        };
        let found = |artifact: &Value| program(artifact, "test", "verdict", "tests");
        assert_eq!(found(&artifact("test", "verdict", "tests")), Some(PathBuf::from("/target/it")));
        assert_eq!(found(&artifact("test", "verdict", "common")), None);
        assert_eq!(found(&artifact("lib", "verdict", "tests")), None);
        assert_eq!(found(&serde_json::json!({"reason": "build-finished"})), None);
    }
}
