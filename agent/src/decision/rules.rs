//! Rules: conditions on a request and its source, and what follows where one holds.

/// A condition, in the Common Expression Language.
mod condition;
/// What conditions can look at.
mod facts;
/// What conditions may say.
mod inspect;

use std::{sync::Arc, time::Duration};

pub use condition::{BYTES_MAX, Condition};
use facts::Facts;

use super::{Decision, Request, Source, Verdict, Why};

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, also in metrics.
    pub name: Arc<str>,
    /// When it matches.
    pub when: Condition,
    /// What becomes of requests that match; nothing: it only adds to the score.
    pub then: Option<Verdict>,
    /// What it adds to the score of requests that match.
    pub score: f64,
    /// What a refused client is told of when to come again.
    pub retry_after: Option<Duration>,
    /// It decides nothing and adds nothing; what it would decide is told.
    pub shadow: bool,
}

/// What rules say of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What the first rule that decides says.
    pub decision: Option<Decision>,
    /// What the first rule in shadow mode would have decided, before another did.
    pub would: Option<(Verdict, Why)>,
    /// The sum of scores, up to the rule that decides.
    pub score: f64,
    /// Rules that could not be evaluated; they do not match.
    pub failed: Vec<Arc<str>>,
}

/// Asks rules about a request, in their order, until one decides.
#[must_use]
pub fn evaluate(rules: &[Rule], request: &Request, source: &Source) -> Found {
    let mut found = Found::default();
    if rules.is_empty() {
        return found;
    }
    let facts = Facts { request, source };
    for rule in rules {
        match rule.when.holds(&facts) {
            Ok(false) => {}
            Err(_) => found.failed.push(Arc::clone(&rule.name)),
            Ok(true) if rule.shadow => {
                let would = rule.then.map(|verdict| (verdict, Why::Rule(Arc::clone(&rule.name))));
                found.would = found.would.or(would);
            }
            Ok(true) => {
                found.score += rule.score;
                if let Some(verdict) = rule.then {
                    let why = Why::Rule(Arc::clone(&rule.name));
                    found.decision =
                        Some(Decision { retry_after: rule.retry_after, ..Decision::of(verdict, why) });
                    break;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
