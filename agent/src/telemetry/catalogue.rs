//! All metrics in words: docs/metrics.md is made of the registries that the agent itself counts with.

use std::{fmt::Write as _, path::Path, sync::Arc};

use super::{metrics, registry::Entry};
use crate::{
    audit::Audit,
    config::{Config, ConfigError},
    datapath::memory::Mapped,
    decision::source::Names,
    escalate::Ladder,
    notify::Notifier,
    proxy::{
        self,
        judge::{Judge, World},
    },
};

/// The smallest configuration: what is counted does not depend on it.
const CONFIG: &str = "interfaces: [{name: eth0}]";

/// Metrics that belong together.
struct Group {
    title: &'static str,
    /// What their names begin with.
    names: &'static [&'static str],
    /// When they are on the page.
    appear: &'static str,
}

/// In the order of the page of the documentation. The first that fits has a metric.
const GROUPS: &[Group] = &[
    Group {
        title: "Agent",
        names: &[
            "weir_build_info",
            "weir_confined",
            "weir_config_",
            "weir_scrape_",
            "weir_alerts",
            "weir_audit_",
        ],
        appear: "always; `weir_alerts` once something was wrong",
    },
    Group {
        title: "Policy and tables",
        names: &["weir_enforcing", "weir_policy_", "weir_table_", "weir_buckets_", "weir_drift_"],
        appear: "always",
    },
    Group { title: "Interfaces", names: &["weir_interface_"], appear: "a row for each of `interfaces`" },
    Group {
        title: "Packets",
        names: &["weir_packets_", "weir_bytes_", "weir_class_", "weir_events_"],
        appear: "a row once there was such a packet; `weir_events_total` always",
    },
    Group { title: "Feeds", names: &["weir_feed_"], appear: "rows for each of `feeds`" },
    Group { title: "Limits", names: &["weir_limit_"], appear: "rows for each of `limits`" },
    Group { title: "Bans and manual rules", names: &["weir_rule"], appear: "always" },
    Group {
        title: "Requests (L7)",
        names: &["weir_l7_decision", "weir_l7_would_", "weir_l7_rule_", "weir_l7_feedback_", "weir_l7_log_"],
        appear: "a row once a proxy has asked, or told",
    },
    Group {
        title: "Quotas",
        names: &["weir_l7_quota_"],
        appear: "always; those with labels once a quota was asked",
    },
    Group {
        title: "Escalation",
        names: &["weir_escalation_"],
        appear: "always; those with labels once counted",
    },
    Group {
        title: "Bouncers of CrowdSec",
        names: &["weir_l7_lapi_"],
        appear: "a row once one of `l7.bouncers` has asked",
    },
    Group {
        title: "Bans given to proxies",
        names: &["weir_l7_push_"],
        appear: "rows for each target of `l7.push`",
    },
    Group { title: "Fleet", names: &["weir_fleet_"], appear: "with `l7.fleet`" },
    Group {
        title: "Notifications",
        names: &["weir_notify_"],
        appear: "a row once somebody of `l7.notify` was to be told",
    },
    Group { title: "Process", names: &["process_"], appear: "always" },
    Group { title: "Others", names: &[""], appear: "" },
];

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A metric is not well formed.
    #[error(transparent)]
    Metric(#[from] prometheus::Error),
}

/// Returns all metrics that an agent can have, by name.
///
/// # Errors
/// [`CatalogueError`]
pub fn entries() -> Result<Vec<Entry>, CatalogueError> {
    let config = Config::parse(Path::new(""), CONFIG)?;
    let notifier = Notifier::new()?;
    let (ladder, _due) = Ladder::new(&config.l7.escalation, notifier.clone())?;
    let world = World { memory: Arc::new(Mapped::new()), names: Names::new(&[], &[]) };
    let (audit, _entries) = Audit::new()?;
    let judge = Judge::new(&config, world, ladder, audit.clone())?;
    proxy::describe(&judge)?;
    let registry = &judge.counts().registry;
    audit.register(registry)?;
    notifier.register(registry)?;
    let mut entries = [metrics::entries()?, registry.entries()].concat();
    entries.sort();
    Ok(entries)
}

/// Returns the page of the documentation.
#[must_use]
pub fn markdown(entries: &[Entry]) -> String {
    let mut text = "# Metrics\n\n\
        Every metric of the agent's page, `/metrics` at `listen.metrics`. Made by `weir catalogue > docs/metrics.md` \
        from what the agent counts with; a test fails where this page is not up to date.\n\n\
        The page is classic text (0.0.4), or OpenMetrics 1.0 for those who ask for it with `Accept`, as Prometheus \
        does; there a counter is called without `_total` in its `# TYPE` line. No label carries an address. \
        Counters of the kernel go on when the agent is restarted; others begin anew. Alerts are in \
        [deploy/prometheus/alerts.yaml](../deploy/prometheus/alerts.yaml), what to do about them is in \
        [runbook.md](runbook.md), a dashboard in [deploy/grafana/weir.json](../deploy/grafana/weir.json).\n"
        .to_owned();
    let group_of = |entry: &Entry| {
        GROUPS.iter().position(|group| group.names.iter().any(|name| entry.name.starts_with(name)))
    };
    for (i, Group { title, appear, .. }) in GROUPS.iter().enumerate() {
        let rows: Vec<&Entry> = entries.iter().filter(|entry| group_of(entry) == Some(i)).collect();
        if rows.is_empty() {
            continue;
        }
        _ = write!(text, "\n## {title}\n\n");
        if !appear.is_empty() {
            _ = write!(text, "On the page: {appear}.\n\n");
        }
        text.push_str("| metric | type | labels | what it says |\n|---|---|---|---|\n");
        for Entry { name, kind, labels, help } in rows {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            _ = writeln!(
                text,
                "| `{name}` | {kind} | {} | {} |",
                labels.join(", "),
                help.replace('|', "\\|")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/metrics.md");

    #[test]
    fn the_page_of_the_documentation_is_up_to_date() {
        let page = markdown(&entries().unwrap());
        assert!(page == PAGE, "run `weir catalogue > docs/metrics.md`; it is to be:\n{page}");
        assert!(!page.contains("## Others"), "a metric belongs to no group: {page}");
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for Entry { name, kind, labels, help } in entries().unwrap() {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(name.starts_with("weir_") || name.starts_with("process_"), "{name}");
            assert!(!help.is_empty() && help.ends_with('.'), "{name}: {help}");
            for label in labels {
                assert!(
                    !["address", "ip", "source", "client", "prefix"].contains(&&*label),
                    "{name}: {label}"
                );
            }
        }
    }
}
