//! What somebody has changed behind the agent's back is found and mended.

use std::time::{Duration, Instant};

use weir_common::map::Map;

use super::App;
use crate::{
    audit::{Actor, What},
    notify::Kind,
    policy::seal::Drift,
    telemetry::metrics::Metrics,
};

/// How often rules are compared.
const RULES: Duration = Duration::from_secs(10);
/// How long it takes after a mend until somebody is looked for again: a policy is published anew each
/// time, and that costs what it costs.
const REST: Duration = Duration::from_secs(5);

/// What `weir unload` means for an agent that runs.
pub(super) const UNLOADED: &str = "nothing is enforced until weir is restarted";

/// When what is looked at next.
#[derive(Debug)]
pub(super) struct Patrol {
    /// Tables and settings.
    pub(super) next: Instant,
    rules: Instant,
    /// Somebody has unloaded all of it, which is for good: maps that nobody sees are no use to anybody.
    pub(super) gone: bool,
    /// What is in force is not what it should be, and could not be published anew.
    owed: bool,
}

impl Default for Patrol {
    fn default() -> Self {
        let now = Instant::now();
        Self { next: now, rules: now + RULES, gone: false, owed: false }
    }
}

impl App {
    /// Looks at a piece of what the kernel judges by, and mends it.
    pub(super) fn patrol(&mut self, metrics: &Metrics) {
        // What was unloaded is nobody's any more.
        if self.unloaded(metrics) {
            self.patrol.next = Instant::now() + REST;
            return;
        }
        let (found, pause) = self.datapath.look();
        self.patrol.next = Instant::now() + if found.is_empty() { pause } else { REST };
        let in_force =
            |drift: &Drift| drift.generation.is_some_and(|generation| self.datapath.is_in_force(generation));
        let publish = self.patrol.owed || found.iter().any(in_force);
        for Drift { map, .. } in found {
            self.tell_of_drift(metrics, Some(map));
        }
        if publish {
            let published = self.put_in_force(metrics, false);
            self.patrol.owed = published.is_err();
            if let Err(error) = published {
                self.patrol.next = Instant::now() + REST;
                tracing::error!(%error, "the policy cannot be published anew, so what was changed stays for now");
            }
        }
        if self.patrol.rules <= Instant::now() {
            self.patrol.rules = Instant::now() + RULES;
            self.mend_rules(metrics);
        }
    }

    /// Tells whether all of it was unloaded, once also to everybody else.
    pub(super) fn unloaded(&mut self, metrics: &Metrics) -> bool {
        let gone = !self.places.pins.exist();
        if gone && !std::mem::replace(&mut self.patrol.gone, true) {
            tracing::error!("unloaded by somebody else: {UNLOADED}");
            self.audit.note(Actor::Agent, What::Unloaded { detached: Vec::new() });
            self.interfaces.clear();
            self.show(metrics);
        }
        gone
    }

    fn mend_rules(&self, metrics: &Metrics) {
        match self.rules.mend(self.datapath.memory()) {
            Ok(0) => {}
            Ok(rules) => {
                tracing::error!(rules, "rules were changed behind the agent's back");
                self.tell_of_drift(metrics, Some(Map::Overlay));
            }
            Err(error) => tracing::error!(%error, "cannot put back rules"),
        }
    }

    /// Says that something was changed; nothing: a link.
    pub(super) fn tell_of_drift(&self, metrics: &Metrics, what: Option<Map>) {
        let name = what.map_or("link", Map::name);
        metrics.drift.count(what);
        tracing::error!(what = name, "changed behind the agent's back; it is mended");
        let text = format!(
            "{name} was changed behind the agent's back, and has been mended; who else writes to the kernel's maps?"
        );
        self.notifier.happened(Kind::Drift, text);
    }
}
