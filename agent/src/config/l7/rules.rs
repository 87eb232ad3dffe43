use serde::Deserialize;

use crate::config::validate::check::Check;

/// Rules and routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {}

pub(super) fn validate(_check: &mut Check, _rules: Vec<RawRule>, _routes: Vec<RawRoute>) -> Rules {
    Rules {}
}
