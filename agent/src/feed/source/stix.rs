//! Indicators of STIX 2.1 (OASIS, 10 June 2021), of which those count that are lists of addresses.

/// Which addresses a pattern names.
mod pattern;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use serde::Deserialize;
use serde_json::Value;

pub use self::pattern::{NotAList, networks};
use super::{
    FetchError, Fetched,
    intake::{Intake, Left},
};
use crate::{config::Guards, feed::ledger::Entry};

/// An indicator. Producers leave out what is required, and version 2.0 has no `pattern_type`.
#[derive(Debug, Deserialize)]
struct Indicator {
    id: String,
    modified: Option<String>,
    created: Option<String>,
    pattern: Option<String>,
    pattern_type: Option<String>,
    valid_from: Option<String>,
    valid_until: Option<String>,
    #[serde(default)]
    revoked: bool,
    confidence: Option<u8>,
}

/// Indicators, each in its newest version.
#[derive(Clone, Debug)]
pub(super) struct Indicators {
    min_confidence: u8,
    intake: Intake,
    /// The newest version that was seen of each, also of those that do not count.
    versions: HashMap<Arc<str>, SystemTime>,
    /// Those whose time has not come, by that.
    waiting: BTreeMap<(SystemTime, Arc<str>), Entry>,
}

impl Indicators {
    pub(super) fn new(min_confidence: u8, guards: Guards) -> Self {
        Self {
            min_confidence,
            intake: Intake::new(guards),
            versions: HashMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Returns how many objects were looked at and are remembered.
    pub(super) fn seen(&self) -> usize {
        self.versions.len()
    }

    /// Takes an object in, if it is an indicator. Returns true if what is in force is not what it was.
    pub(super) fn object(&mut self, object: Value, now: SystemTime) -> bool {
        if object.get("type").and_then(Value::as_str) != Some("indicator") {
            return false;
        }
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        match serde_json::from_value::<Indicator>(object) {
            Ok(indicator) => self.indicator(&indicator, now),
            Err(_) => self.intake.leave_out(id, Left::Malformed),
        }
    }

    /// Puts in force what has waited for its time, and lets go of what is over. Returns true if there
    /// was some.
    pub(super) fn pass(&mut self, now: SystemTime) -> bool {
        let mut changed = false;
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now {
                break;
            }
            let ((_, id), entry) = first.remove_entry();
            changed |= self.intake.set(id, entry);
        }
        changed | self.intake.forget(now)
    }

    /// Returns when the next of those comes that wait.
    pub(super) fn next(&self) -> Option<SystemTime> {
        self.waiting.keys().next().map(|(begins, _)| *begins)
    }

    pub(super) fn fetched(&self) -> Result<Fetched, FetchError> {
        self.intake.fetched()
    }

    fn indicator(&mut self, indicator: &Indicator, now: SystemTime) -> bool {
        let id: Arc<str> = indicator.id.as_str().into();
        let version =
            [&indicator.modified, &indicator.created].into_iter().flatten().find_map(|text| time(text));
        let version = version.unwrap_or(SystemTime::UNIX_EPOCH);
        // What was seen before comes again where pages overlap.
        if self.versions.get(&id).is_some_and(|known| *known >= version && version > SystemTime::UNIX_EPOCH) {
            return false;
        }
        self.versions.insert(Arc::clone(&id), version);
        self.waiting.retain(|(_, waiting), _| *waiting != id);
        if indicator.revoked {
            return self.intake.remove(&id);
        }
        let low = |confidence| confidence < self.min_confidence;
        let other = |kind: &String| kind != "stix";
        if indicator.confidence.is_some_and(low) || indicator.pattern_type.as_ref().is_some_and(other) {
            return self.intake.leave_out(id, Left::Unselected);
        }
        let Ok(prefixes) = networks(indicator.pattern.as_deref().unwrap_or_default()) else {
            return self.intake.leave_out(id, Left::Unselected);
        };
        let (begins, ends) =
            (indicator.valid_from.as_deref().map(time), indicator.valid_until.as_deref().map(time));
        // A time that nobody can read may mean that it is over.
        if begins == Some(None) || ends == Some(None) {
            return self.intake.leave_out(id, Left::Malformed);
        }
        let (begins, ends) = (begins.flatten(), ends.flatten());
        let entry = Entry { prefixes: prefixes.into(), throttled: false, ends };
        if ends.is_some_and(|ends| ends <= now) {
            return self.intake.remove(&id);
        }
        match begins {
            Some(begins) if begins > now => {
                let removed = self.intake.remove(&id);
                self.waiting.insert((begins, id), entry);
                removed
            }
            _ => self.intake.set(id, entry),
        }
    }
}

/// Reads a time of STIX: RFC 3339 in UTC.
fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text.trim()).ok()
}

/// Any objects of any collection, twice, and any text as a pattern and as a time.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        _ = pattern::networks(text);
        _ = time(text);
    }
    let Ok(Value::Array(objects)) = serde_json::from_slice(input) else { return };
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let mut indicators = Indicators::new(0, Guards::default());
    for object in objects.iter().chain(&objects) {
        indicators.object(object.clone(), now);
        indicators.pass(now);
    }
    _ = indicators.fetched();
}

#[cfg(test)]
mod tests;
