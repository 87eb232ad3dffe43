//! All kinds of work together, for long: floods, lists that change, reloads, kills, bans, requests.
//!
//! Kills end at two fifths of the time. What is left is one agent's life, over which memory and handles
//! must be flat: see [`steady`]. What the agent keeps within bounds is filled before it is measured.

/// What is done, and how often.
mod work;
/// Whether something grows.
mod steady;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};
use weir_tests::vitals::Vitals;

use self::{
    steady::{Series, Verdict},
    work::{Work, Worker},
};
use crate::{
    flow::Flow,
    ledger::Row,
    stand::{Counted, Stand},
    table,
};

/// The share of the time in which agents are killed.
const KILLS: f64 = 0.4;
/// The share of the last life that is no part of the measure: caches and tables fill.
const WARM_UP: f64 = 0.25;
/// How often memory and handles are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The interface adds up what it has received after each batch, weir at each frame.
const BATCH: u64 = 64;
/// More complaints say nothing new.
const PROBLEMS_MAX: usize = 20;

/// What was done, and what was seen.
#[derive(Clone, Debug)]
pub struct Report {
    seed: u64,
    minutes: u64,
    done: [u64; Work::COUNT],
    total: Row,
    wrong: u64,
    counted: Counted,
    steady: Vec<Verdict>,
    problems: Vec<String>,
}

/// Works for so long. `tell` is told of each minute.
///
/// # Errors
/// If the gateway cannot be built.
pub fn run(seed: u64, list: &Path, duration: Duration, mut tell: impl FnMut(&str)) -> Result<Report> {
    let stand = Stand::start(seed, list)?;
    let mut soak = Soak {
        worker: Worker::new(stand),
        series: Series::default(),
        start: Instant::now(),
        duration,
        looked: Instant::now(),
        minutes: 0,
        problems: Vec::new(),
    };
    soak.turns(&mut tell);
    soak.end(seed)
}

struct Soak {
    worker: Worker,
    series: Series,
    start: Instant,
    duration: Duration,
    looked: Instant,
    minutes: u64,
    problems: Vec<String>,
}

impl Soak {
    fn turns(&mut self, tell: &mut impl FnMut(&str)) {
        let mut killing = true;
        while self.start.elapsed() < self.duration && self.problems.len() < PROBLEMS_MAX {
            let kills = self.start.elapsed() < self.duration.mul_f64(KILLS);
            if killing && !kills {
                killing = false;
                if let Err(error) = self.worker.fill() {
                    self.complain(&format!("{error:#}"));
                }
            }
            if let Err(error) = self.worker.turn(kills) {
                self.complain(&format!("{error:#}"));
            }
            if self.looked.elapsed() >= LOOK {
                self.looked = Instant::now();
                if let Err(error) = self.look(kills) {
                    self.complain(&format!("{error:#}"));
                }
            }
            if self.start.elapsed().as_secs() / 60 > self.minutes {
                self.minutes += 1;
                tell(&self.line());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn complain(&mut self, problem: &str) {
        let problem = format!("after {:.0?}: {problem}", self.start.elapsed());
        self.problems.push(problem);
    }

    /// Looks at memory and handles, and whether the counters may be right.
    fn look(&mut self, kills: bool) -> Result<()> {
        let stand = &mut self.worker.stand;
        let begun = stand.counted()?;
        let after = stand.counted()?;
        // Frames come in between two looks; both only grow.
        if begun.judged > after.received + BATCH || begun.received > after.judged + BATCH {
            self.complain(&format!("received and judged are apart: {begun:?}, then {after:?}"));
        }
        let stand = &mut self.worker.stand;
        let vitals = Vitals::of(stand.agent.id()?)?;
        let pins = stand.pins()?;
        if kills {
            self.series = Series::default();
        }
        self.series.note(self.start.elapsed(), vitals, pins);
        Ok(())
    }

    /// Returns how it is.
    fn line(&self) -> String {
        let work = &self.worker;
        // What was sent a moment ago is on its way; the minute before is judged.
        let rows = work.stand.ledger.rows();
        let wrong: u64 = rows.iter().take(work.stand.ledger.epoch()).map(Row::wrong).sum();
        work.stand.ledger.next();
        let total = work.stand.ledger.total();
        let counted = work.stand.counted().unwrap_or_default();
        let done = Work::ALL.map(|kind| format!("{} {}", work.done(kind), kind.name()));
        format!(
            "minute {}: {} frames, {} requests, {wrong} wrong before; received {}, counted {}; {}; {}",
            self.minutes,
            total.frames(),
            total.requests,
            counted.received,
            counted.judged,
            self.series.last(),
            done.join(", "),
        )
    }

    fn end(mut self, seed: u64) -> Result<Report> {
        let counted = self.worker.stand.quiet()?;
        let total = self.worker.stand.ledger.total();
        let rows = self.worker.stand.ledger.rows();
        self.problems.extend(rows.iter().filter(|row| row.wrong() > 0).map(Row::complaint));
        if counted.received != counted.judged {
            let Counted { received, judged } = counted;
            self.complain(&format!("{received} frames were received, and {judged} stand in the counters"));
        }
        let steady = self.series.verdicts(WARM_UP);
        let grown = steady.iter().filter(|verdict| !verdict.is_flat()).map(ToString::to_string);
        self.problems.extend(grown);
        Ok(Report {
            seed,
            minutes: self.duration.as_secs() / 60,
            done: Work::ALL.map(|kind| self.worker.done(kind)),
            total,
            wrong: rows.iter().map(Row::wrong).sum(),
            counted,
            steady,
            problems: self.problems,
        })
    }
}

impl Report {
    /// Returns how many verdicts were wrong.
    #[must_use]
    pub const fn wrong(&self) -> u64 {
        self.wrong
    }

    /// Returns all that was not as it must be, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems.clone()
    }

    /// Returns the tables for people.
    #[must_use]
    pub fn text(&self) -> String {
        let done: Vec<_> = Work::ALL
            .into_iter()
            .zip(self.done)
            .map(|(kind, times)| vec![kind.name().to_owned(), times.to_string()])
            .collect();
        let flows: Vec<_> = Flow::ALL
            .into_iter()
            .map(|flow| {
                let (sent, arrived) = self.total.of(flow);
                let wrong = self.total.wrong_of(flow);
                vec![flow.name().to_owned(), sent.to_string(), arrived.to_string(), wrong.to_string()]
            })
            .collect();
        let steady: Vec<_> = self.steady.iter().map(Verdict::row).collect();
        let Counted { received, judged } = self.counted;
        format!(
            "{}\n{}\n{}\nrequests {}, wrong {}\nreceived by the interface: {received}; sum over all reasons: {judged}\n\
             seed {}, {} minutes, wrong verdicts: {}\n",
            table::aligned(&["work", "times"], &done),
            table::aligned(&["source", "sent", "came through", "wrong"], &flows),
            table::aligned(&["of the last agent", "first", "last", "growth", "bound"], &steady),
            self.total.requests,
            self.total.wrong_requests,
            self.seed,
            self.minutes,
            self.wrong(),
        )
    }

    /// Returns the report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let done =
            Work::ALL.into_iter().zip(self.done).map(|(kind, times)| (kind.name().to_owned(), json!(times)));
        json!({
            "seed": self.seed,
            "minutes": self.minutes,
            "work": done.collect::<serde_json::Map<_, _>>(),
            "frames": self.total.frames(),
            "requests": self.total.requests,
            "wrong": self.wrong(),
            "received": self.counted.received,
            "counted": self.counted.judged,
            "steady": self.steady.iter().map(Verdict::json).collect::<Vec<_>>(),
            "problems": self.problems,
        })
    }
}
