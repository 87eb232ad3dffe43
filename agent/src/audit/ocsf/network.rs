use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Class, Event, Severity, milliseconds};
use crate::{
    audit::entry::{Decision, Done},
    decision::Verdict,
    naming::{Name, Naming},
    record::time,
    rules::{Action, Rule},
};

/// What a control has done: number and name of the action, of the disposition, and the activity.
#[derive(Clone, Copy)]
struct Control {
    action: (u8, &'static str),
    disposition: (u8, &'static str),
    activity: (u8, &'static str),
}

const REFUSE: (u8, &str) = (5, "Refuse");
const TRAFFIC: (u8, &str) = (6, "Traffic");
const ALLOWED: (u8, &str) = (1, "Allowed");
const DENIED: (u8, &str) = (2, "Denied");
const OBSERVED: (u8, &str) = (3, "Observed");
const BLOCKED: (u8, &str) = (2, "Blocked");
const DROPPED: (u8, &str) = (6, "Dropped");
const DELAYED: (u8, &str) = (14, "Delayed");
const LOGGED: (u8, &str) = (17, "Logged");
const CHALLENGE: (u8, &str) = (23, "Challenge");

/// A rule that is in force, or no longer.
pub(super) fn rule(done: Done, rule: &Rule, names: &Naming) -> Event {
    let control = match (done, rule.action) {
        (Done::Lifted | Done::Ended, _) | (Done::Set, Action::Allow) => {
            Control { action: ALLOWED, disposition: ALLOWED, activity: TRAFFIC }
        }
        (Done::Set, Action::Ban) if rule.shadow => {
            Control { action: OBSERVED, disposition: LOGGED, activity: TRAFFIC }
        }
        (Done::Set, Action::Ban) if rule.proxy_only => {
            Control { action: DENIED, disposition: BLOCKED, activity: REFUSE }
        }
        (Done::Set, Action::Ban) => Control { action: DENIED, disposition: DROPPED, activity: REFUSE },
        (Done::Set, Action::Throttle) => Control { action: ALLOWED, disposition: DELAYED, activity: TRAFFIC },
    };
    let (code, verb) = match done {
        Done::Set => ("rule.set", "set"),
        Done::Lifted => ("rule.lifted", "lifted"),
        Done::Ended => ("rule.ended", "over"),
    };
    let name = names.of(rule.prefix);
    let mut event = under(control, code);
    event.message = format!("{} of {}: {verb}", rule.action.as_str(), spell(&name));
    source(&mut event, &name);
    event.set("firewall_rule", firewall_rule(rule, &name, names));
    event.unmapped("action", json!(rule.action));
    event.unmapped("by", json!(rule.by.to_string()));
    event.unmapped("shadow", json!(rule.shadow));
    event.unmapped("proxy_only", json!(rule.proxy_only));
    event.unmapped("since", json!(rule.since));
    event.unmapped("until", json!(rule.until));
    if let Some(profile) = rule.profile {
        event.unmapped("profile", json!(profile));
    }
    if let (Done::Set, Some(until)) = (done, rule.until) {
        event.set("expiration_time", json!(milliseconds(time(until))));
    }
    event
}

/// What somebody wanted and did not get.
pub(super) fn refused(
    action: &str,
    rules: usize,
    first: Option<IpNet>,
    (status, why): (u16, &str),
    names: &Naming,
) -> Event {
    let control = Control { action: ALLOWED, disposition: ALLOWED, activity: TRAFFIC };
    let mut event = under(control, "rule.refused");
    event.severity = Severity::Low;
    let name = first.map(|prefix| names.of(prefix));
    let whose = name.as_ref().map_or("nobody".to_owned(), spell);
    let more = if rules > 1 { format!(" and {} more", rules - 1) } else { String::new() };
    event.message = format!("{action} of {whose}{more}: refused ({status})");
    event.set("status_code", json!(status.to_string()));
    event.failed(why);
    match &name {
        Some(name) => source(&mut event, name),
        None => event.set("src_endpoint", json!({"name": "unknown"})),
    }
    event.unmapped("action", json!(action));
    event.unmapped("rules", json!(rules));
    event
}

/// A source whose requests are refused.
pub(super) fn decision(decision: &Decision, names: &Naming) -> Event {
    let Decision { client, verdict, why, surface } = decision;
    let control = match verdict {
        Verdict::Allow => Control { action: ALLOWED, disposition: ALLOWED, activity: TRAFFIC },
        Verdict::Challenge => Control { action: DENIED, disposition: CHALLENGE, activity: REFUSE },
        Verdict::Throttle => Control { action: DENIED, disposition: DELAYED, activity: REFUSE },
        Verdict::Deny => Control { action: DENIED, disposition: BLOCKED, activity: REFUSE },
    };
    let name = names.of(IpNet::from(*client));
    let mut event = under(control, "decision");
    event.message = format!("{} for requests of {}: {why}", verdict.as_str(), spell(&name));
    source(&mut event, &name);
    event.set("firewall_rule", json!({"name": why.to_string(), "type": why.kind()}));
    event.unmapped("verdict", json!(verdict.as_str()));
    event.unmapped("reason", json!(why.to_string()));
    event.unmapped("surface", json!(surface));
    event
}

fn under(control: Control, code: &'static str) -> Event {
    let mut event = Event::new(Class::NetworkActivity, code, control.activity);
    event.controls = true;
    event.set("action_id", json!(control.action.0));
    event.set("action", json!(control.action.1));
    event.set("disposition_id", json!(control.disposition.0));
    event.set("disposition", json!(control.disposition.1));
    event
}

/// Says whose packets or requests they are. Observables are what a SIEM searches: 2 is an address,
/// 12 a subnet.
fn source(event: &mut Event, name: &Name) {
    let mut endpoint = serde_json::Map::new();
    let mut observables = Vec::new();
    if let Some(ip) = name.ip {
        endpoint.insert("ip".to_owned(), json!(ip));
        observables.push(json!({"name": "src_endpoint.ip", "type_id": 2, "value": ip}));
    } else if let Some(prefix) = name.prefix {
        endpoint.insert("name".to_owned(), json!(prefix));
        observables.push(json!({"name": "src_endpoint.name", "type_id": 12, "value": prefix}));
    }
    if let Some(pseudonym) = &name.pseudonym {
        endpoint.insert("uid".to_owned(), json!(pseudonym));
    }
    event.set("src_endpoint", Value::Object(endpoint));
    if !observables.is_empty() {
        event.set("observables", json!(observables));
    }
}

fn firewall_rule(rule: &Rule, name: &Name, names: &Naming) -> Value {
    let mut value = json!({"name": spell(name), "type": rule.action});
    // A note may name anybody.
    if let (false, false, Value::Object(fields)) = (rule.note.is_empty(), names.hides(), &mut value) {
        fields.insert("desc".to_owned(), json!(rule.note));
    }
    value
}

fn spell(name: &Name) -> String {
    match (name.ip, name.prefix, &name.pseudonym) {
        (_, Some(prefix), Some(pseudonym)) => format!("{pseudonym} in {prefix}"),
        (_, None, Some(pseudonym)) => pseudonym.clone(),
        (Some(ip), _, None) => ip.to_string(),
        (None, Some(prefix), None) => prefix.to_string(),
        (None, None, None) => String::new(),
    }
}
