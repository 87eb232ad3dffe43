use std::{collections::HashSet, time::Duration};

use crate::config::spanned::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    redis::{self as server, Server},
    routes::milliseconds,
};
use crate::{
    config::{Bytes, Enforce, raw::Text, validate::check::Check},
    decision::quota::{Domain, Level, Limit, Node, Per},
};

/// Keys that memory is used for if nothing else is said: some 25 MB.
const KEYS: usize = 800_000;
const KEYS_MIN: u64 = 1000;
const KEYS_MAX: u64 = 100_000_000;
/// Descriptors in all, over all domains.
const NODES_MAX: usize = 10_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 8;
/// Windows of a descriptor.
const LIMITS_MAX: usize = 6;
/// A request costs at least a microsecond: finer is not told apart.
const PER_SECOND_MAX: u64 = 1_000_000;
/// Share of a limit that may come at once if nothing else is said: a tenth.
const BURST_SHARE: u64 = 10;
const NEAR: f64 = 0.8;

/// Quotas.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// Domains with their descriptors.
    pub domains: Vec<Domain>,
    /// Keys that memory is used for.
    pub keys: usize,
    /// They do not hold for sources that lists name as partners.
    pub partners_unlimited: bool,
    /// Where gateways share them; nothing: each has its own.
    pub redis: Option<Redis>,
}

/// A Redis, or Valkey, that gateways share quotas in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it is.
    pub server: Server,
    /// What its keys begin with.
    pub prefix: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// While it is away each gateway grants quotas by itself; otherwise routes say what then.
    pub fall_back: bool,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { domains: Vec::new(), keys: KEYS, partners_unlimited: false, redis: None }
    }
}

/// Budgets of requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Domains, by which proxies and routes name budgets.
    domains: Vec<RawDomain>,
    /// Budgets to keep in memory; 800k take some 25 MB.
    #[schemars(extend("x-type" = "count", "default" = "800k", "x-least" = "1000", "x-most" = "100M"))]
    keys: Option<Text>,
    /// Whether quotas hold for sources that lists name as partners.
    #[schemars(extend("default" = "limited"))]
    partners: Partners,
    /// Share quotas with other gateways.
    redis: Option<RawRedis>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Partners {
    /// They do.
    #[default]
    Limited,
    /// They do not.
    Unlimited,
}

/// A Redis that gateways share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRedis {
    /// Its URL, or the path of a socket.
    #[schemars(extend("x-type" = "redis"))]
    url: Text,
    /// The user there.
    #[schemars(extend("x-type" = "text"))]
    user: Option<Text>,
    /// The file with the password.
    #[schemars(extend("x-type" = "path"))]
    password_file: Option<Text>,
    /// What keys begin with.
    #[schemars(extend("x-type" = "text", "default" = "weir:quota:"))]
    prefix: Option<Text>,
    /// How long an answer may take; less than the `deadline` of routes.
    #[schemars(extend("x-type" = "time", "default" = "10ms", "x-least" = "1ms", "x-most" = "1s"))]
    timeout: Option<Text>,
    /// While it is away: each gateway by itself, or what routes say of failures.
    #[serde(default)]
    #[schemars(extend("default" = "local"))]
    fallback: Fallback,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Fallback {
    /// Each gateway grants quotas by itself.
    #[default]
    Local,
    /// The `on_failure` of the route holds.
    None,
}

/// A domain of quotas.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawDomain {
    /// Its name, which routes and Envoy give.
    #[schemars(extend("x-type" = "name"))]
    domain: Text,
    /// What budgets are kept for.
    descriptors: Vec<RawNode>,
}

/// What a budget is kept for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawNode {
    /// The key of the entry.
    #[schemars(extend("x-type" = "text"))]
    key: Text,
    /// Its value, which may have `*`; default: each value has its own budget.
    #[schemars(extend("x-type" = "text"))]
    value: Option<Text>,
    /// Budgets; all of them hold.
    #[serde(default)]
    limits: Vec<RawLimit>,
    /// It has no budget.
    #[serde(default)]
    unlimited: bool,
    /// `shadow` only tells what it would do.
    #[serde(default = "enforced")]
    enforce: Enforce,
    /// The share of a burst from which on it is nearly used up.
    #[schemars(extend("x-type" = "number", "x-unit" = "share of the burst", "default" = 0.8, "minimum" = 0.0, "maximum" = 1.0))]
    near: Option<Spanned<f64>>,
    /// The same for the entry that follows.
    #[serde(default)]
    descriptors: Vec<RawNode>,
}

/// Requests in a time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawLimit {
    /// How many requests are granted in the time.
    #[schemars(extend("x-type" = "number", "x-unit" = "requests", "minimum" = 1))]
    requests: Spanned<u64>,
    /// The time; a week is 7 days, a month 30.
    per: RawPer,
    /// How many of them at once; default: a tenth, at least 1.
    #[schemars(extend("x-type" = "number", "x-unit" = "requests", "minimum" = 1))]
    burst: Option<Spanned<u64>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawPer {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

fn enforced() -> Enforce {
    Enforce::Enforce
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> Quotas {
    let mut names = HashSet::new();
    let mut nodes = 0;
    let mut domains = Vec::new();
    for (i, raw) in raw.domains.iter().enumerate() {
        let field = format!("l7.quotas.domains[{i}]");
        let name = check.name(&format!("{field}.domain"), &raw.domain, &mut names);
        let mut domain = Domain { name: name.as_str().into(), ..Domain::default() };
        for (i, raw) in raw.descriptors.iter().enumerate() {
            let mut place = Place { check, nodes: &mut nodes, depth: 1 };
            place.add(&format!("{field}.descriptors[{i}]"), &name, raw, &mut domain.levels);
        }
        domains.push(domain);
    }
    Quotas {
        domains,
        keys: raw.keys.map_or(KEYS, |text| keys(check, &text)),
        partners_unlimited: raw.partners == Partners::Unlimited,
        redis: raw.redis.map(|raw| redis(check, &raw)),
    }
}

fn keys(check: &mut Check, text: &Text) -> usize {
    let count = check.parse("l7.quotas.keys", text).map(|Bytes(count)| count);
    match count {
        Some(count) if !(KEYS_MIN..=KEYS_MAX).contains(&count) => {
            let message = format!("`{}` is not from {KEYS_MIN} to {KEYS_MAX}", text.value);
            check.problem(text.referenced, "l7.quotas.keys", message);
            KEYS
        }
        Some(count) => usize::try_from(count).unwrap_or(KEYS),
        None => KEYS,
    }
}

/// Where a descriptor is added.
struct Place<'c> {
    check: &'c mut Check,
    nodes: &'c mut usize,
    depth: usize,
}

impl Place<'_> {
    fn add(
        &mut self,
        field: &str,
        above: &str,
        raw: &RawNode,
        levels: &mut std::collections::BTreeMap<String, Level>,
    ) {
        *self.nodes += 1;
        if self.depth > DEPTH_MAX || *self.nodes == NODES_MAX + 1 {
            let message = format!("deeper than {DEPTH_MAX}, or more than {NODES_MAX} in all");
            self.check.problem(raw.key.referenced, field, message);
            return;
        }
        let key = self.check.key(&format!("{field}.key"), &raw.key);
        let mut node = self.node(field, &format!("{above}/{key}"), raw);
        for (i, inner) in raw.descriptors.iter().enumerate() {
            let name = node.name.to_string();
            let mut place = Place { check: self.check, nodes: self.nodes, depth: self.depth + 1 };
            place.add(&format!("{field}.descriptors[{i}]"), &name, inner, &mut node.levels);
        }
        let level = levels.entry(key).or_default();
        let twice = match raw.value.as_ref().map(|value| value.value.as_str()) {
            None | Some("*") => level.any.replace(Box::new(node)).is_some(),
            Some(value) => match value.strip_suffix('*') {
                None => level.exact.insert(value.to_owned(), node).is_some(),
                Some(prefix) => {
                    let twice = level.prefixes.iter().any(|(known, _)| known == prefix);
                    level.prefixes.push((prefix.to_owned(), node));
                    level.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
                    twice
                }
            },
        };
        if twice {
            let message = "this key and value are there already; put all limits into one descriptor";
            self.check.problem(raw.key.referenced, field, message);
        }
    }

    fn node(&mut self, field: &str, name: &str, raw: &RawNode) -> Node {
        let at = raw.key.referenced;
        if raw.unlimited && !raw.limits.is_empty() {
            self.check.problem(at, field, "is unlimited, and has limits: leave out one of both");
        }
        if raw.limits.len() > LIMITS_MAX {
            self.check.problem(at, &format!("{field}.limits"), format!("more than {LIMITS_MAX}"));
        }
        if raw.limits.is_empty() && !raw.unlimited && raw.descriptors.is_empty() {
            let message = "has no effect: write limits, unlimited: true, or descriptors below it";
            self.check.problem(at, field, message);
        }
        let near = raw.near.as_ref().map_or(NEAR, |near| {
            if !(0.0..=1.0).contains(&near.value) {
                let message = format!("`{}` is no share; write 0.8", near.value);
                self.check.problem(near.referenced, &format!("{field}.near"), message);
            }
            near.value
        });
        let limits = raw.limits.iter().enumerate();
        let limits = limits.map(|(i, raw)| limit(self.check, &format!("{field}.limits[{i}]"), raw)).collect();
        Node {
            name: name.into(),
            limits,
            unlimited: raw.unlimited,
            shadow: raw.enforce.is_shadow(),
            near,
            ..Node::default()
        }
    }
}

fn limit(check: &mut Check, field: &str, raw: &RawLimit) -> Limit {
    let per = match raw.per {
        RawPer::Second => Per::Second,
        RawPer::Minute => Per::Minute,
        RawPer::Hour => Per::Hour,
        RawPer::Day => Per::Day,
        RawPer::Week => Per::Week,
        RawPer::Month => Per::Month,
    };
    let requests = raw.requests.value;
    if requests == 0 || requests / per.seconds() > PER_SECOND_MAX {
        let message = format!("`{requests}` is not from 1 to {PER_SECOND_MAX} a second");
        check.problem(raw.requests.referenced, &format!("{field}.requests"), message);
    }
    let burst = raw.burst.as_ref().map_or((requests / BURST_SHARE).max(1), |burst| {
        if burst.value == 0 || burst.value > requests {
            let message = format!("`{}` is not from 1 to {requests}, the requests of a window", burst.value);
            check.problem(burst.referenced, &format!("{field}.burst"), message);
        }
        burst.value
    });
    Limit { requests, per, burst }
}

fn redis(check: &mut Check, raw: &RawRedis) -> Redis {
    let server = server::validate(
        check,
        ("l7.quotas.redis.url", &raw.url),
        raw.user.as_ref(),
        ("l7.quotas.redis.password_file", raw.password_file.as_ref()),
    );
    let timeout = raw.timeout.as_ref().map_or(Redis::TIMEOUT, |text| {
        milliseconds(check, "l7.quotas.redis.timeout", text, Redis::TIMEOUT_MAX)
    });
    Redis {
        server,
        prefix: raw.prefix.as_ref().map_or_else(|| Redis::PREFIX.to_owned(), |text| text.value.clone()),
        timeout,
        fall_back: raw.fallback == Fallback::Local,
    }
}

impl Redis {
    /// How long an answer may take if nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_millis(10);
    /// Proxies do not wait longer.
    const TIMEOUT_MAX: Duration = Duration::from_secs(1);
    /// What its keys begin with if nothing else is said.
    pub const PREFIX: &str = "weir:quota:";
}

impl Check {
    /// The key of a descriptor: what proxies send, or what a route makes.
    fn key(&mut self, field: &str, text: &Text) -> String {
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if text.value.is_empty() || text.value.len() > 64 || !text.value.chars().all(valid) {
            let message = format!("`{}` is no key: 1 to 64 letters, digits, - _ . and :", text.value);
            self.problem(text.referenced, field, message);
        }
        text.value.clone()
    }
}
