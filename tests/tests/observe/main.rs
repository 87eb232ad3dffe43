//! What people and Prometheus see: metrics in both formats, alerts, the dashboard, the status page in a
//! browser. Real Prometheus, promtool, Alertmanager and Chromium.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// An agent with everything that is counted, and traffic.
mod stand;
/// HTTP in the agent's namespace.
mod http;
/// The metrics page, and what promtool says of it.
mod page;
/// A Prometheus that scrapes, alerts and answers.
mod prometheus;
/// Alert rules and the dashboard name what there is; the runbook has a heading for each alert.
mod names;
/// The status page: what it tells, and whom.
mod status;
/// The status page in Chromium.
mod browser;
