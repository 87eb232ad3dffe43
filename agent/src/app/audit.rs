//! What the audit is told of policies and rules.

use std::{sync::Arc, time::Instant};

use ipnet::IpNet;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{App, AppError, policy::Refusal};
use crate::{
    api::{Ask, Problem},
    audit::{self, Actor, Entry, What, entry::Policy, feeds},
    config::ConfigError,
    output::counted,
    proxy::judge::Judge,
    record::Record,
    telemetry::metrics::Metrics,
};

impl App {
    /// Starts what writes the audit, and tells of the start.
    pub(super) fn keep_audit(
        &self,
        entries: mpsc::Receiver<Entry>,
        (judge, record): (&Judge, &Record),
        tasks: &mut JoinSet<()>,
        stopped: &watch::Receiver<()>,
    ) -> Result<(), AppError> {
        self.audit.register(&judge.counts().registry).map_err(AppError::Metrics)?;
        self.audit.note(Actor::Agent, What::Started);
        self.policy_in_force(Actor::Agent, record);
        self.feeds.iter().for_each(|feed| feeds::first(&self.audit, feed));
        let (settings, notifier) = (&self.config.audit, self.notifier.clone());
        let place = (&*self.places.state, Arc::clone(&self.naming));
        audit::spawn(settings, place, &self.audit, entries, notifier, tasks, stopped.clone());
        Ok(())
    }

    /// Tells of a configuration that was put in force, or refused: where it is wrong, and not what stands
    /// there, which may be a secret.
    pub(super) fn note_policy(&self, metrics: &Metrics, actor: Actor, refusal: Option<&Refusal>) {
        match refusal {
            None => self.policy_in_force(actor, &metrics.view().record),
            Some(Refusal::Config(error)) => self.policy_refused(actor, places(error)),
            Some(refusal) => self.policy_refused(actor, refusal.to_string()),
        }
    }

    /// Tells of a policy that could not be put in force.
    pub(super) fn policy_refused(&self, actor: Actor, why: String) {
        self.audit.note(actor, What::PolicyRefused { file: self.places.config.clone(), why });
    }

    /// Tells what was gathered of streams, where it is time.
    pub(super) fn tell_audit_of_streams(&mut self) {
        self.feed_notes.tell(&self.audit, Instant::now());
    }

    fn policy_in_force(&self, actor: Actor, record: &Record) {
        let entries = |name: &str| {
            record.tables.iter().find(|table| table.name == name).map_or(0, |table| table.entries)
        };
        // Of a text that could not be kept there is none.
        let version = self.versions.newest().filter(|newest| newest.digest == self.digest);
        let policy = Policy {
            file: self.places.config.clone(),
            digest: Some(self.digest.to_string()),
            version: version.map(|version| version.number),
            returns_to: version.and_then(|version| version.returns_to),
            publication: record.publication,
            enforce: record.enforce,
            entries: [entries("ipv4"), entries("ipv6")],
            feeds: record.feeds.len(),
            limits: record.limits.len(),
        };
        self.audit.note(actor, What::Policy(policy));
    }
}

/// Returns where a configuration is wrong.
fn places(error: &ConfigError) -> String {
    let places = error.problems.iter().take(3).map(|problem| match &*problem.field {
        "" => format!("line {}", problem.line),
        field => format!("line {} ({field})", problem.line),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    format!("{} in the configuration, at {places}", counted(error.problems.len(), "problem"))
}

/// What somebody wants to change, in case it is refused.
pub(super) struct About {
    action: &'static str,
    rules: usize,
    first: Option<IpNet>,
}

impl About {
    /// Returns nothing for what changes nothing.
    pub(super) fn of(ask: &Ask) -> Option<Self> {
        match ask {
            Ask::Set(wanted) => {
                let first = wanted.first();
                let action = first.map_or("none", |wanted| wanted.action.as_str());
                Some(Self { action, rules: wanted.len(), first: first.map(|wanted| wanted.prefix) })
            }
            Ask::Lift(prefix) | Ask::Withdraw(prefix, _) => {
                Some(Self { action: "lift", rules: 1, first: Some(*prefix) })
            }
            Ask::List | Ask::Get(_) => None,
        }
    }

    pub(super) fn refused(self, problem: &Problem) -> What {
        let Self { action, rules, first } = self;
        What::RulesRefused {
            action,
            rules,
            first,
            status: problem.status.as_u16(),
            why: problem.error.clone(),
        }
    }
}
