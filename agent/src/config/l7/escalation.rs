use std::{collections::BTreeMap, time::Duration};

use crate::config::spanned::Spanned;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Lasts, raw::Text, validate::check::Check};

const HALF_LIFE: Duration = Duration::from_mins(5);
const FIRST: Duration = Duration::from_mins(1);
const MOST: Duration = Duration::from_hours(24);
const FORGET: Duration = Duration::from_hours(6);
const PER_MINUTE: u32 = 60;
const PER_MINUTE_MAX: u32 = 100_000;
const CHALLENGE_AT: f64 = 40.0;
const THROTTLE_AT: f64 = 60.0;
const BAN_AT: f64 = 100.0;
const WEIGHT_MAX: f64 = 1000.0;

/// Offences, and what they lead to.
#[derive(Clone, Debug, PartialEq)]
pub struct Escalation {
    /// Whether it leads to anything.
    pub mode: Mode,
    /// After this time half of what a source has done is forgotten.
    pub half_life: Duration,
    /// What offences weigh.
    pub weights: Weights,
    /// From this risk on requests are challenged.
    pub challenge_at: f64,
    /// From this risk on they are throttled.
    pub throttle_at: f64,
    /// From this risk on the source is banned.
    pub ban_at: f64,
    /// Bans.
    pub ban: Bans,
}

/// Whether offences lead to anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are not even added up.
    Off,
    /// Bans are made in shadow mode, and decisions tell what they would be.
    #[default]
    Shadow,
    /// They do.
    Enforce,
}

/// What offences weigh.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Of single statuses.
    pub statuses: BTreeMap<u16, f64>,
    /// Of classes of statuses, 1xx to 5xx, that are not named singly.
    pub classes: [f64; 5],
    /// Of a packet over a limit that the kernel has told of. 0 by default: a source of packets can be
    /// forged, so this would let anybody have anybody else banned.
    pub limit: f64,
    /// Of a request over a quota. 0 by default: who has used up what he pays for is no enemy.
    pub quota: f64,
    /// Of a request that is refused for what its source has done: who is told and does not stop goes on
    /// climbing.
    pub refused: f64,
}

/// How sources are banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bans {
    /// How long the first lasts; each that follows lasts twice as long.
    pub first: Duration,
    /// How long one lasts at most.
    pub most: Duration,
    /// A source that has been quiet for so long begins anew.
    pub forget: Duration,
    /// Most bans in a minute; beyond that something else is wrong.
    pub per_minute: u32,
}

impl Default for Weights {
    fn default() -> Self {
        let statuses = [(401, 5.0), (403, 2.0), (404, 1.0), (429, 2.0)].into();
        Self { statuses, classes: [0.0; 5], limit: 0.0, quota: 0.0, refused: 1.0 }
    }
}

impl Default for Bans {
    fn default() -> Self {
        Self { first: FIRST, most: MOST, forget: FORGET, per_minute: PER_MINUTE }
    }
}

impl Default for Escalation {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            half_life: HALF_LIFE,
            weights: Weights::default(),
            challenge_at: CHALLENGE_AT,
            throttle_at: THROTTLE_AT,
            ban_at: BAN_AT,
            ban: Bans::default(),
        }
    }
}

impl Weights {
    /// Returns what a status weighs.
    #[must_use]
    pub fn status(&self, status: u16) -> f64 {
        let class = || self.classes.get(usize::from(status / 100).wrapping_sub(1)).copied();
        self.statuses.get(&status).copied().or_else(class).unwrap_or(0.0)
    }
}

/// From offences to bans.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Whether offences lead to anything.
    mode: Mode,
    /// After this time half of what a source has done is forgotten.
    #[schemars(extend("x-type" = "time", "default" = "5m"))]
    half_life: Option<Text>,
    /// What offences weigh, by status (`401`), class (`5xx`), `limit`, `quota` or `refused`: 0 to 1000 each. Those
    /// that are named take the place of all that are there by default.
    #[schemars(extend("x-type" = "map", "default" = {"401": 5, "403": 2, "404": 1, "429": 2, "refused": 1}))]
    weights: Option<Spanned<BTreeMap<String, f64>>>,
    /// From this risk on requests are challenged.
    #[schemars(extend("x-type" = "number", "x-unit" = "risk", "default" = 40))]
    challenge_at: Option<Spanned<f64>>,
    /// From this risk on they are throttled.
    #[schemars(extend("x-type" = "number", "x-unit" = "risk", "default" = 60))]
    throttle_at: Option<Spanned<f64>>,
    /// From this risk on the source is banned.
    #[schemars(extend("x-type" = "number", "x-unit" = "risk", "default" = 100))]
    ban_at: Option<Spanned<f64>>,
    /// How sources are banned.
    ban: Option<Spanned<RawBans>>,
}

/// How sources are banned.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawBans {
    /// How long the first ban lasts; each that follows lasts twice as long.
    #[schemars(extend("x-type" = "time", "default" = "1m"))]
    first: Option<Text>,
    /// How long one lasts at most.
    #[schemars(extend("x-type" = "time", "default" = "1d"))]
    most: Option<Text>,
    /// A source that has been quiet for so long begins anew.
    #[schemars(extend("x-type" = "time", "default" = "6h"))]
    forget: Option<Text>,
    /// Most bans in a minute.
    #[schemars(extend("x-type" = "number", "x-unit" = "bans a minute", "default" = 60, "minimum" = 1, "maximum" = 100_000))]
    per_minute: Option<u32>,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> Escalation {
    let at = |field: &str| format!("l7.escalation.{field}");
    let value = |spanned: &Option<Spanned<f64>>, default| spanned.as_ref().map_or(default, |it| it.value);
    let escalation = Escalation {
        mode: raw.mode,
        half_life: time(check, &at("half_life"), raw.half_life.as_ref(), HALF_LIFE),
        challenge_at: value(&raw.challenge_at, CHALLENGE_AT),
        throttle_at: value(&raw.throttle_at, THROTTLE_AT),
        ban_at: value(&raw.ban_at, BAN_AT),
        weights: raw.weights.map_or_else(Weights::default, |raw| weights(check, raw)),
        ban: raw.ban.map_or_else(Bans::default, |raw| bans(check, raw)),
    };
    let Escalation { challenge_at, throttle_at, ban_at, .. } = escalation;
    let said = [raw.challenge_at, raw.throttle_at, raw.ban_at].into_iter().flatten().next();
    if let Some(said) = said
        && !(0.0 < challenge_at && challenge_at <= throttle_at && throttle_at <= ban_at)
    {
        let message = format!(
            "{challenge_at}, {throttle_at}, {ban_at} do not rise; write 0 < challenge_at <= throttle_at <= ban_at"
        );
        check.problem(said.referenced, &at("challenge_at"), message);
    }
    escalation
}

fn bans(check: &mut Check, raw: Spanned<RawBans>) -> Bans {
    let (place, raw) = (raw.referenced, raw.value);
    let at = |field: &str| format!("l7.escalation.ban.{field}");
    let bans = Bans {
        first: time(check, &at("first"), raw.first.as_ref(), FIRST),
        most: time(check, &at("most"), raw.most.as_ref(), MOST),
        forget: time(check, &at("forget"), raw.forget.as_ref(), FORGET),
        per_minute: raw.per_minute.unwrap_or(PER_MINUTE),
    };
    if bans.first > bans.most {
        check.problem(
            place,
            &at("first"),
            format!("{:?} is more than ban.most, {:?}", bans.first, bans.most),
        );
    }
    if bans.per_minute == 0 || bans.per_minute > PER_MINUTE_MAX {
        check.problem(
            place,
            &at("per_minute"),
            format!("{} is not in 1 to {PER_MINUTE_MAX}", bans.per_minute),
        );
    }
    bans
}

fn time(check: &mut Check, field: &str, text: Option<&Text>, default: Duration) -> Duration {
    let Some(text) = text else { return default };
    match check.parse::<Lasts>(field, text) {
        Some(Lasts(Some(lasts))) => lasts,
        Some(Lasts(None)) => {
            check.problem(text.referenced, field, "`forever` is no time here; write one like 5m or 1d");
            default
        }
        None => default,
    }
}

/// Those that are named take the place of all that are there by default.
fn weights(check: &mut Check, raw: Spanned<BTreeMap<String, f64>>) -> Weights {
    let place = raw.referenced;
    let mut weights =
        Weights { statuses: BTreeMap::new(), classes: [0.0; 5], limit: 0.0, quota: 0.0, refused: 0.0 };
    for (name, weight) in raw.value {
        let field = format!("l7.escalation.weights.{name}");
        if !(0.0..=WEIGHT_MAX).contains(&weight) {
            check.problem(place, &field, format!("{weight} is not in 0 to {WEIGHT_MAX}"));
        }
        let class = name.strip_suffix("xx").and_then(|class| class.parse::<usize>().ok());
        match (name.as_str(), class, name.parse::<u16>()) {
            ("limit", ..) => weights.limit = weight,
            ("quota", ..) => weights.quota = weight,
            ("refused", ..) => weights.refused = weight,
            (_, Some(class @ 1..=5), _) => weights.classes[class - 1] = weight,
            (_, _, Ok(status @ 100..=599)) => _ = weights.statuses.insert(status, weight),
            _ => {
                let message = format!(
                    "`{name}` is no offence; write a status like 401, a class like 4xx, limit, quota or refused"
                );
                check.problem(place, &field, message);
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Escalation, String> {
        let raw = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let mut check = Check::default();
        let escalation = validate(&mut check, raw);
        let problems: Vec<String> =
            check.problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        if problems.is_empty() { Ok(escalation) } else { Err(problems.join("\n")) }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        assert_eq!(parse("{}").unwrap(), Escalation::default());
        let some =
            parse("mode: enforce\nweights: {'401': 10, 4xx: 1, limit: 0.5}\nban: {first: 10s}\n").unwrap();
        assert_eq!(
            (some.weights.status(401), some.weights.status(404), some.weights.status(200)),
            (10.0, 1.0, 0.0)
        );
        assert_eq!((some.weights.limit, some.ban.first, some.ban.most), (0.5, Duration::from_secs(10), MOST));
    }

    #[test]
    fn errors_name_field_value_and_mend() {
        for (yaml, wants) in [
            ("weights: {'999': 1}", &["weights.999", "no offence", "like 401"][..]),
            ("weights: {'401': -1}", &["weights.401", "-1", "0 to 1000"]),
            ("half_life: soon", &["half_life", "`soon`"]),
            ("ban: {forget: forever}", &["ban.forget", "like 5m"]),
            ("{ban_at: 10}", &["challenge_at", "do not rise"]),
            ("ban: {first: 2d}", &["ban.first", "ban.most"]),
            ("ban: {per_minute: 0}", &["ban.per_minute", "1 to"]),
            ("{colour: red}", &["colour"]),
        ] {
            let error = parse(yaml).unwrap_err();
            for want in wants {
                assert!(error.contains(want), "no `{want}` in {error}");
            }
        }
    }
}
