//! All that the page shows, in one answer.

use std::time::SystemTime;

use prometheus::proto::MetricFamily;
use serde::Serialize;
use weir_common::counter::{Answer, Counter, Outcome};

use super::{
    Facts,
    history::{History, Point, milliseconds},
};
use crate::{
    datapath::DatapathError,
    record::seconds,
    rules::{Action, Rule},
    status::{self, Status},
    telemetry::metrics::{Buckets, Reading, View},
};

/// Rules that are shown; `weir bans` has all.
const RULES: usize = 200;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    version: &'static str,
    /// The name of the host.
    node: String,
    /// Milliseconds since 1970.
    now: u64,
    /// When the agent started, in seconds since 1970.
    started: u64,
    /// When the policy in force was published, likewise.
    applied: u64,
    /// As `weir status -o json` has it.
    status: Status,
    /// Interfaces that should be protected and are not.
    missing: Vec<String>,
    feeds: Vec<Feed>,
    limits: Vec<Limit>,
    tables: Vec<Table>,
    events: Events,
    rules: Rules,
    alerts: Vec<Wrong>,
    l7: Vec<Requests>,
    history: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Feed {
    name: String,
    ipv4: usize,
    ipv6: usize,
    last_success: Option<u64>,
    health: String,
    packets: Verdicts,
}

#[derive(Debug, Default, Serialize)]
struct Verdicts {
    pass: u64,
    drop: u64,
    would_drop: u64,
    near: u64,
}

#[derive(Debug, Serialize)]
struct Limit {
    name: String,
    service: Option<String>,
    dimension: String,
    /// Units a second, for sources of which nothing is known.
    rate: f64,
    packets: Verdicts,
}

#[derive(Debug, Serialize)]
struct Table {
    #[serde(rename = "table")]
    name: String,
    entries: f64,
    capacity: u64,
}

#[derive(Debug, Serialize)]
struct Events {
    suppressed: u64,
    lost: u64,
}

#[derive(Debug, Serialize)]
struct Rules {
    all: usize,
    shown: Vec<RuleShown>,
}

#[derive(Debug, Serialize)]
struct RuleShown {
    /// Whose packets: the prefix, or its pseudonym.
    prefix: String,
    action: Action,
    shadow: bool,
    since: u64,
    until: Option<u64>,
    by: String,
    /// Why; nothing where addresses are pseudonymous, since it may name some.
    note: String,
    proxy_only: bool,
    seconds_left: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Wrong {
    kind: &'static str,
    subject: String,
    text: String,
    since: u64,
}

#[derive(Debug, Serialize)]
struct Requests {
    surface: String,
    verdict: String,
    reason: String,
    #[serde(rename = "requests")]
    count: f64,
}

impl Facts {
    /// Reads all of it.
    pub(super) fn summary(&self, history: &History, started: u64) -> Result<Summary, DatapathError> {
        let view = self.metrics.view();
        let reading = self.metrics.read(&view)?;
        Ok(Summary {
            version: env!("CARGO_PKG_VERSION"),
            node: nix::unistd::gethostname()
                .map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned()),
            now: milliseconds(),
            started,
            applied: view.record.published,
            status: status::read(&self.pins, &self.state)?.heard(true),
            feeds: feeds(&view, &reading),
            limits: limits(&view, &reading),
            tables: tables(&view, &reading),
            events: Events { suppressed: reading.tally.events_suppressed, lost: reading.tally.events_lost },
            rules: self.rules(),
            alerts: self.alerts(),
            l7: self.requests(),
            history: history.points(),
            missing: view.missing,
        })
    }

    fn rules(&self) -> Rules {
        let now = SystemTime::now();
        let (_, rules) = self.bulletin.all();
        let shown = |rule: &Rule| RuleShown {
            prefix: self.naming.spell(rule.prefix),
            action: rule.action,
            shadow: rule.shadow,
            since: rule.since,
            until: rule.until,
            by: rule.by.to_string(),
            note: if self.naming.hides() { String::new() } else { rule.note.clone() },
            proxy_only: rule.proxy_only,
            seconds_left: rule.left(now).map(|left| left.as_secs()),
        };
        Rules { all: rules.len(), shown: rules.iter().take(RULES).map(shown).collect() }
    }

    fn alerts(&self) -> Vec<Wrong> {
        let alerts = self.notifier.alerts();
        let wrong = alerts.iter().map(|((kind, subject), alert)| Wrong {
            kind: kind.as_str(),
            subject: subject.clone(),
            text: alert.text.clone(),
            since: seconds(alert.since),
        });
        wrong.collect()
    }

    /// What proxies were told, most often first.
    fn requests(&self) -> Vec<Requests> {
        let families = self.metrics.l7();
        let counts = families.iter().filter(|family| family.name() == "weir_l7_decisions_total");
        let mut rows: Vec<Requests> = counts
            .flat_map(MetricFamily::get_metric)
            .map(|metric| {
                let label = |name: &str| {
                    let label = metric.get_label().iter().find(|label| label.name() == name);
                    label.map_or_else(String::new, |label| label.value().to_owned())
                };
                let count = metric.get_counter().get_value();
                Requests {
                    surface: label("surface"),
                    verdict: label("verdict"),
                    reason: label("reason"),
                    count,
                }
            })
            .collect();
        rows.sort_by(|a, b| b.count.total_cmp(&a.count));
        rows
    }
}

fn feeds(view: &View, reading: &Reading) -> Vec<Feed> {
    let feeds = view.record.feeds.iter().map(|feed| Feed {
        name: feed.name.clone(),
        ipv4: feed.ipv4,
        ipv6: feed.ipv6,
        last_success: feed.last_success,
        health: feed.health(),
        packets: verdicts(&reading.feed(&view.record.classes, &feed.name), Outcome::ALL, Outcome::as_str),
    });
    feeds.collect()
}

fn tables(view: &View, reading: &Reading) -> Vec<Table> {
    let Buckets { live, capacity, .. } = reading.buckets;
    let buckets = Table { name: "buckets".to_owned(), entries: live, capacity };
    #[expect(clippy::cast_precision_loss, reason = "no table has 2^53 entries")]
    let tables = view.record.tables.iter().map(|table| Table {
        name: table.name.clone(),
        entries: table.entries as f64,
        capacity: table.capacity,
    });
    tables.chain([buckets]).collect()
}

fn limits(view: &View, reading: &Reading) -> Vec<Limit> {
    let limits = view.record.limits.iter().zip(&reading.limits).map(|(limit, counts)| Limit {
        name: limit.name.clone(),
        service: limit.service.clone(),
        dimension: limit.dimension.clone(),
        rate: limit.paces[0].rate,
        packets: verdicts(counts, Answer::ALL, Answer::as_str),
    });
    limits.collect()
}

fn verdicts<T: Copy, const N: usize>(
    counts: &[Counter; N],
    all: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Verdicts {
    let mut sums = Verdicts::default();
    for (kind, count) in all.into_iter().zip(counts) {
        let sum = match name(kind) {
            "drop" => &mut sums.drop,
            "would_drop" => &mut sums.would_drop,
            "near" => &mut sums.near,
            _ => &mut sums.pass,
        };
        *sum = count.packets;
    }
    sums
}
