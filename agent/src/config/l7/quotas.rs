use serde::Deserialize;

use crate::config::validate::check::Check;

/// Quotas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quotas {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {}

pub(super) fn validate(_check: &mut Check, Raw {}: Raw) -> Quotas {
    Quotas {}
}
