//! The record of what was changed, by whom.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bytes, raw::Text, spanned::Spanned, validate::check::Check};

const SIZE: u64 = 64 << 20;
const SIZE_MIN: u64 = 64 << 10;
const SIZE_MAX: u64 = 16 << 30;
const FILES: u32 = 16;
const FILES_MAX: u32 = 10_000;

/// The section `audit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file; nothing: `audit.jsonl` in the state directory.
    pub path: Option<PathBuf>,
    /// From so many bytes on a file gives way to a new one.
    pub size: u64,
    /// Files that are kept, the one being written included.
    pub files: u32,
    /// How addresses are written.
    pub addresses: Addresses,
}

/// How addresses are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// As they are.
    #[default]
    Plain,
    /// As names that a key makes of them.
    Pseudonymous {
        /// The /24 or /48 around an address stands beside its name.
        prefixes: bool,
    },
}

impl Default for Audit {
    fn default() -> Self {
        Self { path: None, size: SIZE, files: FILES, addresses: Addresses::default() }
    }
}

/// The record of what was changed, when and by whom.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Its file; default: `audit.jsonl` in the state directory.
    #[schemars(extend("x-type" = "path"))]
    path: Option<Text>,
    /// How large a file becomes before the next begins.
    #[schemars(extend("x-type" = "size", "default" = "64MiB", "x-least" = "64KiB", "x-most" = "16GiB"))]
    size: Option<Text>,
    /// How many files are kept, the one being written included.
    #[schemars(extend("x-type" = "number", "x-unit" = "files", "default" = 16, "minimum" = 2, "maximum" = 10_000))]
    files: Option<Spanned<u32>>,
    /// Addresses as they are, or names that a key makes of them: here, in logs, in events and on the status
    /// page.
    #[schemars(extend("default" = "plain"))]
    addresses: RawAddresses,
    /// With `pseudonymous`: the /24 or /48 around an address stands beside its name.
    prefixes: bool,
}

/// How addresses are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawAddresses {
    /// As they are.
    #[default]
    Plain,
    /// Names that a key makes of them.
    Pseudonymous,
}

pub(super) fn validate(check: &mut Check, raw: &Raw) -> Audit {
    let size = raw.size.as_ref().map_or(SIZE, |text| {
        let size = check.parse::<Bytes>("audit.size", text).map_or(SIZE, |Bytes(size)| size);
        if !(SIZE_MIN..=SIZE_MAX).contains(&size) {
            let message = format!("`{}` is not in 64KiB to 16GiB", text.value);
            check.problem(text.referenced, "audit.size", message);
        }
        size
    });
    let files = raw.files.as_ref().map_or(FILES, |files| {
        if !(2..=FILES_MAX).contains(&files.value) {
            let message = format!("{} is not in 2 to {FILES_MAX}", files.value);
            check.problem(files.referenced, "audit.files", message);
        }
        files.value
    });
    Audit {
        path: raw.path.as_ref().map(|text| check.path("audit.path", text)),
        size,
        files,
        addresses: match raw.addresses {
            RawAddresses::Plain => Addresses::Plain,
            RawAddresses::Pseudonymous => Addresses::Pseudonymous { prefixes: raw.prefixes },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Audit, String> {
        let raw = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let mut check = Check::default();
        let audit = validate(&mut check, &raw);
        let problems: Vec<String> =
            check.problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        if problems.is_empty() { Ok(audit) } else { Err(problems.join("\n")) }
    }

    #[test]
    fn nothing_need_be_said() {
        assert_eq!(parse("{}").unwrap(), Audit::default());
        let audit = parse("{path: /var/log/weir/audit.jsonl, size: 1MiB, files: 4, addresses: pseudonymous}");
        let audit = audit.unwrap();
        assert_eq!((audit.size, audit.files), (1 << 20, 4));
        assert_eq!(audit.addresses, Addresses::Pseudonymous { prefixes: false });
    }

    #[test]
    fn errors_name_field_value_and_mend() {
        for (yaml, wants) in [
            ("{path: audit.jsonl}", &["audit.path", "`audit.jsonl`", "whole path"][..]),
            ("{size: 1k}", &["audit.size", "`1k`", "64KiB"]),
            ("{files: 1}", &["audit.files", "2 to"]),
            ("{addresses: none}", &["none", "pseudonymous"]),
            ("{colour: red}", &["colour"]),
        ] {
            let error = parse(yaml).unwrap_err();
            for want in wants {
                assert!(error.contains(want), "no `{want}` in {error}");
            }
        }
    }
}
