use serde::Deserialize;

use crate::config::validate::check::Check;

/// Offences, and what they lead to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Escalation {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {}

pub(super) fn validate(_check: &mut Check, Raw {}: Raw) -> Escalation {
    Escalation {}
}
