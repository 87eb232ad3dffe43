use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    feed::source::crowdsec::duration::Span,
    proxy::{
        lapi::decision::{ORIGIN, kind, place, scenario},
        share::Piece,
    },
    record::time,
};

/// Who logs in.
#[derive(Debug, Serialize)]
pub(super) struct Login<'l> {
    machine_id: &'l str,
    password: &'l str,
    scenarios: [&'static str; 0],
}

impl<'l> Login<'l> {
    pub(super) fn new(machine_id: &'l str, password: &'l str) -> Self {
        Self { machine_id, password, scenarios: [] }
    }
}

/// Returns the token of an answer to a login.
pub(super) fn token(body: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Answer {
        token: String,
    }
    // What is wrong with it is not told: a secret may be in it.
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "answers a login without a token".to_owned())?;
    Ok(answer.token)
}

/// A ban as a LAPI is told of it. All these fields are required.
#[derive(Debug, Serialize)]
pub(super) struct Alert {
    scenario: String,
    scenario_hash: &'static str,
    scenario_version: &'static str,
    message: String,
    events_count: u32,
    start_at: String,
    stop_at: String,
    capacity: u32,
    leakspeed: &'static str,
    simulated: bool,
    events: [u8; 0],
    source: Source,
    decisions: [Decision; 1],
}

#[derive(Debug, Serialize)]
struct Source {
    scope: &'static str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
}

#[derive(Debug, Serialize)]
struct Decision {
    origin: &'static str,
    r#type: &'static str,
    scope: &'static str,
    value: String,
    duration: String,
    scenario: String,
    simulated: bool,
}

impl Alert {
    pub(super) fn new(piece: &Piece, now: u64) -> Self {
        let (scope, value) = place(piece.prefix);
        let only = |this| (scope == this).then(|| value.clone());
        // A decision ends its duration after `stop_at`, whenever that was.
        let at = humantime::format_rfc3339_seconds(time(now)).to_string();
        let left = Duration::from_secs(piece.until(now).saturating_sub(now));
        let scenario = scenario(piece).into_owned();
        Self {
            message: format!("weir bans {value}: {scenario}"),
            scenario_hash: "",
            scenario_version: "",
            events_count: 1,
            start_at: at.clone(),
            stop_at: at,
            capacity: 0,
            leakspeed: "0s",
            simulated: false,
            events: [],
            source: Source { scope, ip: only("Ip"), range: only("Range"), value: value.clone() },
            decisions: [Decision {
                origin: ORIGIN,
                r#type: kind(piece),
                scope,
                value,
                duration: Span::Ahead(left).to_string(),
                scenario: scenario.clone(),
                simulated: false,
            }],
            scenario,
        }
    }
}

/// A decision that the LAPI has of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its number there.
    pub(super) id: u64,
    /// About whom.
    pub(super) prefix: IpNet,
    /// How long it lasts from now on.
    left: Duration,
}

impl Told {
    /// Returns its end, in seconds since 1970.
    pub(super) fn until(&self, now: u64) -> u64 {
        now.saturating_add(self.left.as_secs())
    }
}

/// Reads own decisions in force out of an answer with alerts, which may be `null`.
pub(super) fn told(body: &[u8], machine: &str) -> Result<Vec<Told>, String> {
    #[derive(Deserialize)]
    struct Known {
        #[serde(default)]
        machine_id: String,
        #[serde(default)]
        decisions: Option<Vec<One>>,
    }
    #[derive(Deserialize)]
    struct One {
        id: u64,
        origin: String,
        value: String,
        duration: String,
    }
    let alerts: Option<Vec<Known>> =
        serde_json::from_slice(body).map_err(|error| format!("does not answer as a LAPI does: {error}"))?;
    let own = alerts.into_iter().flatten().filter(|alert| alert.machine_id == machine);
    let decisions = own.filter_map(|alert| alert.decisions).flatten().filter(|one| one.origin == ORIGIN);
    let read = |one: One| {
        let Span::Ahead(left) = Span::parse(&one.duration)? else { return None };
        let prefix =
            one.value.parse::<IpNet>().or_else(|_| one.value.parse::<IpAddr>().map(IpNet::from)).ok()?;
        (!left.is_zero()).then_some(Told { id: one.id, prefix, left })
    };
    Ok(decisions.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        proxy::share::tests::rule,
        rules::{Action, Rule},
    };

    #[test]
    fn a_ban_is_an_alert() {
        let ban = Rule {
            until: Some(1_000),
            note: "twelve 401".to_owned(),
            ..rule("198.51.100.0/24", Action::Ban)
        };
        let piece = Piece { prefix: ban.prefix, rule: Arc::new(ban) };
        let alert = serde_json::to_value(Alert::new(&piece, 400)).unwrap();
        assert_eq!(alert["stop_at"], "1970-01-01T00:06:40Z");
        assert_eq!(
            alert["source"],
            serde_json::json!({"scope": "Range", "value": "198.51.100.0/24", "range": "198.51.100.0/24"})
        );
        let decision = &alert["decisions"][0];
        assert_eq!((&decision["duration"], &decision["origin"]), (&"10m0s".into(), &"weir".into()));
        assert_eq!(decision["scenario"], "twelve 401");
    }

    #[test]
    fn what_others_told_is_not_ours() {
        let body = br#"[{"machine_id":"gw-1","decisions":[
              {"id":1,"origin":"weir","value":"198.51.100.7","duration":"59m59.5s"},
              {"id":2,"origin":"cscli","value":"198.51.100.8","duration":"1h"},
              {"id":3,"origin":"weir","value":"198.51.100.0/24","duration":"-3s"}]},
            {"machine_id":"gw-2","decisions":[{"id":4,"origin":"weir","value":"198.51.100.9","duration":"1h"}]},
            {"machine_id":"gw-1"}]"#;
        let told = told(body, "gw-1").unwrap();
        assert_eq!(told.iter().map(|told| (told.id, told.until(10))).collect::<Vec<_>>(), [(1, 3609)]);
        assert_eq!(super::told(b"null", "gw-1"), Ok(Vec::new()));
        assert!(super::told(b"<html>", "gw-1").is_err());
        assert!(
            token(br#"{"code":200,"expire":"x","token":"abc"}"#).unwrap() == "abc" && token(b"{}").is_err()
        );
    }
}
