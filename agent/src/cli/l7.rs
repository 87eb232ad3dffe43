//! `weir l7`: what rules say, without an agent.

/// Cases: a request, its source, and what is to become of it.
mod cases;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, ConfigFile, EXIT_FAILURE, Output};
use crate::{
    config::Config,
    decision::{Decision, Policy, before_quotas, conclude},
    output,
};
use cases::Case;
pub(super) use cases::{CasesError, read as read_cases};

#[derive(Debug, Subcommand)]
pub(super) enum L7 {
    /// Test rules: does what becomes of requests agree with what is expected?
    Test(Test),
}

#[derive(Args, Debug)]
pub(super) struct Test {
    /// File with cases; config/l7-cases.yaml is an example.
    #[arg(value_name = "FILE")]
    cases: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    output: Output,
}

/// What came of all cases.
#[derive(Debug, Serialize)]
struct Tested {
    /// All came as expected.
    ok: bool,
    /// The cases.
    cases: Vec<Row>,
}

/// What came of a case.
#[derive(Debug, Serialize)]
struct Row {
    /// Its name.
    name: String,
    /// It came as expected.
    ok: bool,
    /// What became of the request.
    verdict: &'static str,
    /// Why.
    reason: String,
    /// What would have become of it, were that not in shadow mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<String>,
    /// How suspicious it is.
    score: f64,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected: Vec<String>,
}

impl L7 {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let Self::Test(test) = self;
        let cases = cases::load(&test.cases)?;
        let tested = run(&Config::load(&test.config.config)?, &cases);
        output::print(test.output.output, &tested, text);
        Ok(if tested.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
    }
}

fn run(config: &Config, cases: &[Case]) -> Tested {
    let policy = Policy::new(config);
    let rows: Vec<Row> = cases.iter().map(|case| row(&policy, case)).collect();
    Tested { ok: rows.iter().all(|row| row.ok), cases: rows }
}

/// Quotas are left out: what is used of them is not a matter of rules.
fn row(policy: &Policy, case: &Case) -> Row {
    let decision = conclude(policy, before_quotas(policy, &case.request(), &case.source()), &[]);
    let expected = case.differences(&decision);
    let Decision { verdict, why, would, score, .. } = decision;
    Row {
        name: case.name.clone(),
        ok: expected.is_empty(),
        verdict: verdict.as_str(),
        reason: why.to_string(),
        would: would.map(|(verdict, why)| format!("{} {why}", verdict.as_str())),
        score,
        expected,
    }
}

fn text(tested: &Tested) -> String {
    let rows = tested.cases.iter().map(|row| {
        vec![
            row.name.clone(),
            row.verdict.to_owned(),
            row.reason.clone(),
            row.would.clone().unwrap_or_default(),
            format!("{:.0}", row.score),
            if row.ok { "ok".to_owned() } else { format!("expected {}", row.expected.join(", ")) },
        ]
    });
    let table = output::table(&["CASE", "VERDICT", "REASON", "WOULD", "SCORE", "RESULT"], rows);
    let failed = tested.cases.iter().filter(|row| !row.ok).count();
    format!("{table}\n{}, {failed} not as expected\n", output::counted(tested.cases.len(), "case"))
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use cases::fuzz;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/l7-cases.yaml");

    /// The rules that the example of cases is about, as it shows them itself.
    fn config() -> Config {
        let rules = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#| "));
        let text: String = rules.flat_map(|line| [line, "\n"]).collect();
        Config::parse(Path::new("weir.yaml"), &text).unwrap()
    }

    #[test]
    fn the_example_comes_as_expected() {
        let tested = run(&config(), &cases::parse(Path::new("l7-cases.yaml"), EXAMPLE).unwrap());
        assert!(tested.ok, "{}", text(&tested));
        assert!(tested.cases.len() >= 5);
    }

    #[test]
    fn what_comes_otherwise_is_told() {
        let other = EXAMPLE.replacen("verdict: deny", "verdict: allow", 1);
        let tested = run(&config(), &cases::parse(Path::new("l7-cases.yaml"), &other).unwrap());
        assert!(!tested.ok);
        let text = text(&tested);
        assert!(text.contains("expected verdict allow") && text.contains("1 not as expected"), "{text}");
    }

    #[test]
    fn a_wrong_file_is_an_error_with_its_line() {
        let parse = |text: &str| cases::parse(Path::new("c.yaml"), text).unwrap_err().to_string();
        let unknown =
            parse("cases: [{name: x, request: {client: 192.0.2.1, url: /}, expect: {verdict: deny}}]");
        assert!(unknown.contains("c.yaml") && unknown.contains("url"), "{unknown}");
        assert!(
            parse("cases: [{name: x, request: {client: office}, expect: {verdict: deny}}]")
                .contains("c.yaml")
        );
    }
}
