//! What is wrong with a configuration file, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

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

    pub(super) fn from_yaml(file: &Path, text: &str, error: &serde_saphyr::Error) -> Self {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let field = error_field(error);
        let message = message_of(error);
        Self::new(file, text, vec![Problem { line, column, field, message }])
    }
}

/// The first line of what the parser says, without the location, which stands in front already.
fn message_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    text.trim().trim_end_matches([',', ':']).to_owned()
}

/// The field that the parser names between backticks, if it does.
fn error_field(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let mut parts = text.split('`');
    match (parts.next(), parts.next()) {
        (Some(before), Some(name)) if before.contains("field") => name.to_owned(),
        _ => String::new(),
    }
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
