use std::{collections::HashSet, fmt::Display, path::PathBuf, str::FromStr};

use ipnet::IpNet;
use serde_saphyr::Location;

use crate::config::{Prefix, error::Problem, raw::Text};

const NAME_MAX: usize = 64;

/// Collects problems.
#[derive(Default)]
pub(in crate::config) struct Check {
    pub(in crate::config) problems: Vec<Problem>,
}

impl Check {
    pub(in crate::config) fn problem(&mut self, at: Location, field: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            line: at.line(),
            column: at.column(),
            field: field.to_owned(),
            message: message.into(),
        });
    }

    pub(in crate::config) fn parse<T: FromStr<Err: Display>>(
        &mut self,
        field: &str,
        text: &Text,
    ) -> Option<T> {
        match text.value.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(text.referenced, field, format!("`{}`: {error}", text.value));
                None
            }
        }
    }

    /// A name that metrics can carry, used once.
    pub(in crate::config) fn name(&mut self, field: &str, text: &Text, seen: &mut HashSet<String>) -> String {
        let name = &text.value;
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(valid) {
            let message = format!("`{name}` is no name: 1 to {NAME_MAX} letters, digits, - _ and .");
            self.problem(text.referenced, field, message);
        } else if !seen.insert(name.clone()) {
            self.problem(text.referenced, field, format!("`{name}` occurs twice"));
        }
        name.clone()
    }

    /// An absolute path of a file.
    pub(in crate::config) fn path(&mut self, field: &str, text: &Text) -> PathBuf {
        let path = PathBuf::from(&text.value);
        if !path.is_absolute() || path.file_name().is_none() {
            let message = format!("`{}` is not absolute; write the whole path of a file, from /", text.value);
            self.problem(text.referenced, field, message);
        }
        path
    }

    fn prefix(&mut self, field: &str, text: &Text) -> Option<IpNet> {
        self.parse(field, text).map(|Prefix(prefix)| prefix)
    }

    pub(in crate::config) fn prefixes(&mut self, field: &str, texts: &[Text]) -> Vec<IpNet> {
        let prefix = |(i, text)| self.prefix(&format!("{field}[{i}]"), text);
        texts.iter().enumerate().filter_map(prefix).collect()
    }
}
