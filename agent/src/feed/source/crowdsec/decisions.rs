use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use ipnet::IpNet;
use serde::Deserialize;

use super::{
    super::{
        FetchError, Fetched,
        intake::{Intake, Left, network},
    },
    duration::Span,
};
use crate::{
    config::{self, Guards},
    feed::ledger::Entry,
};

/// What the server answers. Lists may be null.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    new: Option<Vec<Decision>>,
    deleted: Option<Vec<Decision>>,
}

/// A decision. Servers leave out what they call required.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Decision {
    id: Option<i64>,
    origin: Option<String>,
    r#type: Option<String>,
    scope: Option<String>,
    value: Option<String>,
    duration: Option<String>,
    scenario: Option<String>,
    simulated: Option<bool>,
}

impl Answer {
    /// Reads an answer; says why it is none. Nothing in it is required, so that any JSON would do: one to
    /// the question for `all` has to speak of decisions at least.
    pub(super) fn parse(body: &[u8], all: bool) -> Result<Self, String> {
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("no JSON object".to_owned());
        }
        let answer: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if answer.new.is_none() && answer.deleted.is_none() {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(body).map_err(|error| error.to_string())?;
            let silent = !object.contains_key("new") && !object.contains_key("deleted");
            if silent && (all || !object.is_empty()) {
                return Err("neither `new` nor `deleted` is in it".to_owned());
            }
        }
        Ok(answer)
    }
}

/// What is made of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// The ledger is not what it was.
    pub(super) changed: bool,
    /// A decision ended, and others name the same: some servers then mean them as well.
    pub(super) doubt: bool,
}

/// All decisions that are in force.
#[derive(Debug)]
pub(super) struct Decisions {
    origins: Vec<String>,
    scenarios: Vec<String>,
    guards: Guards,
    intake: Intake,
    /// Who decided, by the number of the decision.
    origin_of: HashMap<Arc<str>, u16>,
    origin_names: Vec<String>,
}

impl Decisions {
    pub(super) fn new(config: &config::Crowdsec, guards: Guards) -> Self {
        let lower = |words: &[String]| words.iter().map(|word| word.to_lowercase()).collect();
        Self {
            origins: lower(&config.origins),
            scenarios: lower(&config.scenarios_containing),
            guards,
            intake: Intake::new(guards),
            origin_of: HashMap::new(),
            origin_names: Vec::new(),
        }
    }

    /// Takes an answer in. If it is `whole`, there is nothing but what it has.
    pub(super) fn apply(&mut self, answer: Answer, whole: bool, now: SystemTime) -> Applied {
        let mut changed = false;
        let mut ended = HashSet::new();
        if whole {
            self.intake = Intake::new(self.guards);
            self.origin_of.clear();
        } else {
            // First: a new decision may say what an ended one said.
            changed |= self.delete(&answer.deleted.unwrap_or_default(), &mut ended);
        }
        for decision in answer.new.unwrap_or_default() {
            changed |= self.add(&decision, now);
        }
        changed |= self.intake.forget(now);
        let doubt = !ended.is_empty() && self.names_any(&ended);
        if changed {
            let ledger = self.intake.ledger();
            self.origin_of.retain(|id, _| ledger.get(id).is_some());
        }
        Applied { changed, doubt }
    }

    pub(super) fn fetched(&self) -> Result<Fetched, FetchError> {
        self.intake.fetched()
    }

    /// Returns how many addresses and ranges are listed by whose decision, IPv4 and IPv6.
    pub(super) fn by_origin(&self) -> BTreeMap<(&str, bool), u64> {
        let mut counts = BTreeMap::new();
        for (id, entry) in self.intake.ledger().iter() {
            let origin =
                self.origin_of.get(id).and_then(|number| self.origin_names.get(usize::from(*number)));
            let v6 = entry.prefixes.iter().all(|prefix| matches!(prefix, IpNet::V6(_)));
            *counts.entry((origin.map_or("", String::as_str), v6)).or_default() += 1;
        }
        counts
    }

    fn add(&mut self, decision: &Decision, now: SystemTime) -> bool {
        let id = decision.id();
        if !self.is_selected(decision) {
            return self.intake.leave_out(id, Left::Unselected);
        }
        let (Some(prefix), Some(span)) = (decision.prefix(), decision.span()) else {
            return self.intake.leave_out(id, Left::Malformed);
        };
        let Span::Ahead(lasts) = span else { return self.intake.remove(&id) };
        let Some(throttled) = decision.throttled() else {
            return self.intake.leave_out(id, Left::Unselected);
        };
        let number = self.origin_number(decision.origin.as_deref().unwrap_or_default());
        self.origin_of.insert(Arc::clone(&id), number);
        self.intake.set(id, Entry { prefixes: [prefix].into(), throttled, ends: now.checked_add(lasts) })
    }

    /// Removes what has ended. Those with a number go by it, others by what they say; `ended` gets what
    /// the former named.
    fn delete(&mut self, deleted: &[Decision], ended: &mut HashSet<(IpNet, bool)>) -> bool {
        let mut changed = false;
        let mut by_value = HashSet::new();
        for decision in deleted {
            let said = decision.prefix().zip(decision.throttled());
            if decision.has_id() {
                changed |= self.intake.remove(&decision.id());
                ended.extend(said);
            } else {
                by_value.extend(said);
            }
        }
        if !by_value.is_empty() {
            let gone = |entry: &Entry| {
                entry.prefixes.iter().any(|prefix| by_value.contains(&(*prefix, entry.throttled)))
            };
            let ids = self.intake.ledger().iter().filter(|(_, entry)| gone(entry));
            let ids: Vec<String> = ids.map(|(id, _)| id.to_owned()).collect();
            for id in ids {
                changed |= self.intake.remove(&id);
            }
        }
        changed
    }

    fn names_any(&self, said: &HashSet<(IpNet, bool)>) -> bool {
        let names =
            |entry: &Entry| entry.prefixes.iter().any(|prefix| said.contains(&(*prefix, entry.throttled)));
        self.intake.ledger().iter().any(|(_, entry)| names(entry))
    }

    fn is_selected(&self, decision: &Decision) -> bool {
        let lower = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
        let (origin, scenario) = (lower(&decision.origin), lower(&decision.scenario));
        !decision.simulated.unwrap_or_default()
            && matches!(lower(&decision.scope).as_str(), "ip" | "range")
            && (self.origins.is_empty() || self.origins.contains(&origin))
            && (self.scenarios.is_empty() || self.scenarios.iter().any(|word| scenario.contains(word)))
    }

    fn origin_number(&mut self, origin: &str) -> u16 {
        let known = self.origin_names.iter().position(|known| known == origin);
        let place = known.unwrap_or_else(|| {
            // Nobody has so many; a server that invents them does not fill the memory.
            if self.origin_names.len() < usize::from(u8::MAX) {
                self.origin_names.push(origin.chars().take(100).collect());
            }
            self.origin_names.len().saturating_sub(1)
        });
        u16::try_from(place).unwrap_or_default()
    }
}

impl Decision {
    fn has_id(&self) -> bool {
        self.id.is_some_and(|id| id != 0)
    }

    /// Returns what it is called: its number, or else all that it says.
    fn id(&self) -> Arc<str> {
        match self.id {
            Some(id) if id != 0 => id.to_string().into(),
            _ => {
                let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
                let parts = [&self.scope, &self.value, &self.r#type, &self.origin, &self.scenario].map(text);
                parts.join("|").into()
            }
        }
    }

    fn prefix(&self) -> Option<IpNet> {
        network(self.value.as_deref()?)
    }

    fn span(&self) -> Option<Span> {
        Span::parse(self.duration.as_deref()?)
    }

    /// Returns whether it slows down rather than bans; nothing: neither.
    fn throttled(&self) -> Option<bool> {
        match self.r#type.as_deref()?.to_lowercase().as_str() {
            "ban" => Some(false),
            "captcha" | "throttle" => Some(true),
            _ => None,
        }
    }
}

/// Any answer: whole, then again as news, which changes nothing that it does not take back.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    let guards = Guards::default();
    let mut decisions = Decisions {
        origins: Vec::new(),
        scenarios: Vec::new(),
        guards,
        intake: Intake::new(guards),
        origin_of: HashMap::new(),
        origin_names: Vec::new(),
    };
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for whole in [true, false] {
        if let Ok(answer) = Answer::parse(input, whole) {
            decisions.apply(answer, whole, now);
        }
    }
    _ = (decisions.fetched(), decisions.by_origin());
}

#[cfg(test)]
mod tests;
