//! What is wrong with a configuration file, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_saphyr::Error;
use strsim::levenshtein;

use super::place::{self, Place};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// Path of the field, like `limits[0].service`; empty where the YAML itself is broken.
    pub field: String,
    /// What is wrong, with the value and the mend.
    pub message: String,
}

/// All that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
    /// The lines of the file that the problems point at.
    #[serde(skip)]
    excerpts: Vec<Option<String>>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, text: &str, problems: Vec<Problem>) -> Self {
        let line_of = |problem: &Problem| {
            let index = usize::try_from(problem.line).ok()?.checked_sub(1)?;
            text.lines().nth(index).map(|line| line.trim_end().chars().take(160).collect())
        };
        Self { file: file.to_owned(), excerpts: problems.iter().map(line_of).collect(), problems }
    }

    pub(super) fn unreadable(file: &Path, why: &str) -> Self {
        let message = format!("cannot be read: {why}");
        Self::new(file, "", vec![Problem { line: 0, column: 0, field: String::new(), message }])
    }

    /// What the reader of YAML refuses.
    pub(crate) fn from_yaml(file: &Path, text: &str, error: &serde_saphyr::Error) -> Self {
        let at = error.location();
        let (line, column) = at.map_or((0, 0), |at| (at.line(), at.column()));
        let place = at.and_then(|at| place::find(text, at)).unwrap_or_default();
        let (field, message) = told(error.without_snippet(), place);
        Self::new(file, text, vec![Problem { line, column, field, message }])
    }
}

/// Returns the field, and what is wrong with it in words of people.
#[expect(clippy::wildcard_enum_match_arm, reason = "of all others the reader says it well enough")]
fn told(error: &Error, place: Place) -> (String, String) {
    let Place { field, around, value } = place;
    let value = value.map_or("it".to_owned(), |value| format!("`{value}`"));
    let message = match error {
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is not possible{}", instead(variant, expected))
        }
        Error::SerdeUnknownField { field: name, expected, .. } => {
            let field = if field.is_empty() { name.clone() } else { field };
            return (field, format!("unknown field `{name}`{}", instead(name, expected)));
        }
        Error::SerdeMissingField { field: name, .. } => {
            // The place is that of its first neighbour, or of the settings.
            let field = place::join(&around.unwrap_or(field), name);
            return (field, format!("missing field `{name}`; add it"));
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is there twice; remove one"),
        Error::DuplicateMappingKey { key: None, .. } => "is there twice; remove one".to_owned(),
        Error::InvalidScalar { ty, .. } => format!("{value} is no {}", scalar(ty)),
        Error::Unexpected { expected: "sequence start", .. } => {
            format!("{value} is no list; write one, like [a, b]")
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            format!("{value} is not made of settings; write them like {{name: value}}")
        }
        other => {
            // The first line, without the place, which stands in front already.
            let text = other.to_string();
            let text = text.lines().next().unwrap_or_default();
            let text = text.split(" at line ").next().unwrap_or(text);
            text.trim().trim_end_matches([',', ':']).to_owned()
        }
    };
    (field, message)
}

/// Returns what a type of Rust is to people.
fn scalar(ty: &str) -> &str {
    match ty {
        "bool" => "answer; write true or false",
        "f32" | "f64" => "number",
        _ if ty.starts_with(['u', 'i']) => "whole number that is possible here",
        _ => ty,
    }
}

/// Says what is possible, and what comes nearest to what was written.
fn instead(written: &str, possible: &[&str]) -> String {
    let all = possible.join(", ");
    let close = |name: &&&str| levenshtein(written, name) <= written.chars().count().div_ceil(3);
    let nearest = possible.iter().filter(close).min_by_key(|name| levenshtein(written, name));
    let nearest = nearest.map(|name| format!("; did you mean `{name}`?"));
    format!(", expected one of {all}{}", nearest.unwrap_or_default())
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (problem, excerpt)) in self.problems.iter().zip(&self.excerpts).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if problem.line > 0 {
                write!(f, ":{}:{}", problem.line, problem.column)?;
            }
            if !problem.field.is_empty() {
                write!(f, ": {}", problem.field)?;
            }
            write!(f, ": {}", problem.message)?;
            if let Some(excerpt) = excerpt {
                write!(f, "\n  {:>4} | {excerpt}", problem.line)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const START: &str = "interfaces: [{name: eth0}]\n";

    fn problem(yaml: &str) -> (u64, String, String) {
        let error = Config::parse(Path::new("weir.yaml"), yaml).unwrap_err();
        let problem = error.problems.into_iter().next().unwrap();
        (problem.line, problem.field, problem.message)
    }

    #[test]
    fn what_the_reader_refuses_has_a_field_and_a_mend() {
        for (yaml, line, field, message) in [
            (
                "enforce: enforced\n",
                2,
                "enforce",
                "`enforced` is not possible, expected one of shadow, enforce; did you mean `enforce`?",
            ),
            ("enforce: off\n", 2, "enforce", "`off` is not possible, expected one of shadow, enforce"),
            ("enforce: shadow\nenforce: enforce\n", 3, "enforce", "`enforce` is there twice; remove one"),
            ("limits:\n- name: x\n  per: sourc\n", 4, "limits[0].per", "did you mean `source`?"),
            ("limits:\n- name: x\n  services: s\n", 4, "limits[0].services", "did you mean `service`?"),
            ("limits: [{name: x, packets: {rate: 1}}]\n", 2, "limits[0].packets.burst", "missing field"),
            ("limits: [{per: source}]\n", 2, "limits[0].name", "missing field `name`"),
            ("feeds:\n- {name: a, name: b}\n", 3, "feeds[0].name", "`name` is there twice"),
            ("events: {per_second: many}\n", 2, "events.per_second", "`many` is no whole number"),
            ("allow: 192.0.2.0/24\n", 2, "allow", "`192.0.2.0/24` is no list"),
            ("management: [a]\n", 2, "management", "it is not made of settings"),
            ("colour: red\n", 2, "colour", "unknown field `colour`, expected one of"),
        ] {
            let (at, of, said) = problem(&format!("{START}{yaml}"));
            assert_eq!((at, of.as_str()), (line, field), "{yaml}: {said}");
            assert!(said.contains(message), "{yaml}: {said}");
        }
        assert_eq!(problem("enforce: shadow\n").1, "interfaces");
        assert!(!problem("enforce: off\n").2.contains("did you mean"));
    }
}
