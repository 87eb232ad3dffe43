//! An entry in the words of the Open Cybersecurity Schema Framework (OCSF 1.5.0, schema.ocsf.io).
//! What the schema has no place for stands in `unmapped`.

/// Rules and decisions: network activity under a security control.
mod network;

use std::{fmt, fs, sync::Arc, time::SystemTime};

use serde_json::{Map, Value, json};

use super::entry::{Actor, Entry, Feed, FeedChange, Own, Policy, What};
use crate::{digest::Digest, feed::Listing, naming::Naming};

const VERSION: &str = "1.5.0";
const SUCCESS: u8 = 1;
const FAILURE: u8 = 2;
/// An activity that the schema has no number for.
const OTHER: u8 = 99;
const START: u8 = 3;
const STOP: u8 = 4;
const DISABLE: u8 = 7;

/// Classes of events, with the number of their category in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    EventLog = 1008,
    EntityManagement = 3004,
    NetworkActivity = 4001,
    ApplicationLifecycle = 6002,
    ApiActivity = 6003,
}

/// How much attention something asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
}

/// What entries are written with.
#[derive(Debug)]
pub(super) struct Context {
    host: String,
    pub(super) names: Arc<Naming>,
}

impl Context {
    pub(super) fn new(names: Arc<Naming>) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { host: host.trim().to_owned(), names }
    }

    /// Writes an entry: an object for each line that it takes.
    pub(super) fn write(&self, entry: &Entry, mut line: impl FnMut(String)) {
        match &entry.what {
            What::Started => line(self.finish(entry, lifecycle("agent.start", START, "Start"))),
            What::Stopped => line(self.finish(entry, lifecycle("agent.stop", STOP, "Stop"))),
            What::Unloaded { detached } => line(self.finish(entry, unloaded(detached))),
            What::Policy(policy) => line(self.finish(entry, in_force(policy))),
            What::PolicyRefused { file, why } => {
                let mut event = Event::new(Class::EntityManagement, "policy.refused", (3, "Update"));
                event.severity = Severity::Medium;
                event.message = format!("the policy was refused, the one before is in force: {why}");
                event.entity("policy", &file.to_string_lossy(), None);
                event.failed(why);
                line(self.finish(entry, event));
            }
            What::Feed(feed) => line(self.finish(entry, news(feed))),
            What::Rules(done, rules) => {
                for rule in rules {
                    line(self.finish(entry, network::rule(*done, rule, &self.names)));
                }
            }
            What::RulesRefused { action, rules, first, status, why } => {
                let why = if self.names.hides() { "see its status" } else { why };
                let event = network::refused(action, *rules, *first, (*status, why), &self.names);
                line(self.finish(entry, event));
            }
            What::Forbidden { operation } => {
                let mut event = Event::new(Class::ApiActivity, "api.forbidden", (OTHER, "Other"));
                event.severity = Severity::Low;
                event.message = format!("{operation}: not permitted");
                event.set("api", json!({"operation": operation}));
                event.set("src_endpoint", json!({"name": entry.actor.to_string()}));
                event.failed("not permitted");
                line(self.finish(entry, event));
            }
            What::Decision(decision) => {
                line(self.finish(entry, network::decision(decision, &self.names)));
            }
            What::Own(own) => line(self.finish(entry, about_itself(own))),
        }
    }

    fn finish(&self, entry: &Entry, event: Event) -> String {
        let Event { class, code, activity, severity, message, mut fields, unmapped, status, controls } =
            event;
        let uid = class as u16;
        let profiles: &[&str] = if controls { &["host", "security_control"] } else { &["host"] };
        for (name, value) in [
            ("class_uid", json!(uid)),
            ("category_uid", json!(uid / 1000)),
            ("activity_id", json!(activity.0)),
            ("activity_name", json!(activity.1)),
            ("type_uid", json!(u32::from(uid) * 100 + u32::from(activity.0))),
            ("severity_id", json!(severity as u8)),
            ("status_id", json!(status)),
            ("time", json!(milliseconds(entry.at))),
            ("message", json!(message)),
            ("actor", who(&entry.actor)),
            ("device", json!({"hostname": self.host, "type_id": 1})),
            (
                "metadata",
                json!({
                    "version": VERSION, "profiles": profiles, "event_code": code, "log_name": "audit",
                    "product": {"name": "weir", "vendor_name": "weir", "version": env!("CARGO_PKG_VERSION")},
                }),
            ),
        ] {
            fields.insert(name.to_owned(), value);
        }
        if !unmapped.is_empty() {
            fields.insert("unmapped".to_owned(), Value::Object(unmapped));
        }
        Value::Object(fields).to_string()
    }
}

/// An event in the making.
#[derive(Debug)]
struct Event {
    class: Class,
    /// What it is in weir's own words.
    code: &'static str,
    activity: (u8, &'static str),
    severity: Severity,
    status: u8,
    message: String,
    /// It has the profile `security_control`.
    controls: bool,
    fields: Map<String, Value>,
    unmapped: Map<String, Value>,
}

impl Event {
    fn new(class: Class, code: &'static str, activity: (u8, &'static str)) -> Self {
        let (fields, unmapped) = (Map::new(), Map::new());
        let (severity, message) = (Severity::Informational, String::new());
        Self { class, code, activity, severity, status: SUCCESS, message, controls: false, fields, unmapped }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    fn unmapped(&mut self, name: &str, value: Value) {
        self.unmapped.insert(name.to_owned(), value);
    }

    fn entity(&mut self, kind: &str, name: &str, digest: Option<&str>) {
        self.set("entity", json!({"type": kind, "name": name}));
        if let (Some(digest), Some(Value::Object(entity))) = (digest, self.fields.get_mut("entity")) {
            entity.insert("uid".to_owned(), json!(digest));
        }
    }

    fn failed(&mut self, why: impl fmt::Display) {
        self.status = FAILURE;
        self.set("status_detail", json!(why.to_string()));
    }
}

fn lifecycle(code: &'static str, activity: u8, name: &'static str) -> Event {
    let mut event = Event::new(Class::ApplicationLifecycle, code, (activity, name));
    event.message = String::from(match activity {
        STOP => "the agent ends; the kernel enforces on",
        DISABLE => "unloaded: everything passes",
        _ => "the agent has started",
    });
    let version = env!("CARGO_PKG_VERSION");
    event.set("app", json!({"name": "weir", "vendor_name": "weir", "version": version}));
    event
}

fn unloaded(detached: &[String]) -> Event {
    let mut event = lifecycle("agent.unload", DISABLE, "Disable");
    event.severity = Severity::Medium;
    if !detached.is_empty() {
        event.message = format!("unloaded: everything passes on {}", detached.join(", "));
        event.unmapped("detached", json!(detached));
    }
    event
}

fn in_force(policy: &Policy) -> Event {
    let Policy { file, digest, version, returns_to, publication, enforce, entries: [v4, v6], feeds, limits } =
        policy;
    let mut event = Event::new(Class::EntityManagement, "policy.in_force", (3, "Update"));
    let number = version.map(|number| format!(" version {number}")).unwrap_or_default();
    event.message =
        format!("policy{number} in force, publication {publication}: {v4} IPv4 and {v6} IPv6 entries");
    event.entity("policy", &file.to_string_lossy(), digest.as_deref());
    event.unmapped("version", json!(version));
    if let Some(number) = returns_to {
        event.unmapped("returns_to", json!(number));
    }
    event.unmapped("publication", json!(publication));
    event.unmapped("enforce", json!(enforce));
    event.unmapped("entries", json!({"ipv4": v4, "ipv6": v6}));
    event.unmapped("feeds", json!(feeds));
    event.unmapped("limits", json!(limits));
    event
}

fn news(feed: &Feed) -> Event {
    let Feed { name, change, listing } = feed;
    let (code, activity) = match change {
        FeedChange::Changed { .. } => ("feed.changed", (3, "Update")),
        FeedChange::Refused { held: true, .. } => ("feed.held", (3, "Update")),
        FeedChange::Refused { held: false, .. } => ("feed.refused", (3, "Update")),
        FeedChange::Accepted => ("feed.accepted", (8, "Enable")),
        FeedChange::Expired => ("feed.expired", (11, "Deactivate")),
        FeedChange::Removed => ("feed.removed", (4, "Delete")),
    };
    let mut event = Event::new(Class::EntityManagement, code, activity);
    match change {
        FeedChange::Changed { added, removed, changes } => {
            event.message = format!("feed {name}: {added} entries came, {removed} went");
            event.unmapped("added", json!(added));
            event.unmapped("removed", json!(removed));
            event.unmapped("changes", json!(changes));
        }
        FeedChange::Refused { cause, held } => {
            let waits = if *held { "held back" } else { "refused" };
            event.message =
                format!("feed {name}: the newest list is {waits} ({cause}), the last good one stays");
            event.severity = Severity::Medium;
            event.failed(cause);
        }
        FeedChange::Accepted => {
            event.message = format!("feed {name}: the list that was held back is accepted");
        }
        FeedChange::Expired => {
            event.message = format!("feed {name}: not confirmed in time, so none of it is in force");
            event.severity = Severity::Medium;
        }
        FeedChange::Removed => event.message = format!("feed {name} is no longer in the configuration"),
    }
    if matches!(change, FeedChange::Accepted | FeedChange::Removed) {
        event.entity("feed", name, None);
    } else {
        event.entity("feed", name, Some(&digest(listing)));
        let (entries, throttled) = (&listing.entries, &listing.throttled);
        let count = json!({
            "ipv4": entries.v4.len() + throttled.v4.len(), "ipv6": entries.v6.len() + throttled.v6.len(),
        });
        event.unmapped("entries", count);
    }
    event
}

/// Returns what tells one list from another: SHA-256 over its entries in their order.
fn digest(listing: &Listing) -> String {
    let mut text = Vec::with_capacity(listing.len() * 8);
    for entries in [&listing.entries, &listing.throttled] {
        for (network, length) in &entries.v4 {
            text.extend_from_slice(&network.to_be_bytes());
            text.push(*length);
        }
        text.push(b'\n');
        for (network, length) in &entries.v6 {
            text.extend_from_slice(&network.high.to_be_bytes());
            text.extend_from_slice(&network.low.to_be_bytes());
            text.push(*length);
        }
        text.push(b'\n');
    }
    Digest::of(&text).to_string()
}

fn about_itself(own: &Own) -> Event {
    match own {
        Own::Opened { before, after, kept_from } => {
            let activity = if after.seq == 0 { (6, "Start") } else { (5, "Rotate") };
            let mut event = Event::new(Class::EventLog, "audit.opened", activity);
            event.message = match before {
                Some(before) => format!("this file goes on where {before} ends"),
                None => "the audit begins".to_owned(),
            };
            event.set("log_name", json!("audit"));
            event.unmapped("before", json!(before));
            event.unmapped("after", json!(after));
            event.unmapped("kept_from", json!(kept_from));
            event
        }
        Own::Recovered { torn, tampered } => {
            let mut event = Event::new(Class::EventLog, "audit.recovered", (OTHER, "Recover"));
            let lost = format!("{torn} bytes of a line that was not written to its end were taken off");
            event.message = match tampered {
                Some(what) if *torn > 0 => format!("{what}; {lost}"),
                Some(what) => what.clone(),
                None => lost,
            };
            if tampered.is_some() {
                event.severity = Severity::High;
                event.status = FAILURE;
            }
            event.set("log_name", json!("audit"));
            event.unmapped("torn", json!(torn));
            event.unmapped("tampered", json!(tampered));
            event
        }
        Own::Lost { entries, since } => {
            let mut event = Event::new(Class::EventLog, "audit.lost", (OTHER, "Lose"));
            event.severity = Severity::Medium;
            event.message =
                format!("{entries} entries are lost: they could not be written, or came too fast");
            event.status = FAILURE;
            event.set("log_name", json!("audit"));
            event.set("count", json!(entries));
            event.set("start_time", json!(milliseconds(*since)));
            event
        }
    }
}

fn who(actor: &Actor) -> Value {
    match actor {
        Actor::Agent => json!({"app_name": "weir"}),
        Actor::Signal(name) => json!({"app_name": format!("signal {name}")}),
        Actor::Peer { uid, pid } => json!({"user": {"uid": uid.to_string()}, "process": {"pid": pid}}),
        Actor::Certificate(name) => json!({"user": {"name": name, "type": "certificate"}}),
        Actor::Escalation | Actor::Fleet(_) => json!({"app_name": actor.to_string()}),
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
