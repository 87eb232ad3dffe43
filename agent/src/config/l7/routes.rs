use std::{collections::HashSet, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Quotas, client::header};
use crate::{
    config::{raw::Text, validate::check::Check},
    decision::{
        Route,
        route::{Charge, DEADLINE, Part, Pattern},
    },
};

/// Routes that may be named.
const ROUTES_MAX: usize = 256;
/// Quotas of a route: each is a question to the store.
const CHARGES_MAX: usize = 8;
/// Entries of a quota.
const ENTRIES_MAX: usize = 8;
/// Proxies do not wait longer.
const DEADLINE_MAX: Duration = Duration::from_secs(2);

/// What holds for some requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Its name, which quotas can be kept by.
    #[schemars(extend("x-type" = "name"))]
    name: Text,
    /// Exact, or with `*` for anything; default: all.
    #[schemars(extend("x-type" = "pattern"))]
    host: Option<Text>,
    /// What the path begins with, or with `*`; default: all.
    #[schemars(extend("x-type" = "pattern"))]
    path: Option<Text>,
    /// Methods of requests; default: all.
    #[serde(default)]
    #[schemars(extend("x-type" = "text"))]
    methods: Vec<Text>,
    /// What becomes of requests that cannot be decided in time.
    #[serde(default)]
    #[schemars(extend("default" = "open"))]
    on_failure: OnFailure,
    /// How long a decision may wait for quotas.
    #[schemars(extend("x-type" = "time", "default" = "20ms", "x-least" = "1ms", "x-most" = "2s"))]
    deadline: Option<Text>,
    /// Budgets that a request is charged to.
    #[serde(default)]
    quotas: Vec<RawCharge>,
}

/// What becomes of requests that cannot be decided in time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnFailure {
    /// They pass.
    #[default]
    Open,
    /// They are refused for a moment.
    Closed,
}

/// A budget that a request is charged to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCharge {
    /// The domain of `l7.quotas.domains`.
    #[schemars(extend("x-type" = "name"))]
    domain: Text,
    /// What makes its entries: `consumer`, `client`, `route`, `host`, `method`, `header:NAME`.
    #[schemars(extend("x-type" = "text"))]
    entries: Vec<Text>,
}

pub(super) fn validate(check: &mut Check, raw: Vec<Raw>, quotas: &Quotas) -> Vec<Route> {
    let mut names = HashSet::new();
    if let Some(route) = raw.get(ROUTES_MAX) {
        check.problem(route.name.referenced, "l7.routes", format!("more than {ROUTES_MAX}"));
    }
    let routes = raw.into_iter().enumerate().take(ROUTES_MAX);
    routes.map(|(i, raw)| route(check, &format!("l7.routes[{i}]"), &raw, &mut names, quotas)).collect()
}

/// Returns the headers that routes look at.
pub(super) fn headers(routes: &[Route]) -> impl Iterator<Item = String> {
    let parts = routes.iter().flat_map(|route| &route.charges).flat_map(|charge| &charge.parts);
    parts.filter_map(|part| if let Part::Header(name) = part { Some(name.clone()) } else { None })
}

fn route(check: &mut Check, field: &str, raw: &Raw, names: &mut HashSet<String>, quotas: &Quotas) -> Route {
    let host = raw
        .host
        .as_ref()
        .map_or(Pattern::Any, |host| Pattern::new(&host.value.to_ascii_lowercase(), Pattern::Exact));
    if let Some(path) = raw.path.as_ref().filter(|path| !path.value.starts_with(['/', '*'])) {
        let message = format!("`{}` begins with neither / nor *; write /{}", path.value, path.value);
        check.problem(path.referenced, &format!("{field}.path"), message);
    }
    let path = raw.path.as_ref().map_or(Pattern::Any, |path| Pattern::new(&path.value, Pattern::Prefix));
    if let Some(charge) = raw.quotas.get(CHARGES_MAX) {
        check.problem(
            charge.domain.referenced,
            &format!("{field}.quotas"),
            format!("more than {CHARGES_MAX}"),
        );
    }
    let charges = raw.quotas.iter().enumerate().take(CHARGES_MAX);
    Route {
        name: check.name(&format!("{field}.name"), &raw.name, names).into(),
        host,
        path,
        methods: raw.methods.iter().map(|method| method.value.to_ascii_uppercase()).collect(),
        open: raw.on_failure == OnFailure::Open,
        deadline: deadline(check, &format!("{field}.deadline"), raw.deadline.as_ref()),
        charges: charges
            .map(|(i, raw)| charge(check, &format!("{field}.quotas[{i}]"), raw, quotas))
            .collect(),
    }
}

fn deadline(check: &mut Check, field: &str, text: Option<&Text>) -> Duration {
    text.map_or(DEADLINE, |text| milliseconds(check, field, text, DEADLINE_MAX))
}

/// A time that somebody waits for.
pub(super) fn milliseconds(check: &mut Check, field: &str, text: &Text, max: Duration) -> Duration {
    match humantime::parse_duration(text.value.trim()) {
        Ok(time) if (Duration::from_millis(1)..=max).contains(&time) => time,
        Ok(_) | Err(_) => {
            let message =
                format!("`{}` is no time from 1ms to {}ms; write 20ms", text.value, max.as_millis());
            check.problem(text.referenced, field, message);
            max
        }
    }
}

fn charge(check: &mut Check, field: &str, raw: &RawCharge, quotas: &Quotas) -> Charge {
    let domain = raw.domain.value.as_str();
    let field_entries = format!("{field}.entries");
    let known = quotas.domains.iter().find(|known| &*known.name == domain);
    if known.is_none() {
        let names: Vec<_> = quotas.domains.iter().map(|domain| &*domain.name).collect();
        let message =
            format!("`{domain}` is no domain of l7.quotas.domains, which are [{}]", names.join(", "));
        check.problem(raw.domain.referenced, &format!("{field}.domain"), message);
    }
    if raw.entries.is_empty() || raw.entries.len() > ENTRIES_MAX {
        check.problem(
            raw.domain.referenced,
            &field_entries,
            format!("has to have 1 to {ENTRIES_MAX} entries"),
        );
    }
    let mut parts = Vec::new();
    for (i, text) in raw.entries.iter().enumerate() {
        parts.extend(part(check, &format!("{field_entries}[{i}]"), text));
    }
    let first = parts.first().map(Part::key);
    if let (Some(known), Some(first)) = (known, first)
        && !known.levels.contains_key(&first)
    {
        let keys: Vec<_> = known.levels.keys().map(String::as_str).collect();
        let message = format!("`{first}` is no key of domain `{domain}`, which has [{}]", keys.join(", "));
        check.problem(raw.domain.referenced, &field_entries, message);
    }
    Charge { domain: domain.into(), parts }
}

fn part(check: &mut Check, field: &str, text: &Text) -> Option<Part> {
    if let Some(name) = text.value.strip_prefix("header:") {
        let name = Text { value: name.to_owned(), ..text.clone() };
        return Some(Part::Header(header(check, field, &name)));
    }
    match text.value.as_str() {
        "consumer" => Some(Part::Consumer),
        "route" => Some(Part::Route),
        "client" => Some(Part::Client),
        "host" => Some(Part::Host),
        "method" => Some(Part::Method),
        other => {
            let message = format!("`{other}` is none of consumer, route, client, host, method, header:NAME");
            check.problem(text.referenced, field, message);
            None
        }
    }
}
