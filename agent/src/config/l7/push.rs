use serde::Deserialize;

use crate::config::validate::check::Check;

/// What is written for proxies that decide by themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Push {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {}

pub(super) fn validate(_check: &mut Check, Raw {}: Raw) -> Push {
    Push {}
}
