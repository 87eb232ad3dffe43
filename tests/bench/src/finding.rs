//! What a case found, what was aimed at, and how that is told.

use serde_json::{Value, json};
use weir::output;

use crate::{
    rounds::Rounds,
    stats::{Spread, median},
};

/// What was aimed at: a target of the design, and the bound of what counts for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    name: &'static str,
    bound: f64,
    at_least: bool,
}

impl Target {
    pub(crate) const fn at_least(name: &'static str, bound: f64) -> Self {
        Self { name, bound, at_least: true }
    }

    fn is_met(self, value: f64) -> bool {
        if self.at_least { value >= self.bound } else { value <= self.bound }
    }

    fn sign(self) -> &'static str {
        if self.at_least { "≥" } else { "≤" }
    }
}

/// What a case found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Its name.
    pub(crate) case: String,
    ours: Option<f64>,
    reference: Option<(&'static str, f64)>,
    ratio: Option<Spread>,
    unit: &'static str,
    rounds: usize,
    peers: Vec<(String, Option<f64>)>,
    target: Option<Target>,
    notes: Vec<String>,
}

impl Finding {
    /// What packets took, in ns beyond the empty program, and how many times as long the reference
    /// took.
    pub(crate) fn ns(case: &str, rounds: &Rounds, ours: &str, reference: &'static str) -> Self {
        let ratios = rounds.ratios(reference, ours);
        let least = |name: &str| Spread::of(rounds.net(name)).least;
        Self {
            case: case.to_owned(),
            ours: Some(median(rounds.net(ours))),
            reference: Some((reference, median(rounds.net(reference)))),
            ratio: Some(Spread::of(&ratios)),
            unit: "ns",
            rounds: rounds.len(),
            peers: rounds
                .medians()
                .filter(|(name, _)| *name != ours)
                .map(|(name, ns)| (name.to_owned(), Some(ns)))
                .collect(),
            target: None,
            notes: vec![format!(
                "least {:.0} against {:.0} ns; empty {:.0} ns",
                least(ours),
                least(reference),
                rounds.empty().median
            )],
        }
    }

    /// Says what was aimed at.
    pub(crate) fn aiming_at(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Returns one JSON object, on a line.
    pub(crate) fn json(&self) -> Value {
        let mut object = json!({
            "case": self.case,
            "ours": self.ours.map(rounded),
            "reference": self.reference.map(|(_, value)| rounded(value)),
            "ratio": self.ratio.map(|ratio| rounded(ratio.median)),
            "ratio_quartiles": self.ratio.map(|ratio| [rounded(ratio.lower), rounded(ratio.upper)]),
            "unit": self.unit,
            "rounds": self.rounds,
            "notes": self.notes,
        });
        let peers: serde_json::Map<_, _> =
            self.peers.iter().map(|(name, value)| (name.clone(), json!(value.map(rounded)))).collect();
        object["peers"] = Value::Object(peers);
        if let (Some(target), Some(measured)) = (self.target, self.measured()) {
            object["target"] = json!(target.bound);
            object["met"] = json!(target.is_met(measured));
        }
        object
    }

    fn measured(&self) -> Option<f64> {
        self.ratio.map(|ratio| ratio.median).or(self.ours)
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Returns a number with three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Returns what was found as a table.
pub(crate) fn table(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let spread = |ratio: Spread| {
            format!("{} ({}–{})", short(ratio.median), short(ratio.lower), short(ratio.upper))
        };
        vec![
            finding.case.clone(),
            finding.ours.map_or_else(|| "–".to_owned(), short),
            finding
                .reference
                .map_or_else(|| "–".to_owned(), |(name, value)| format!("{} {name}", short(value))),
            finding.ratio.map_or_else(|| "–".to_owned(), spread),
            finding.unit.to_owned(),
            finding.rounds.to_string(),
            finding.notes.join("; "),
        ]
    });
    output::table(&["case", "ours", "reference", "ratio (quartiles)", "unit", "rounds", "notes"], rows)
}

/// Returns what was aimed at, and whether it was met.
pub(crate) fn targets(findings: &[Finding]) -> String {
    let rows = findings.iter().filter_map(|finding| {
        let (target, measured) = (finding.target?, finding.measured()?);
        Some(vec![
            target.name.to_owned(),
            finding.case.clone(),
            format!("{} {}", target.sign(), target.bound),
            short(measured),
            if target.is_met(measured) { "met" } else { "missed" }.to_owned(),
        ])
    });
    output::table(&["target", "case", "aim", "measured", ""], rows)
}
