use serde::Deserialize;

use crate::config::validate::check::Check;

/// Who is told of what happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notify {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {}

pub(super) fn validate(_check: &mut Check, Raw {}: Raw) -> Notify {
    Notify {}
}
