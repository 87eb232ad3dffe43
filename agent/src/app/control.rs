//! What the control API asks of the task that owns the datapath.

use std::time::{Duration, Instant, SystemTime};

use axum::http::StatusCode;
use ipnet::IpNet;
use tokio::sync::mpsc;

use super::{App, audit::About, drift::UNLOADED};
use crate::{
    api::{Answer, Ask, Job, Problem, rules::conflict},
    audit::{Actor, Done},
    datapath::rules::RuleError,
    host,
    policy::{
        List, Origin, Policy, Protected, limits,
        protect::{met, untouchable},
        warnings,
    },
    record::seconds,
    rules::{Action, Author, Profile, Rule, Wanted},
    telemetry::metrics::{Change, ChangeOutcome as Outcome, Metrics},
};

/// How often it is looked whether rules have ended, while there are any. The kernel does not wait
/// for that; this keeps the book and the prefix lengths short.
pub(super) const SWEEP: Duration = Duration::from_secs(2);
/// How long what the host says of itself is taken for the truth.
const HOST_AGE_MAX: Duration = Duration::from_secs(10);
/// Requests that are served with one write of the book.
const TOGETHER_MAX: usize = 64;
const SHADOW: &str = "the policy is in shadow mode: nothing is dropped, only counted";

/// What no ban may cut off, as of a moment.
pub(super) struct Guard {
    lists: Vec<List>,
    read: Instant,
}

impl App {
    /// Serves a request and those that wait behind it. Rules are in force before they are written,
    /// and written, once for all, before anybody is answered.
    pub(super) fn answer(&mut self, metrics: &Metrics, first: Job, jobs: &mut mpsc::Receiver<Job>) {
        let mut changed = Vec::new();
        let waiting = std::iter::from_fn(|| jobs.try_recv().ok()).take(TOGETHER_MAX - 1);
        for Job { ask, actor, reply } in std::iter::once(first).chain(waiting) {
            // Whoever has given up has been told that it was not done.
            if reply.is_closed() {
                continue;
            }
            match self.serve_one(metrics, ask, &actor) {
                Ok((change @ Some(_), answer)) => changed.push((change, answer, reply)),
                // Nobody may be there any more to be told.
                Ok((None, answer)) => _ = reply.send(Ok(answer)),
                Err(problem) => _ = reply.send(Err(problem)),
            }
        }
        if changed.is_empty() {
            return;
        }
        let unsaved = self.save_rules();
        for (change, mut answer, reply) in changed {
            let outcome = if unsaved.is_some() { Outcome::Unsaved } else { Outcome::Ok };
            if let Some(change) = change {
                metrics.rules.count(change, outcome, answer.rules.len().max(1));
            }
            answer.warnings.extend(unsaved.clone());
            _ = reply.send(Ok(answer));
        }
        self.rules_changed(metrics);
    }

    /// Tells who passes rules on.
    pub(super) fn rules_changed(&mut self, metrics: &Metrics) {
        metrics.rules.set(self.rules.counts());
        self.audit.rules(&Actor::Agent, Done::Ended, &self.rules.take_ended());
        self.bulletin.post(self.rules.iter(self.datapath.memory(), SystemTime::now()));
    }

    /// Serves a request, and notes who has changed what.
    fn serve_one(
        &mut self,
        metrics: &Metrics,
        ask: Ask,
        actor: &Actor,
    ) -> Result<(Option<Change>, Answer), Problem> {
        let about = About::of(&ask);
        let served = self.try_serve_one(metrics, ask);
        match (&served, about) {
            (Ok((Some(change), answer)), _) => {
                let done = if *change == Change::Lift { Done::Lifted } else { Done::Set };
                self.audit.rules(actor, done, &answer.rules);
            }
            (Err(problem), Some(about)) => self.audit.note(actor.clone(), about.refused(problem)),
            (Ok((None, _)) | Err(_), _) => {}
        }
        served
    }

    fn try_serve_one(&mut self, metrics: &Metrics, ask: Ask) -> Result<(Option<Change>, Answer), Problem> {
        let answer = |rules| Answer { rules, warnings: Vec::new() };
        let (memory, now) = (self.datapath.memory(), SystemTime::now());
        match ask {
            Ask::List => Ok((None, answer(self.rules.iter(memory, now).cloned().collect()))),
            Ask::Get(prefix) => {
                let rule = self.rules.iter(memory, now).find(|rule| rule.prefix == prefix);
                let rule = rule.ok_or_else(|| self.no_rule(prefix))?;
                Ok((None, answer(vec![rule.clone()])))
            }
            Ask::Set(wanted) => {
                let change = wanted.first().map_or(Change::Lift, |wanted| Change::Set(wanted.action));
                let rules = self.set_rules(wanted).inspect_err(|_| {
                    metrics.rules.count(change, Outcome::Refused, 1);
                })?;
                let warnings = self.without_effect(&rules);
                Ok((Some(change), Answer { rules, warnings }))
            }
            Ask::Lift(prefix) => {
                let rule = self.rules.get(prefix).cloned();
                if !self.rules.lift(memory, prefix).map_err(refused)? {
                    metrics.rules.count(Change::Lift, Outcome::Refused, 1);
                    return Err(self.no_rule(prefix));
                }
                Ok((Some(Change::Lift), answer(rule.into_iter().collect())))
            }
            Ask::Withdraw(prefix, by) => {
                let rule = self.rules.get(prefix).filter(|rule| rule.by == by).cloned();
                if rule.is_none() || !self.rules.lift(memory, prefix).map_err(refused)? {
                    return Ok((None, answer(Vec::new())));
                }
                Ok((Some(Change::Lift), answer(rule.into_iter().collect())))
            }
        }
    }

    fn set_rules(&mut self, mut wanted: Vec<Wanted>) -> Result<Vec<Rule>, Problem> {
        if !self.places.pins.exist() {
            return Err(Problem::new(StatusCode::CONFLICT, format!("weir was unloaded: {UNLOADED}")));
        }
        let (memory, now) = (self.datapath.memory(), SystemTime::now());
        let operators = |rule: &&Rule| rule.by == Author::Operator && rule.action == Action::Allow;
        let allowed: Vec<IpNet> =
            self.rules.iter(memory, now).filter(operators).map(|rule| rule.prefix).collect();
        let live = |rule: &&Rule| rule.left(now) != Some(Duration::ZERO);
        wanted.retain(|wanted| {
            let rule = self.rules.get(wanted.prefix).filter(live);
            let allowed = allowed.iter().any(|prefix| prefix.contains(&wanted.prefix));
            !stands(rule, allowed, wanted)
        });
        for wanted in wanted.iter().filter(|wanted| wanted.action != Action::Allow) {
            if let Some((origin, entry)) = met(wanted.prefix, self.guard().iter()) {
                let single = wanted.prefix.prefix_len() == wanted.prefix.max_prefix_len();
                return Err(conflict(wanted.prefix, entry, &origin.to_string(), &way_out(&origin, single)));
            }
        }
        self.rules.set(self.datapath.memory(), wanted, SystemTime::now()).map_err(refused)
    }

    /// Says why rules that were set change nothing.
    fn without_effect(&self, rules: &[Rule]) -> Vec<String> {
        let drops = rules.iter().any(|rule| rule.action == Action::Ban && !rule.shadow);
        let slows =
            |rule: &Rule| rule.action == Action::Throttle && rule.profile == Some(Profile::Suspicious);
        let idle = rules.iter().any(slows) && limits::suspicious_as_others(&self.config.limits);
        [(drops && self.config.enforce.is_shadow(), SHADOW), (idle, warnings::NO_SLOWER_PACE)]
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, text)| text.to_owned())
            .collect()
    }

    /// Returns the lists that no ban may meet: those of the policy in force, and the host as it is
    /// now, since addresses come and go between two policies.
    fn guard(&mut self) -> &[List] {
        let stale = self.guard.as_ref().is_none_or(|guard| guard.read.elapsed() > HOST_AGE_MAX);
        if stale {
            let protected = host::protected(&self.config);
            let policy = Policy::new(&self.config, &self.feeds, &protected, &mut self.numbers.clone());
            let lists = untouchable(&policy.lists).cloned().collect();
            self.guard = Some(Guard { lists, read: Instant::now() });
        }
        self.guard.as_ref().map_or(&[], |guard| &guard.lists)
    }

    fn no_rule(&self, prefix: IpNet) -> Problem {
        let problem = Problem::not_found("has no rule").field("prefix").value(prefix.to_string());
        let around = self.rules.iter(self.datapath.memory(), SystemTime::now());
        match around.filter(|rule| rule.prefix.contains(&prefix)).last() {
            Some(rule) => problem.mend(format!("{} around it has one", rule.prefix)),
            None => problem.mend("`weir bans` shows all"),
        }
    }

    /// Forgets what has ended, and tries again to write what could not be written.
    pub(super) fn sweep(&mut self, metrics: &Metrics) {
        self.rules.forget(self.datapath.memory(), SystemTime::now());
        _ = self.save_rules();
        self.rules_changed(metrics);
    }

    /// Returns the warning for whoever has changed something, where the book cannot be written.
    fn save_rules(&mut self) -> Option<String> {
        let result = self.rules.save();
        if let Err(error) = &result {
            // Said when it begins; the sweep tries again every other second.
            if !std::mem::replace(&mut self.rules_unsaved, true) {
                tracing::error!(%error, directory = %self.places.state.display(),
                    "cannot write bans and rules; they are in force, but will not survive a reboot");
            }
        } else if std::mem::take(&mut self.rules_unsaved) {
            tracing::info!("bans and rules are written again");
        }
        let why = result.err()?;
        Some(format!("in force, but it will not survive a reboot: {}: {why}", self.places.state.display()))
    }
}

/// Returns true where one that nobody has asked for in person does not become the rule of its prefix:
/// because an operator has decided about the prefix, or `allowed` what is around it, or a ban lasts
/// longer. Another gateway may take back what it has said itself.
fn stands(rule: Option<&Rule>, allowed: bool, wanted: &Wanted) -> bool {
    if wanted.by == Author::Operator {
        return false;
    }
    let until = wanted.lasts.map(|lasts| seconds(SystemTime::now() + lasts));
    let stands = |rule: &Rule| {
        let same = matches!(rule.by, Author::Fleet(_)) && rule.by == wanted.by;
        let lasts = rule.until.is_none_or(|end| until.is_some_and(|until| end > until));
        rule.by == Author::Operator || rule.action == Action::Ban && lasts && !rule.shadow && !same
    };
    allowed || rule.is_some_and(stands)
}

/// Says how a ban of something that meets a list is had all the same; of `single` addresses nothing is left.
fn way_out(origin: &Origin, single: bool) -> String {
    match origin {
        Origin::Allow => "take it out of `allow` first, or choose narrower prefixes".to_owned(),
        Origin::Partners => "take it out of `partners` first, or choose narrower prefixes".to_owned(),
        Origin::Feed(name) => format!("take it out of the list of feed `{name}` first"),
        Origin::Consensus(name) => format!("take it out of the lists of consensus `{name}` first"),
        Origin::Balancer => "take it out of `balancers` first, or choose narrower prefixes".to_owned(),
        Origin::Protected(Protected::TrustedProxy) => {
            "take it out of `l7.clients.trusted_proxies` first; a client behind it can be banned".to_owned()
        }
        Origin::Protected(_) if single => "it can be on no list and under no ban".to_owned(),
        Origin::Protected(_) => "choose narrower prefixes that leave it out".to_owned(),
    }
}

fn refused(error: RuleError) -> Problem {
    let status = match error {
        RuleError::Everything => StatusCode::UNPROCESSABLE_ENTITY,
        RuleError::Full | RuleError::Lengths => StatusCode::INSUFFICIENT_STORAGE,
        RuleError::Memory => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::samples;

    fn wanted(prefix: &str, by: Author, lasts: Option<u64>) -> Wanted {
        Wanted { by, lasts: lasts.map(Duration::from_secs), ..samples::wanted(prefix) }
    }

    #[test]
    fn what_an_operator_has_decided_stands() {
        let rule = |prefix: &str, action, by, until| Rule { action, until, by, ..samples::rule(prefix) };
        let far = Some(seconds(SystemTime::now()) + 3600);
        let rules = [
            rule("192.0.2.0/24", Action::Allow, Author::Operator, None),
            rule("198.51.100.7/32", Action::Throttle, Author::Operator, None),
            rule("203.0.113.1/32", Action::Ban, Author::Escalation, far),
            rule("203.0.113.2/32", Action::Ban, Author::Fleet("b".to_owned()), far),
        ];
        for (wanted, expected) in [
            (wanted("192.0.2.7/32", Author::Escalation, Some(60)), true),
            (wanted("192.0.2.7/32", Author::Operator, Some(60)), false),
            (wanted("198.51.100.7/32", Author::Escalation, Some(60)), true),
            (wanted("198.51.100.8/32", Author::Escalation, Some(60)), false),
            (wanted("203.0.113.1/32", Author::Fleet("b".to_owned()), Some(60)), true),
            (wanted("203.0.113.1/32", Author::Escalation, Some(7200)), false),
            (wanted("203.0.113.1/32", Author::Fleet("b".to_owned()), None), false),
            (wanted("203.0.113.2/32", Author::Fleet("b".to_owned()), Some(60)), false),
            (wanted("203.0.113.2/32", Author::Fleet("c".to_owned()), Some(60)), true),
        ] {
            let rule = rules.iter().find(|rule| rule.prefix == wanted.prefix);
            let allowed = rules[0].prefix.contains(&wanted.prefix);
            assert_eq!(stands(rule, allowed, &wanted), expected, "{wanted:?}");
        }
    }
}
