//! What a case found, and what was aimed at.

use serde_json::{Map, Value, json};
use weir::output;

use crate::{
    rounds::Rounds,
    stats::{Spread, median},
};

/// What was aimed at: a target of the design (docs/benchmarks.md), and the bound that it sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    /// The target, such as `P1`.
    pub(crate) target: &'static str,
    /// The peer with whom ours is compared; nothing where it is our own value that counts.
    pub(crate) against: Option<&'static str>,
    /// The bound of the ratio, or of the value.
    pub(crate) bound: Bound,
}

/// A bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    const fn value(self) -> f64 {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => bound,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::AtLeast(_) => "≥",
            Self::AtMost(_) => "≤",
        }
    }
}

/// Somebody with whom ours is compared.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What it is called.
    pub(crate) name: String,
    /// What it took; or why it was not measured.
    pub(crate) value: Result<f64, String>,
    /// How many times that is what ours took, round by round.
    pub(crate) ratio: Option<Spread>,
}

/// What a case found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Its name.
    pub(crate) case: String,
    /// What ours took; or why it was not measured.
    pub(crate) ours: Result<f64, String>,
    /// Of `ours` and of the peers.
    pub(crate) unit: &'static str,
    /// How often it was measured.
    pub(crate) rounds: usize,
    /// The first of them is the reference.
    pub(crate) peers: Vec<Peer>,
    /// What was aimed at.
    pub(crate) aims: Vec<Aim>,
    /// What else is to be known.
    pub(crate) notes: Vec<String>,
}

impl Finding {
    /// One value of ours, without rounds.
    pub(crate) fn value(case: &str, unit: &'static str, ours: f64) -> Self {
        Self {
            case: case.to_owned(),
            ours: Ok(ours),
            unit,
            rounds: 1,
            peers: Vec::new(),
            aims: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Something that could not be measured.
    pub(crate) fn not_measured(case: &str, unit: &'static str, why: String) -> Self {
        Self { ours: Err(why), rounds: 0, ..Self::value(case, unit, 0.0) }
    }

    /// What packets took, in ns beyond the empty program.
    pub(crate) fn net(case: &str, rounds: &Rounds, ours: &str) -> Self {
        let least = Spread::of(rounds.net(ours)).least;
        let empty = rounds.empty().median;
        Self::of(case, rounds, ours, |name| rounds.net(name))
            .noting(format!("least {least:.0} ns, empty {empty:.0} ns"))
    }

    /// What packets took, in ns, all in all.
    pub(crate) fn gross(case: &str, rounds: &Rounds, ours: &str) -> Self {
        let least = Spread::of(rounds.gross(ours)).least;
        let millions = 1e3 / median(rounds.gross(ours));
        Self::of(case, rounds, ours, |name| rounds.gross(name))
            .noting(format!("least {least:.0} ns, {millions:.2} Mpps"))
    }

    fn of<'a>(case: &str, rounds: &Rounds, ours: &str, took: impl Fn(&str) -> &'a [f64]) -> Self {
        let peer = |name: &str| Peer {
            name: name.to_owned(),
            value: Ok(median(took(name))),
            ratio: Some(Spread::of(&ratios(took(name), took(ours)))),
        };
        Self {
            rounds: rounds.len(),
            peers: rounds.names().filter(|name| *name != ours).map(peer).collect(),
            ..Self::value(case, "ns", median(took(ours)))
        }
    }

    /// Adds somebody with whom ours is compared by its value.
    pub(crate) fn beside(mut self, name: &str, value: Result<f64, String>) -> Self {
        let ratio = match (&value, &self.ours) {
            (Ok(value), Ok(ours)) => Some(Spread::of(&[value / ours])),
            (Ok(_) | Err(_), _) => None,
        };
        self.peers.push(Peer { name: name.to_owned(), value, ratio });
        self
    }

    /// Adds somebody with whom ours is compared round by round.
    pub(crate) fn beside_rounds(mut self, name: &str, ours: &[f64], theirs: &[f64]) -> Self {
        let ratio = Some(Spread::of(&ratios(theirs, ours)));
        self.peers.push(Peer { name: name.to_owned(), value: Ok(median(theirs)), ratio });
        self
    }

    /// Says that a peer is missing, and why.
    pub(crate) fn without(mut self, missing: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let peers = missing.into_iter();
        self.peers.extend(peers.map(|(name, why)| Peer {
            name: name.to_owned(),
            value: Err(why),
            ratio: None,
        }));
        self
    }

    /// Says what was aimed at.
    pub(crate) fn aiming(
        mut self,
        target: &'static str,
        against: Option<&'static str>,
        bound: Bound,
    ) -> Self {
        self.aims.push(Aim { target, against, bound });
        self
    }

    /// Adds something to be known.
    pub(crate) fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Returns how often it was measured differently from once.
    pub(crate) fn measured_times(self, rounds: usize) -> Self {
        Self { rounds, ..self }
    }

    /// Returns with what ours is compared first of all.
    pub(crate) fn reference(&self) -> Option<&Peer> {
        self.peers.first()
    }

    /// Returns what counts for an aim; nothing where it was not measured.
    pub(crate) fn measured(&self, aim: &Aim) -> Option<f64> {
        match aim.against {
            None => self.ours.as_ref().ok().copied(),
            Some(name) => self.peers.iter().find(|peer| peer.name == name)?.ratio.map(|ratio| ratio.median),
        }
    }

    /// Returns one JSON object, on a line.
    pub(crate) fn json(&self) -> Value {
        let number = |value: &Result<f64, String>| json!(value.as_ref().ok().copied().map(rounded));
        let peers: Map<_, _> =
            self.peers.iter().map(|peer| (peer.name.clone(), number(&peer.value))).collect();
        let reference = self.reference();
        let ratio = reference.and_then(|peer| peer.ratio);
        let aims: Vec<_> = self.aims.iter().map(|aim| self.aim_json(aim)).collect();
        let missing = self
            .peers
            .iter()
            .filter_map(|peer| Some(format!("{}: {}", peer.name, peer.value.as_ref().err()?)));
        let notes: Vec<_> =
            self.notes.iter().cloned().chain(missing).chain(self.ours.as_ref().err().cloned()).collect();
        json!({
            "case": self.case,
            "ours": number(&self.ours),
            "reference": reference.map_or(Value::Null, |peer| number(&peer.value)),
            "ratio": ratio.map(|ratio| rounded(ratio.median)),
            "ratio_quartiles": ratio.map(|ratio| [rounded(ratio.lower), rounded(ratio.upper)]),
            "unit": self.unit,
            "rounds": self.rounds,
            "peers": peers,
            "aims": aims,
            "notes": notes,
        })
    }

    fn aim_json(&self, aim: &Aim) -> Value {
        let measured = self.measured(aim);
        json!({
            "target": aim.target,
            "against": aim.against,
            "bound": aim.bound.value(),
            "measured": measured.map(rounded),
            "met": measured.map(|measured| aim.bound.holds(measured)),
        })
    }
}

fn ratios(other: &[f64], ours: &[f64]) -> Vec<f64> {
    other.iter().zip(ours).map(|(other, ours)| other / ours).collect()
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// Returns a number with three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        x if !(0.00005..0.1).contains(&x) => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Heads of [`rows`].
pub(crate) const HEADS: [&str; 7] =
    ["case", "ours", "reference", "ratio (quartiles)", "unit", "rounds", "peers and notes"];

/// Returns what was found, a row each.
pub(crate) fn rows(findings: &[Finding]) -> Vec<Vec<String>> {
    let none = || "–".to_owned();
    let spread = |ratio: Spread| match ratio {
        Spread { lower, upper, .. } if (upper - lower).abs() < f64::EPSILON => short(ratio.median),
        _ => format!("{} ({}–{})", short(ratio.median), short(ratio.lower), short(ratio.upper)),
    };
    let peer = |peer: &Peer| match (&peer.value, peer.ratio) {
        (Ok(value), Some(ratio)) => format!("{} {} ({}×)", peer.name, short(*value), short(ratio.median)),
        (Ok(value), None) => format!("{} {}", peer.name, short(*value)),
        (Err(why), _) => format!("{} not measured: {why}", peer.name),
    };
    let row = |finding: &Finding| {
        let reference = finding.reference();
        let mut notes: Vec<_> = finding.peers.iter().skip(1).map(peer).collect();
        notes.extend(finding.notes.iter().cloned());
        notes.extend(finding.ours.as_ref().err().map(|why| format!("not measured: {why}")));
        vec![
            finding.case.clone(),
            finding.ours.as_ref().map_or_else(|_| none(), |value| short(*value)),
            reference.map_or_else(none, |peer| {
                let value = peer
                    .value
                    .as_ref()
                    .map_or_else(|why| format!("not measured: {why}"), |value| short(*value));
                format!("{value} {}", peer.name)
            }),
            reference.and_then(|peer| peer.ratio).map_or_else(none, spread),
            finding.unit.to_owned(),
            finding.rounds.to_string(),
            notes.join("; "),
        ]
    };
    findings.iter().map(row).collect()
}

/// Heads of [`aims`].
pub(crate) const AIM_HEADS: [&str; 5] = ["target", "case", "aim", "measured", ""];

/// Returns what was aimed at, and whether it was met, a row each.
pub(crate) fn aims(findings: &[Finding]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for finding in findings {
        for aim in &finding.aims {
            let measured = finding.measured(aim);
            let what = match aim.against {
                Some(name) => format!("{} {}× {name}", aim.bound.sign(), aim.bound.value()),
                None => format!("{} {} {}", aim.bound.sign(), aim.bound.value(), finding.unit),
            };
            let verdict = measured
                .map_or("not measured", |measured| if aim.bound.holds(measured) { "met" } else { "missed" });
            rows.push(vec![
                aim.target.to_owned(),
                finding.case.clone(),
                what,
                measured.map_or_else(|| "–".to_owned(), short),
                verdict.to_owned(),
            ]);
        }
    }
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    rows
}

/// Returns what was found, for a terminal.
pub(crate) fn tables(findings: &[Finding]) -> String {
    format!("{}\n{}", output::table(&HEADS, rows(findings)), output::table(&AIM_HEADS, aims(findings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding::value("table.v4.hit", "ns", 50.0)
            .beside("LPM_TRIE", Ok(1000.0))
            .without([("ipset", "it is not installed".to_owned())])
            .aiming("P1", Some("LPM_TRIE"), Bound::AtLeast(15.0))
            .aiming("P3", Some("ipset"), Bound::AtLeast(4.0))
            .aiming("P5", None, Bound::AtMost(40.0))
    }

    #[test]
    fn json_has_the_keys_that_are_promised() {
        let json = finding().json();
        assert_eq!((&json["case"], &json["unit"]), (&json!("table.v4.hit"), &json!("ns")));
        assert_eq!(
            (&json["ours"], &json["reference"], &json["ratio"]),
            (&json!(50.0), &json!(1000.0), &json!(20.0))
        );
        assert_eq!((&json["rounds"], &json["peers"]["ipset"]), (&json!(1), &Value::Null));
        assert_eq!(json["aims"][0]["met"], json!(true));
        assert!(json["notes"].to_string().contains("not installed"));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let rows = aims(&[finding()]);
        let verdicts: Vec<_> = rows.iter().map(|row| row[4].as_str()).collect();
        assert_eq!(verdicts, ["met", "not measured", "missed"]);
        assert_eq!(finding().json()["aims"][1]["met"], Value::Null);
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [1234.5, 12.34, 1.234, 0.01234, 0.0].map(short),
            ["1234", "12.3", "1.23", "0.0123", "0.00"]
        );
    }
}
