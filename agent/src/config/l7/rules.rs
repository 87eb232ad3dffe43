use std::{collections::HashSet, time::Duration};

use crate::config::spanned::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::{Enforce, Lasts, raw::Text, validate::check::Check},
    decision::{Rule, Verdict, rules::Condition},
};

/// Rules that may be named: each is looked at for every request.
const RULES_MAX: usize = 256;
/// A score beyond this says nothing more.
const SCORE_MAX: f64 = 1000.0;

/// A condition, and what follows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Its name, in reasons and metrics.
    #[schemars(extend("x-type" = "name"))]
    name: Text,
    /// A condition in CEL on `request` and `source`.
    #[schemars(extend("x-type" = "condition"))]
    when: Text,
    /// What follows; without it the score counts.
    then: Option<Then>,
    /// What it adds to the risk of a request.
    #[schemars(extend("x-type" = "number", "x-unit" = "risk", "minimum" = -1000, "maximum" = 1000))]
    score: Option<Spanned<f64>>,
    /// Of a rule that refuses: when the client may come again.
    #[schemars(extend("x-type" = "time"))]
    retry_after: Option<Text>,
    /// `shadow` only tells what it would do.
    #[serde(default = "enforced")]
    enforce: Enforce,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Then {
    /// The request passes.
    Allow,
    /// It is challenged.
    Challenge,
    /// It may come again later.
    Throttle,
    /// It is refused.
    Deny,
}

fn enforced() -> Enforce {
    Enforce::Enforce
}

pub(super) fn validate(check: &mut Check, raw: &[Raw]) -> Vec<Rule> {
    let mut names = HashSet::new();
    if let Some(rule) = raw.get(RULES_MAX) {
        check.problem(rule.name.referenced, "l7.rules", format!("more than {RULES_MAX}"));
    }
    let rules = raw.iter().enumerate().take(RULES_MAX);
    rules.filter_map(|(i, raw)| rule(check, &format!("l7.rules[{i}]"), raw, &mut names)).collect()
}

fn rule(check: &mut Check, field: &str, raw: &Raw, names: &mut HashSet<String>) -> Option<Rule> {
    let name = check.name(&format!("{field}.name"), &raw.name, names);
    if raw.then.is_none() && raw.score.is_none() {
        let message = "has neither `then` nor `score`: write `then: deny` or `score: 10`";
        check.problem(raw.name.referenced, field, message);
    }
    let score = raw.score.as_ref().map_or(0.0, |score| {
        if !(-SCORE_MAX..=SCORE_MAX).contains(&score.value) {
            let message = format!("`{}` is not between -{SCORE_MAX} and {SCORE_MAX}", score.value);
            check.problem(score.referenced, &format!("{field}.score"), message);
        }
        score.value
    });
    let retry_after = retry_after(check, field, raw);
    let when = match Condition::compile(raw.when.value.trim()) {
        Ok(when) => when,
        Err(error) => {
            let message = format!("`{}`: {error}", raw.when.value.trim());
            check.problem(raw.when.referenced, &format!("{field}.when"), message);
            return None;
        }
    };
    let then = raw.then.map(|then| match then {
        Then::Allow => Verdict::Allow,
        Then::Challenge => Verdict::Challenge,
        Then::Throttle => Verdict::Throttle,
        Then::Deny => Verdict::Deny,
    });
    Some(Rule { name: name.into(), when, then, score, retry_after, shadow: raw.enforce.is_shadow() })
}

fn retry_after(check: &mut Check, field: &str, raw: &Raw) -> Option<Duration> {
    let text = raw.retry_after.as_ref()?;
    let field = format!("{field}.retry_after");
    if !matches!(raw.then, Some(Then::Challenge | Then::Throttle | Then::Deny)) {
        check.problem(text.referenced, &field, "is for a rule that refuses: write `then: throttle`");
    }
    let Lasts(time) = check.parse(&field, text)?;
    if time.is_none() {
        check.problem(text.referenced, &field, "`forever` is no time to come again; leave it out");
    }
    time
}
