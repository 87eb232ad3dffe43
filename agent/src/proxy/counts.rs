use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

use super::Surface;
use crate::{decision::Decision, telemetry::registry::Registry};

/// Bounds in seconds: decisions take microseconds, and a proxy waits for some milliseconds.
const BOUNDS: [f64; 10] = [25e-6, 50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 1e-3, 5e-3, 20e-3, 100e-3];

/// What is counted of decisions.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Where every surface adds what it counts besides.
    pub registry: Registry,
    decisions: IntCounterVec,
    would: IntCounterVec,
    rule_errors: IntCounterVec,
    seconds: HistogramVec,
    feedback: IntCounterVec,
}

impl Counts {
    /// Returns counts of nothing.
    ///
    /// # Errors
    /// If two metrics have one name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let decisions = IntCounterVec::new(
            Opts::new("weir_l7_decisions_total", "Requests that a proxy has asked about."),
            &["surface", "verdict", "reason"],
        )?;
        let would = IntCounterVec::new(
            Opts::new(
                "weir_l7_would_total",
                "Requests that passed in shadow mode, by what they would have got.",
            ),
            &["surface", "verdict", "reason"],
        )?;
        let rule_errors = IntCounterVec::new(
            Opts::new(
                "weir_l7_rule_errors_total",
                "Requests about which a condition could not be evaluated, so that its rule did not match.",
            ),
            &["rule"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("weir_l7_decision_seconds", "From the question of a proxy to the decision.")
                .buckets(BOUNDS.to_vec()),
            &["surface"],
        )?;
        let feedback = IntCounterVec::new(
            Opts::new("weir_l7_feedback_total", "Requests of which a proxy has told what became of them."),
            &["surface", "status"],
        )?;
        registry.register(Box::new(feedback.clone()))?;
        registry.register(Box::new(decisions.clone()))?;
        registry.register(Box::new(would.clone()))?;
        registry.register(Box::new(rule_errors.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { registry, decisions, would, rule_errors, seconds, feedback })
    }

    /// Counts what became of a request; what we have refused ourselves is `ours`.
    pub fn told(&self, surface: Surface, status: u16, ours: bool) {
        let class = match status {
            _ if ours => "ours",
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => "none",
        };
        self.feedback.with_label_values(&[surface.as_str(), class]).inc();
    }

    /// Counts a rule whose condition could not be evaluated.
    pub fn rule_failed(&self, rule: &str) {
        self.rule_errors.with_label_values(&[rule]).inc();
    }

    /// Counts a decision.
    pub fn decided(&self, surface: Surface, decision: &Decision, took: Duration) {
        let labels = [surface.as_str(), decision.verdict.as_str(), decision.why.kind()];
        self.decisions.with_label_values(&labels).inc();
        if let Some((verdict, why)) = &decision.would {
            self.would.with_label_values(&[surface.as_str(), verdict.as_str(), why.kind()]).inc();
        }
        self.seconds.with_label_values(&[surface.as_str()]).observe(took.as_secs_f64());
    }
}
