//! What was sent and what came through, by what was the matter meanwhile.
//!
//! Time is cut into epochs: one for each fault, one for each calm between two. A frame carries the
//! number of the epoch in which it was sent, so that it counts there, however late it arrives.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::flow::{Flow, Must};

/// How far what a limit lets through may be from the ideal: so many frames, and so many in a hundred.
/// The clocks of sender and kernel are read at different moments.
const LIMIT_SLACK: (u64, u64) = (5, 2);

/// What was counted in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    sent: [u64; Flow::COUNT],
    arrived: [u64; Flow::COUNT],
    /// What an exact limit would have let through.
    ideal: u64,
    /// Requests that were answered, or should have been.
    pub requests: u64,
    /// Those of them that got a wrong answer.
    pub wrong_requests: u64,
}

impl Row {
    /// Returns how many frames were judged.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// Returns how many frames of a flow were sent, and how many came through.
    #[must_use]
    pub const fn of(&self, flow: Flow) -> (u64, u64) {
        (self.sent[flow.index()], self.arrived[flow.index()])
    }

    /// Returns for how many frames of a flow the verdict was wrong.
    #[must_use]
    pub fn wrong_of(&self, flow: Flow) -> u64 {
        let (sent, arrived) = self.of(flow);
        match flow.must() {
            Must::Drop => arrived,
            Must::Pass => sent.abs_diff(arrived),
            Must::Limited => {
                let slack = LIMIT_SLACK.0 + self.ideal * LIMIT_SLACK.1 / 100;
                arrived.abs_diff(self.ideal).saturating_sub(slack)
            }
        }
    }

    /// Returns how many verdicts were wrong, of frames and of requests.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        Flow::ALL.into_iter().map(|flow| self.wrong_of(flow)).sum::<u64>() + self.wrong_requests
    }

    /// Returns what was wrong, in words.
    #[must_use]
    pub fn complaint(&self) -> String {
        let flows = Flow::ALL.into_iter().filter(|flow| self.wrong_of(*flow) > 0).map(|flow| {
            let (sent, arrived) = self.of(flow);
            let ideal =
                if flow.must() == Must::Limited { format!(", {} ideal", self.ideal) } else { String::new() };
            format!("{}: {arrived} of {sent} came through{ideal}", flow.name())
        });
        let requests = (self.wrong_requests > 0)
            .then(|| format!("{} of {} requests got a wrong answer", self.wrong_requests, self.requests));
        flows.chain(requests).collect::<Vec<_>>().join("; ")
    }

    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        for flow in Flow::ALL {
            self.sent[flow.index()] += other.sent[flow.index()];
            self.arrived[flow.index()] += other.arrived[flow.index()];
        }
        self.ideal += other.ideal;
        self.requests += other.requests;
        self.wrong_requests += other.wrong_requests;
    }
}

/// The rows of all epochs.
#[derive(Debug, Default)]
pub struct Ledger {
    epoch: AtomicUsize,
    rows: Mutex<Vec<Row>>,
}

impl Ledger {
    /// Begins the next epoch, and returns its number.
    pub fn next(&self) -> usize {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Returns the number of the epoch.
    #[must_use]
    pub fn epoch(&self) -> usize {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Returns the row of an epoch.
    #[must_use]
    pub fn row(&self, epoch: usize) -> Row {
        self.lock().get(epoch).copied().unwrap_or_default()
    }

    /// Returns the rows of all epochs, in order.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.lock().clone()
    }

    /// Returns all epochs together.
    #[must_use]
    pub fn total(&self) -> Row {
        let mut total = Row::default();
        self.lock().iter().for_each(|row| total.add(row));
        total
    }

    pub(crate) fn sent(&self, flow: Flow, epoch: usize) {
        self.change(epoch, |row| row.sent[flow.index()] += 1);
    }

    pub(crate) fn arrived(&self, flow: Flow, epoch: usize) {
        self.change(epoch, |row| row.arrived[flow.index()] += 1);
    }

    pub(crate) fn ideal(&self, epoch: usize) {
        self.change(epoch, |row| row.ideal += 1);
    }

    pub(crate) fn request(&self, epoch: usize, right: bool) {
        self.change(epoch, |row| {
            row.requests += 1;
            row.wrong_requests += u64::from(!right);
        });
    }

    fn change(&self, epoch: usize, change: impl FnOnce(&mut Row)) {
        let mut rows = self.lock();
        if rows.len() <= epoch {
            rows.resize(epoch + 1, Row::default());
        }
        change(&mut rows[epoch]);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted_where_it_was_sent() {
        let ledger = Ledger::default();
        for flow in Flow::ALL {
            ledger.sent(flow, 0);
        }
        for flow in [Flow::Allowed, Flow::Ordinary, Flow::OrdinaryV6] {
            ledger.arrived(flow, 0);
        }
        assert_eq!((ledger.row(0).wrong(), ledger.row(0).frames()), (0, 8));
        assert_eq!(ledger.next(), 1);
        ledger.arrived(Flow::Banned, 0);
        ledger.sent(Flow::Ordinary, 1);
        ledger.request(1, false);
        assert_eq!(ledger.row(0).complaint(), "banned: 1 of 1 came through");
        let lost = "ordinary: 0 of 1 came through; 1 of 1 requests got a wrong answer";
        assert_eq!(ledger.row(1).complaint(), lost);
        assert_eq!(ledger.total().wrong(), 3);
    }

    #[test]
    fn a_limit_may_be_off_by_little() {
        let row = |arrived| {
            let mut row = Row { ideal: 1000, ..Row::default() };
            row.arrived[Flow::Offender.index()] = arrived;
            row.wrong()
        };
        assert_eq!([975, 1000, 1025].map(row), [0; 3]);
        // What a new burst would let through, and nothing at all.
        assert_eq!([1250, 0].map(row), [225, 975]);
    }
}
