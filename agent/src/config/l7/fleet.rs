use serde::Deserialize;

use crate::config::validate::check::Check;

/// Other gateways, and what is shared with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {}

pub(super) fn validate(_check: &mut Check, Raw {}: Raw) -> Fleet {
    Fleet {}
}
