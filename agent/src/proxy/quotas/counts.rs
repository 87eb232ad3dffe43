use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use crate::{decision::quota::Charged, telemetry::registry::Registry};

/// What is counted of quotas.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Requests that were charged here because the shared store was away.
    pub(super) fallbacks: IntCounter,
    /// Keys that have found no place of their own.
    pub(super) crowded: IntCounter,
    /// Whether there is a connection to the shared store.
    pub(super) connected: IntGauge,
    /// Questions to the shared store that got no answer.
    pub(super) failures: IntCounterVec,
    /// Requests that were refused without asking it again.
    pub(super) remembered: IntCounter,
    answers: IntCounterVec,
}

impl Counts {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counts = Self {
            fallbacks: IntCounter::new(
                "weir_l7_quota_fallbacks_total",
                "Requests that were charged on this gateway alone because the shared store was away.",
            )?,
            crowded: IntCounter::new(
                "weir_l7_quota_crowded_total",
                "Keys that have found no place in memory and share a budget; see l7.quotas.keys.",
            )?,
            connected: IntGauge::new(
                "weir_l7_quota_store_connected",
                "1 while the store that gateways share quotas in answers.",
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "weir_l7_quota_store_failures_total",
                    "Questions to the shared store without an answer.",
                ),
                &["cause"],
            )?,
            remembered: IntCounter::new(
                "weir_l7_quota_remembered_total",
                "Requests that were refused without asking the shared store again.",
            )?,
            answers: IntCounterVec::new(
                Opts::new("weir_l7_quota_answers_total", "What quotas have said."),
                &["quota", "answer"],
            )?,
        };
        registry.register(Box::new(counts.fallbacks.clone()))?;
        registry.register(Box::new(counts.crowded.clone()))?;
        registry.register(Box::new(counts.connected.clone()))?;
        registry.register(Box::new(counts.failures.clone()))?;
        registry.register(Box::new(counts.remembered.clone()))?;
        registry.register(Box::new(counts.answers.clone()))?;
        Ok(counts)
    }

    pub(super) fn answered(&self, charged: &[Charged]) {
        for Charged { answer, name, .. } in charged {
            let Some(name) = name else { continue };
            let said = match (answer.over, answer.shadow, answer.near) {
                (true, false, _) => "over",
                (true, true, _) => "would",
                (false, _, true) => "near",
                (false, _, false) => "ok",
            };
            self.answers.with_label_values(&[&**name, said]).inc();
        }
    }
}
