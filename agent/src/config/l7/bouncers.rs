use std::{collections::HashSet, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{raw::Text, validate::check::Check};

/// Who may ask at the local API; more have no place in metrics.
const BOUNCERS_MAX: usize = 64;

/// Who may ask at `l7.listen.lapi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bouncer {
    /// Its name in metrics, and the user of basic authentication.
    pub name: String,
    /// The file with its key, which it sends in `X-Api-Key`.
    pub key_file: PathBuf,
}

/// A bouncer that may ask.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Its name in metrics, and the user of basic authentication.
    #[schemars(extend("x-type" = "name"))]
    name: Text,
    /// The file with its key, a line, which it sends in `X-Api-Key`.
    #[schemars(extend("x-type" = "path"))]
    key_file: Text,
}

pub(super) fn validate(check: &mut Check, raw: &[Raw]) -> Vec<Bouncer> {
    if let Some(bouncer) = raw.get(BOUNCERS_MAX) {
        check.problem(bouncer.name.referenced, "l7.bouncers", format!("more than {BOUNCERS_MAX}"));
    }
    let mut seen = HashSet::new();
    let bouncer = |(i, raw): (usize, &Raw)| Bouncer {
        name: check.name(&format!("l7.bouncers[{i}].name"), &raw.name, &mut seen),
        key_file: check.path(&format!("l7.bouncers[{i}].key_file"), &raw.key_file),
    };
    raw.iter().enumerate().map(bouncer).collect()
}
