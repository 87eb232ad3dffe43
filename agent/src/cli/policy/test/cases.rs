//! A file of cases. Nothing in it is judged before all of it is understood.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use serde_saphyr::Spanned;
use weir_common::{
    addr::Address,
    counter::Outcome,
    limit::SUSPICIOUS,
    overlay::{FOREVER, Prefix, Rule, Sentence},
    packet::{Kind, Packet, parse},
};

use super::packet::RawPacket;
use crate::{
    cli::l7::{CasesError, read_cases},
    config::{self, Config, ConfigError},
    offline::Why,
};

/// Packets of one step.
const REPEAT_MAX: u32 = 10_000_000;
/// Length of a case: limits forget within an hour.
const TIME_MAX: Duration = Duration::from_hours(24);

/// Cases, understood.
#[derive(Debug)]
pub(super) struct Suite {
    path: PathBuf,
    /// The configuration that the file names.
    pub(super) config: Option<PathBuf>,
    /// Lists that stand for those of feeds, by name of the feed.
    pub(super) lists: BTreeMap<String, Vec<IpNet>>,
    lists_line: u64,
    pub(super) cases: Vec<Case>,
}

/// A case: packets one after another, of which each is to get something.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    rule: Option<Ruled>,
    pub(super) steps: Vec<Step>,
}

/// A packet that comes once or more often.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: u64,
    pub(super) frame: Vec<u8>,
    /// When it first comes, since the beginning of the case.
    pub(super) at: Duration,
    pub(super) repeat: NonZeroU32,
    /// How far apart it comes.
    pub(super) every: Duration,
    pub(super) expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSuite {
    config: Option<PathBuf>,
    lists: Option<Spanned<BTreeMap<String, Vec<Spanned<String>>>>>,
    cases: Vec<Spanned<RawCase>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    rule: Option<Ruled>,
    packet: Option<RawPacket>,
    at: Option<Spanned<String>>,
    repeat: Option<Spanned<u32>>,
    every: Option<Spanned<String>>,
    expect: Option<Expect>,
    #[serde(default)]
    steps: Vec<Spanned<RawStep>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    packet: Option<RawPacket>,
    at: Option<Spanned<String>>,
    repeat: Option<Spanned<u32>>,
    every: Option<Spanned<String>>,
    expect: Expect,
}

/// A ban or a manual rule for the source of the case's first packet, while the case runs.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ruled {
    Ban,
    BanInShadow,
    Allow,
    Throttle,
}

/// What is to become of a packet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    verdict: Option<Wanted>,
    reason: Option<String>,
    admitted: Option<Admitted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Pass,
    Drop,
    WouldDrop,
}

/// How many of the packets pass: so many, or within bounds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Admitted {
    Exactly(u64),
    Within(Bounds),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    #[serde(default)]
    min: u64,
    #[serde(default = "u64_max")]
    max: u64,
}

fn u64_max() -> u64 {
    u64::MAX
}

/// Reads a file of cases.
pub(super) fn load(path: &Path) -> Result<Suite, CasesError> {
    self::parse_text(path, &read_cases(path)?)
}

/// Reads the text of such a file; `path` is for messages, and paths in it are relative to it.
pub(super) fn parse_text(path: &Path, text: &str) -> Result<Suite, CasesError> {
    let raw: RawSuite = serde_saphyr::from_str(text)
        .map_err(|error| CasesError::Yaml(ConfigError::from_yaml(path, text, &error)))?;
    let RawSuite { config, lists, cases } = raw;
    if cases.is_empty() {
        return Err(invalid(path, "no cases: name at least one".to_owned()));
    }
    let lists_line = lists.as_ref().map_or(0, |lists| lists.referenced.line());
    let mut known = BTreeMap::new();
    for (name, prefixes) in lists.map(|lists| lists.value).unwrap_or_default() {
        let prefix = |text: &Spanned<String>| {
            let parsed: Result<config::Prefix, String> = text.value.parse();
            parsed.map(|config::Prefix(prefix)| prefix).map_err(|error| {
                at(path, text.referenced.line(), &format!("lists.{name}: `{}` {error}", text.value))
            })
        };
        let prefixes: Result<Vec<IpNet>, CasesError> = prefixes.iter().map(prefix).collect();
        known.insert(name, prefixes?);
    }
    let mut names = HashSet::new();
    let mut understood = Vec::new();
    for (i, raw) in cases.into_iter().enumerate() {
        let line = raw.referenced.line();
        let name = raw.value.name.clone();
        let case = case(raw).map_err(|(line, message)| at(path, line, &format!("cases[{i}]: {message}")))?;
        if !names.insert(name.clone()) {
            return Err(at(path, line, &format!("cases[{i}].name: `{name}` occurs twice")));
        }
        understood.push(case);
    }
    let beside = path.parent().unwrap_or(Path::new(""));
    let config = config.map(|config| beside.join(config));
    Ok(Suite { path: path.to_owned(), config, lists: known, lists_line, cases: understood })
}

fn invalid(path: &Path, message: String) -> CasesError {
    CasesError::Invalid { path: path.to_owned(), message }
}

fn at(path: &Path, line: u64, message: &str) -> CasesError {
    invalid(path, format!("line {line}: {message}"))
}

type Refused = (u64, String);

fn case(raw: Spanned<RawCase>) -> Result<Case, Refused> {
    let line = raw.referenced.line();
    let RawCase { name, rule, packet, at, repeat, every, expect, steps } = raw.value;
    let steps = match (packet, expect, steps.is_empty()) {
        (Some(packet), Some(expect), true) => {
            vec![step(line, &packet, at.as_ref(), repeat.as_ref(), every.as_ref(), expect)?]
        }
        (packet, None, false) if at.is_none() && repeat.is_none() && every.is_none() => {
            let one = |raw: Spanned<RawStep>| {
                let line = raw.referenced.line();
                let RawStep { packet: own, at, repeat, every, expect } = raw.value;
                let packet = own.as_ref().or(packet.as_ref());
                let packet = packet
                    .ok_or((line, "a step without a packet: add `packet` to it, or to the case".into()))?;
                step(line, packet, at.as_ref(), repeat.as_ref(), every.as_ref(), expect)
            };
            steps.into_iter().map(one).collect::<Result<Vec<_>, Refused>>()?
        }
        (_, _, false) => {
            let message = "with `steps`, what is expected, and when packets come, stands in each of them";
            return Err((line, message.to_owned()));
        }
        (_, _, true) => return Err((line, "`packet` and `expect` are missing, or `steps`".to_owned())),
    };
    if let Some(late) = steps.windows(2).find(|pair| pair[1].at < pair[0].end()) {
        let message = "a step begins before the one before it has ended; give it a later `at`";
        return Err((late[1].line, message.to_owned()));
    }
    Ok(Case { name, rule, steps })
}

fn step(
    line: u64,
    packet: &RawPacket,
    at: Option<&Spanned<String>>,
    repeat: Option<&Spanned<u32>>,
    every: Option<&Spanned<String>>,
    expect: Expect,
) -> Result<Step, Refused> {
    let frame = packet.frame().map_err(|message| (line, format!("packet.{message}")))?;
    let at = time("at", at)?;
    let every_time = time("every", every)?;
    let repeat = match repeat {
        None => NonZeroU32::MIN,
        Some(times) => {
            let valid = NonZeroU32::new(times.value).filter(|times| times.get() <= REPEAT_MAX);
            let refused = || format!("repeat: {} is not possible; write 1 to {REPEAT_MAX}", times.value);
            valid.ok_or_else(|| (times.referenced.line(), refused()))?
        }
    };
    if every_time.checked_mul(repeat.get()).is_none_or(|time| time > TIME_MAX) {
        return Err((line, "every: the packets come for more than a day; repeat it less often".to_owned()));
    }
    if expect.verdict.is_none() && expect.reason.is_none() && expect.admitted.is_none() {
        return Err((line, "expect: nothing; name a verdict, a reason, or how many are admitted".to_owned()));
    }
    Ok(Step { line, frame, at, repeat, every: every_time, expect })
}

/// Reads a time like `10ms`.
fn time(field: &str, text: Option<&Spanned<String>>) -> Result<Duration, Refused> {
    let Some(text) = text else { return Ok(Duration::ZERO) };
    match humantime::parse_duration(&text.value) {
        Ok(time) if time <= TIME_MAX => Ok(time),
        Ok(_) => Err((text.referenced.line(), format!("{field}: `{}` is more than a day", text.value))),
        Err(_) => {
            let message = format!("{field}: `{}` is no time; write one like 500us, 10ms or 1s", text.value);
            Err((text.referenced.line(), message))
        }
    }
}

impl Suite {
    /// Refuses what is about feeds and limits that the configuration does not have.
    pub(super) fn check(&self, config: &Config) -> Result<(), CasesError> {
        self.check_lists(config)?;
        let steps = self.cases.iter().flat_map(|case| &case.steps);
        steps.into_iter().try_for_each(|step| {
            let reason = step.expect.reason.as_deref().unwrap_or_default();
            let refused = |message: String| Err(at(&self.path, step.line, &message));
            let Some((word, name)) = reason.split_once(':') else { return Ok(()) };
            let names: Vec<&str> = match word {
                "feed" | "observe" => {
                    let consensus = config.consensus.iter().map(|consensus| consensus.name.as_str());
                    config.feeds.iter().map(|feed| feed.name.as_str()).chain(consensus).collect()
                }
                "limit" | "valve" => config.limits.iter().map(|limit| limit.name.as_str()).collect(),
                _ => return Ok(()),
            };
            if names.contains(&name) {
                return Ok(());
            }
            refused(format!("expect.reason: the configuration has no `{name}` for `{word}:`, but {names:?}"))
        })
    }

    fn check_lists(&self, config: &Config) -> Result<(), CasesError> {
        let unknown = self.lists.keys().find(|name| !config.feeds.iter().any(|feed| feed.name == **name));
        match unknown {
            None => Ok(()),
            Some(name) => {
                let feeds: Vec<&str> = config.feeds.iter().map(|feed| feed.name.as_str()).collect();
                let message = format!("lists.{name}: the configuration has no such feed, but {feeds:?}");
                Err(at(&self.path, self.lists_line, &message))
            }
        }
    }
}

impl Case {
    /// Returns the rule for its source. Nothing for a packet without one.
    pub(super) fn rule(&self) -> Option<(Prefix, Rule)> {
        let ruled = self.rule?;
        let mut packet = Packet::UNKNOWN;
        parse(&self.steps.first()?.frame.as_slice(), &mut packet);
        if packet.kind != Kind::Ip {
            return None;
        }
        let length = IpNet::from(IpAddr::from(packet.source)).prefix_len();
        let drop = Rule { sentence: Sentence::Drop, shadow: false, profile: 0, until: FOREVER };
        let rule = match ruled {
            Ruled::Ban => drop,
            Ruled::BanInShadow => Rule { shadow: true, ..drop },
            Ruled::Allow => Rule { sentence: Sentence::Allow, ..drop },
            Ruled::Throttle => Rule { sentence: Sentence::Limit, profile: SUSPICIOUS, ..drop },
        };
        Some((Prefix { address: Address::from(IpAddr::from(packet.source)), length }, rule))
    }
}

impl Step {
    /// When its last packet comes.
    fn end(&self) -> Duration {
        self.at + self.every * (self.repeat.get() - 1)
    }
}

impl Expect {
    /// Returns what was expected and did not come.
    pub(super) fn differences(&self, outcome: Outcome, why: &Why, admitted: u64) -> Vec<String> {
        let Self { verdict, reason, admitted: count } = self;
        let mut differences = Vec::new();
        differences.extend(
            verdict
                .filter(|wanted| wanted.outcome() != outcome)
                .map(|wanted| format!("verdict {}", wanted.outcome().as_str())),
        );
        differences.extend(
            reason.as_ref().filter(|wanted| !is(why, wanted)).map(|wanted| format!("reason {wanted}")),
        );
        differences.extend(count.filter(|count| !count.holds(admitted)).map(Admitted::words));
        differences
    }
}

/// `feed` is any feed, `feed:bad` one of this name, whatever others say so too.
fn is(why: &Why, wanted: &str) -> bool {
    match wanted.split_once(':') {
        Some((reason, name)) => why.reason.as_str() == reason && why.names.iter().any(|known| known == name),
        None => why.reason.as_str() == wanted,
    }
}

impl Wanted {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Pass => Outcome::Pass,
            Self::Drop => Outcome::Drop,
            Self::WouldDrop => Outcome::WouldDrop,
        }
    }
}

impl Admitted {
    fn holds(self, admitted: u64) -> bool {
        match self {
            Self::Exactly(count) => count == admitted,
            Self::Within(Bounds { min, max }) => (min..=max).contains(&admitted),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Exactly(count) => format!("{count} admitted"),
            Self::Within(Bounds { min, max: u64::MAX }) => format!("at least {min} admitted"),
            Self::Within(Bounds { min, max }) => format!("{min} to {max} admitted"),
        }
    }
}

/// Any file of cases. What is wrong with one is told with its place.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(text: &str) {
    match parse_text(Path::new("cases.yaml"), text) {
        Ok(suite) => assert!(!suite.cases.is_empty()),
        Err(error) => assert!(error.to_string().contains("cases.yaml")),
    }
}
