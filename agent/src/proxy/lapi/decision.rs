//! Rules as decisions of `CrowdSec`, and which of them a bouncer asks for.
//!
//! `Decision` in `pkg/models/localapi_swagger.yaml` of `CrowdSec`, 1.4 to 1.7.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    feed::source::crowdsec::duration::Span,
    proxy::share::Piece,
    record::time,
    rules::{Action, Author},
};

/// Who decides here: an operator, or the ladder of this gateway.
pub(crate) const ORIGIN: &str = "weir";
/// Another gateway.
const ORIGIN_FLEET: &str = "weir-fleet";

/// A decision, as bouncers read it.
#[derive(Debug, Serialize)]
pub(crate) struct Decision {
    id: u64,
    origin: &'static str,
    r#type: &'static str,
    scope: &'static str,
    value: String,
    duration: String,
    scenario: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    simulated: bool,
}

impl Decision {
    /// Returns the decision that a piece is, as told at `now`.
    pub(crate) fn new(piece: &Piece, simulated: bool, now: u64) -> Self {
        let until = piece.until(now);
        let span = match until.checked_sub(now) {
            Some(left) => Span::Ahead(Duration::from_secs(left)),
            None => Span::Past(Duration::from_secs(now - until)),
        };
        let until = Some(humantime::format_rfc3339_seconds(time(until)).to_string());
        Self { duration: span.to_string(), until, ..Self::of(piece, simulated) }
    }

    /// Returns one that has ended before its time.
    pub(crate) fn ended(piece: &Piece, simulated: bool) -> Self {
        Self {
            duration: Span::Past(Duration::from_secs(1)).to_string(),
            until: None,
            ..Self::of(piece, simulated)
        }
    }

    fn of(piece: &Piece, simulated: bool) -> Self {
        let (scope, value) = place(piece.prefix);
        Self {
            id: id(piece.prefix),
            origin: origin(piece),
            r#type: kind(piece),
            scope,
            value,
            duration: String::new(),
            scenario: scenario(piece).into_owned(),
            until: None,
            simulated,
        }
    }
}

/// Returns the scope and the value of a prefix.
pub(crate) fn place(prefix: IpNet) -> (&'static str, String) {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        ("Ip", prefix.addr().to_string())
    } else {
        ("Range", prefix.to_string())
    }
}

/// Returns why, in the words of whoever wants it.
pub(crate) fn scenario(piece: &Piece) -> Cow<'_, str> {
    match &*piece.rule.note {
        "" => format!("{ORIGIN}/{}", piece.rule.by).into(),
        note => note.into(),
    }
}

/// Returns what bouncers do.
pub(crate) fn kind(piece: &Piece) -> &'static str {
    match piece.rule.action {
        Action::Ban => "ban",
        Action::Throttle | Action::Allow => "throttle",
    }
}

fn origin(piece: &Piece) -> &'static str {
    match piece.rule.by {
        Author::Operator | Author::Escalation => ORIGIN,
        Author::Fleet(_) => ORIGIN_FLEET,
    }
}

/// Returns a number for a prefix: the same at every start, and no larger than what a bouncer in Lua or
/// JavaScript can hold (53 bits). Those of IPv4 are the prefix itself.
fn id(prefix: IpNet) -> u64 {
    let length = u64::from(prefix.prefix_len());
    match prefix {
        IpNet::V4(v4) => u64::from(v4.network().to_bits()) << 6 | length,
        IpNet::V6(v6) => {
            // FNV-1a, folded.
            let bytes = v6.network().octets().into_iter().chain([prefix.prefix_len()]);
            let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            1 << 52 | (hash ^ hash >> 52) & ((1 << 52) - 1)
        }
    }
}

/// Which decisions are asked for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) startup: bool,
    /// Those of shadow mode as well, on which nobody should act.
    simulated: bool,
    scopes: Vec<String>,
    origins: Vec<String>,
    kind: Option<String>,
    containing: Vec<String>,
    not_containing: Vec<String>,
    value: Option<String>,
    /// About this address or all of this range.
    about: Option<IpNet>,
    /// Or about what is in it.
    within: bool,
}

impl Filter {
    /// Reads a query. What is not known is passed over, as the real one does.
    ///
    /// # Errors
    /// Why it cannot be answered.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        let words = |value: &str| {
            let words = value.split(',').map(|word| word.trim().to_lowercase());
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "startup" => filter.startup = value == "true",
                "simulated" => filter.simulated = value == "true",
                "scopes" | "scope" => filter.scopes = words(&value),
                "origins" | "origin" => filter.origins = words(&value),
                "type" => filter.kind = Some(value.to_lowercase()),
                "scenarios_containing" => filter.containing = words(&value),
                "scenarios_not_containing" => filter.not_containing = words(&value),
                "value" => filter.value = Some(value.to_lowercase()),
                "contains" => filter.within = value == "false",
                "ip" | "range" if value.is_empty() => {}
                "ip" => {
                    let ip: IpAddr = value.parse().map_err(|_| format!("`{name}`: no address"))?;
                    filter.about = Some(ip.to_canonical().into());
                }
                "range" => {
                    let range: IpNet = value.parse().map_err(|_| format!("`{name}`: no range"))?;
                    filter.about = Some(crate::rules::canonical(range.trunc()));
                }
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Returns true where a piece is asked for.
    pub(super) fn takes(&self, piece: &Piece, simulated: bool) -> bool {
        let (scope, value) = (place_name(piece.prefix), || place(piece.prefix).1);
        let scenario = || scenario(piece).to_lowercase();
        let any = |words: &[String], text: &str| words.iter().any(|word| text.contains(&**word));
        let has = |words: &[String], word: &str| words.is_empty() || words.iter().any(|known| known == word);
        let about = |about: &IpNet| {
            if self.within { about.contains(&piece.prefix) } else { piece.prefix.contains(about) }
        };
        (self.simulated || !simulated)
            && has(&self.scopes, scope)
            && has(&self.origins, origin(piece))
            && self.kind.as_ref().is_none_or(|kind| kind == self::kind(piece))
            && self.value.as_ref().is_none_or(|wanted| *wanted == value())
            && self.about.as_ref().is_none_or(about)
            && (self.containing.is_empty() || any(&self.containing, &scenario()))
            && (self.not_containing.is_empty() || !any(&self.not_containing, &scenario()))
    }
}

/// Returns the scope in the spelling in which scopes are compared.
fn place_name(prefix: IpNet) -> &'static str {
    if prefix.prefix_len() == prefix.max_prefix_len() { "ip" } else { "range" }
}

/// Any question of a bouncer.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    _ = std::str::from_utf8(input).map(Filter::parse);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{proxy::share::tests::rule, rules::Rule};

    fn piece(prefix: &str, note: &str, by: Author) -> Piece {
        let rule = Rule { note: note.to_owned(), by, until: Some(1_000), ..rule(prefix, Action::Ban) };
        Piece { prefix: rule.prefix, rule: Arc::new(rule) }
    }

    #[test]
    fn a_rule_is_a_decision() {
        let one = piece("198.51.100.7/32", "login failures", Author::Escalation);
        let text = serde_json::to_string(&Decision::new(&one, false, 400)).unwrap();
        let want = r#"{"id":212816429536,"origin":"weir","type":"ban","scope":"Ip","value":"198.51.100.7","duration":"10m0s","scenario":"login failures","until":"1970-01-01T00:16:40Z"}"#;
        assert_eq!(text, want);
        let range = piece("2001:db8::/32", "", Author::Fleet("b".to_owned()));
        let ended = Decision::new(&range, true, 1_090);
        assert_eq!((ended.scope, &*ended.value, &*ended.duration), ("Range", "2001:db8::/32", "-1m30s"));
        assert_eq!((&*ended.scenario, ended.origin, ended.simulated), ("weir/fleet:b", "weir-fleet", true));
        assert!(ended.id < 1 << 53 && ended.id >= 1 << 52);
        assert_eq!(Decision::ended(&range, false).duration, "-1s");
    }

    #[test]
    fn filters_are_those_of_crowdsec() {
        let ip = piece("198.51.100.7/32", "crowdsecurity/ssh-bf", Author::Operator);
        let range = piece("198.51.100.0/24", "", Author::Fleet("b".to_owned()));
        for (query, takes) in [
            ("", [true, true]),
            ("startup=true&dedup=false&unknown=1", [true, true]),
            ("scopes=ip", [true, false]),
            ("scopes=Ip%2CRange", [true, true]),
            ("scope=Range&value=198.51.100.0/24", [false, true]),
            ("origins=weir", [true, false]),
            ("origins=CAPI", [false, false]),
            ("type=ban", [true, true]),
            ("type=captcha", [false, false]),
            ("scenarios_containing=SSH,ftp", [true, false]),
            ("scenarios_not_containing=ssh", [false, true]),
            ("ip=198.51.100.7", [true, true]),
            ("ip=::ffff:198.51.100.8", [false, true]),
            ("ip=2001:db8::1", [false, false]),
            ("range=198.51.100.0/25", [false, true]),
            ("range=198.51.100.0/23&contains=false", [true, true]),
        ] {
            let filter = Filter::parse(query).unwrap();
            assert_eq!([filter.takes(&ip, false), filter.takes(&range, false)], takes, "{query}");
            assert!(!filter.takes(&ip, true), "nobody asked for what is simulated");
        }
        assert!(Filter::parse("simulated=true").unwrap().takes(&ip, true));
        assert!(Filter::parse("ip=x").is_err() && Filter::parse("range=198.51.100.7").is_err());
    }
}
