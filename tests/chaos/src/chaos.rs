//! Faults in an order and at times that a seed says, under traffic that does not pause.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    fault::Fault,
    flow::Flow,
    ledger::Row,
    stand::{Counted, Stand},
    table,
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What chance begins with: the same seed makes the same choices.
    pub seed: u64,
    /// How often each fault happens.
    pub rounds: u32,
    /// What happens in each round, in an order of chance.
    pub faults: Vec<Fault>,
    /// The list.
    pub list: PathBuf,
}

/// A fault that has happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// Which.
    pub fault: Fault,
    /// Of which kind.
    pub kind: String,
    /// What was not as it must be.
    pub problem: Option<String>,
    /// From the end of the fault until all was as before.
    pub recovered: Duration,
    /// What was counted meanwhile.
    pub row: Row,
}

/// All that has happened.
#[derive(Clone, Debug)]
pub struct Report {
    seed: u64,
    rounds: u32,
    happened: Vec<Happened>,
    /// What was counted while nothing was the matter.
    calm: Row,
    counted: Counted,
    has_proxy: bool,
    /// What went wrong with the run as a whole.
    aborted: Option<String>,
}

/// Does it all. `tell` is told of each fault.
///
/// # Errors
/// If the gateway cannot be built. What goes wrong later stands in the report.
pub fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<Report> {
    let mut stand = Stand::start(plan.seed, &plan.list)?;
    let mut epochs = Vec::new();
    let mut aborted = None;
    'rounds: for round in 1..=plan.rounds {
        let mut faults = plan.faults.clone();
        stand.random.shuffle(&mut faults);
        for fault in faults {
            stand.pause(50, 500);
            match happen(&mut stand, fault) {
                Ok(happened) => {
                    let (kind, took) = (&happened.1.kind, happened.1.recovered);
                    let problem = happened.1.problem.as_ref().map_or_else(String::new, |p| format!(": {p}"));
                    tell(&format!(
                        "round {round}: {} ({kind}), recovered in {took:.1?}{problem}",
                        fault.name()
                    ));
                    epochs.push(happened);
                }
                Err(error) => {
                    aborted = Some(format!("{}: no recovery: {error:#}", fault.name()));
                    break 'rounds;
                }
            }
        }
    }
    let counted = match stand.quiet() {
        Ok(counted) => counted,
        Err(error) => {
            aborted.get_or_insert(format!("{error:#}"));
            Counted::default()
        }
    };
    let rows = stand.ledger.rows();
    let is_fault = |epoch: usize| epochs.iter().any(|(other, _)| *other == epoch);
    let mut calm = Row::default();
    rows.iter().enumerate().filter(|(epoch, _)| !is_fault(*epoch)).for_each(|(_, row)| calm.add(row));
    let happened = epochs.iter().map(|(epoch, happened)| Happened {
        row: rows.get(*epoch).copied().unwrap_or_default(),
        ..happened.clone()
    });
    Ok(Report {
        seed: plan.seed,
        rounds: plan.rounds,
        happened: happened.collect(),
        calm,
        counted,
        has_proxy: stand.has_proxy,
        aborted,
    })
}

/// Has a fault happen and end, in an epoch of its own.
fn happen(stand: &mut Stand, fault: Fault) -> Result<(usize, Happened)> {
    let epoch = stand.ledger.next();
    let injected = fault.inject(stand);
    // It lasts for a while, where it lasts.
    stand.pause(200, 800);
    let recovered = stand.recover().with_context(|| match &injected {
        Ok(kind) => kind.clone(),
        Err(error) => format!("{error:#}"),
    })?;
    stand.ledger.next();
    let (kind, problem) = match injected {
        Ok(kind) => (kind, None),
        Err(error) => (String::new(), Some(format!("{error:#}"))),
    };
    Ok((epoch, Happened { fault, kind, problem, recovered, row: Row::default() }))
}

impl Report {
    /// Returns how many verdicts were wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.calm.wrong() + self.happened.iter().map(|happened| happened.row.wrong()).sum::<u64>()
    }

    /// Returns how many faults have happened.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.happened.len()
    }

    /// Returns all that was not as it must be, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.aborted.iter().cloned().collect();
        for Happened { fault, kind, problem, row, .. } in &self.happened {
            problems.extend(problem.iter().map(|problem| format!("{} ({kind}): {problem}", fault.name())));
            if row.wrong() > 0 {
                problems.push(format!("{} ({kind}): {}", fault.name(), row.complaint()));
            }
        }
        if self.calm.wrong() > 0 {
            problems.push(format!("between faults: {}", self.calm.complaint()));
        }
        let Counted { received, judged } = self.counted;
        if received != judged {
            problems.push(format!("{received} frames were received, and {judged} stand in the counters"));
        }
        problems
    }

    /// Returns the table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |name: &str, times: usize, row: &Row, most: Option<Duration>| {
            let took = most.map_or_else(|| "-".to_owned(), |most| format!("{:.1} s", most.as_secs_f64()));
            let numbers = [times as u64, row.frames(), row.requests, row.wrong()].map(|n| n.to_string());
            [vec![name.to_owned()], numbers.to_vec(), vec![took]].concat()
        };
        let mut total = self.calm;
        let mut rows: Vec<_> = self
            .by_fault()
            .into_iter()
            .map(|(fault, times, row, most)| {
                total.add(&row);
                line(fault.name(), times, &row, Some(most))
            })
            .collect();
        rows.push(line("between faults", self.happened.len(), &self.calm, None));
        let most = self.happened.iter().map(|happened| happened.recovered).max();
        rows.push(line("together", self.happened.len(), &total, most));
        let heads =
            ["fault", "injected", "frames judged", "requests judged", "wrong", "recovered in, at most"];
        let mut text = table::aligned(&heads, &rows);
        let (seed, rounds) = (self.seed, self.rounds);
        _ = writeln!(text, "\nseed {seed}, {rounds} rounds; frames by what must become of them:");
        let flows = Flow::ALL.map(|flow| {
            let (sent, arrived) = total.of(flow);
            vec![flow.name().to_owned(), sent.to_string(), arrived.to_string()]
        });
        text += &table::aligned(&["source", "sent", "came through"], &flows);
        let Counted { received, judged } = self.counted;
        _ = writeln!(text, "\nreceived by the interface: {received}; sum over all reasons: {judged}");
        if !self.has_proxy {
            text += "NOT RUN: requests through a proxy: there is no nginx; `cargo xtask setup --peers` fetches it\n";
        }
        text
    }

    /// Returns the report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let row = |row: &Row| json!({"frames": row.frames(), "requests": row.requests, "wrong": row.wrong()});
        let faults = self.by_fault().into_iter().map(|(fault, times, counted, most)| {
            json!({"fault": fault.name(), "injected": times, "judged": row(&counted), "recovered_seconds": most.as_secs_f64()})
        });
        json!({
            "seed": self.seed,
            "rounds": self.rounds,
            "faults": faults.collect::<Vec<_>>(),
            "between": row(&self.calm),
            "wrong": self.wrong(),
            "received": self.counted.received,
            "counted": self.counted.judged,
            "through_a_proxy": self.has_proxy,
            "problems": self.problems(),
        })
    }

    /// Returns for each fault how often it has happened, what was counted, and the longest recovery.
    fn by_fault(&self) -> Vec<(Fault, usize, Row, Duration)> {
        let of = |fault: Fault| {
            let all = self.happened.iter().filter(move |happened| happened.fault == fault);
            let (mut row, mut times, mut most) = (Row::default(), 0, Duration::ZERO);
            for happened in all {
                row.add(&happened.row);
                times += 1;
                most = most.max(happened.recovered);
            }
            (fault, times, row, most)
        };
        Fault::ALL.into_iter().map(of).filter(|(_, times, ..)| *times > 0).collect()
    }
}
