//! How far each bouncer has been told.
//!
//! A cursor is the board of which the bouncer was last told, and when: what is different now is what it
//! is told next. So nothing has to be remembered of what came and went in between, and a bouncer that
//! was away for long is told as little as is enough.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use super::decision::{self, Decision, Filter};
use crate::{
    proxy::share::{Board, Piece},
    rules::Bulletin,
};

/// What a bouncer is told. Empty lists are `null`, as those of the real one.
#[derive(Debug, Default, Serialize)]
pub(super) struct News {
    deleted: Option<Vec<Decision>>,
    new: Option<Vec<Decision>>,
}

/// What is in force at a moment, as bouncers see it.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) board: Arc<Board>,
    /// The whole policy is in shadow mode.
    pub(super) shadow: bool,
    /// In seconds since 1970.
    pub(super) at: u64,
}

impl Sight {
    fn is_simulated(&self, piece: &Piece) -> bool {
        self.shadow || piece.rule.shadow
    }

    fn live(&self) -> impl Iterator<Item = &Piece> {
        self.board.pieces.iter().filter(|piece| piece.is_live(self.at))
    }

    /// Returns the decisions in force that are asked for.
    pub(super) fn decisions(&self, filter: &Filter) -> Option<Vec<Decision>> {
        let asked = self.live().filter(|piece| filter.takes(piece, self.is_simulated(piece)));
        list(asked.map(|piece| Decision::new(piece, self.is_simulated(piece), self.at)).collect())
    }

    /// Returns what is different from what somebody has been told before.
    fn since(&self, before: &Self, filter: &Filter) -> News {
        let (mut new, mut deleted) = (Vec::new(), Vec::new());
        let mut gone = |piece: &Piece| {
            let simulated = before.is_simulated(piece);
            if !filter.takes(piece, simulated) {
            } else if piece.is_live(self.at) {
                deleted.push(Decision::ended(piece, simulated));
            } else {
                deleted.push(Decision::new(piece, simulated, self.at));
            }
        };
        let mut set = |piece: &Piece| {
            let simulated = self.is_simulated(piece);
            if filter.takes(piece, simulated) {
                new.push(Decision::new(piece, simulated, self.at));
            }
        };
        let (mut old, mut now) = (before.live().peekable(), self.live().peekable());
        loop {
            let order = match (old.peek(), now.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(now)) => old.prefix.cmp(&now.prefix),
            };
            let was = if order.is_le() { old.next() } else { None };
            let is = if order.is_ge() { now.next() } else { None };
            match (was, is) {
                (Some(was), Some(is)) => match self.differ(was, before, is) {
                    Difference::None => {}
                    // A new one in place of the old: nobody need let go in between.
                    Difference::Words => set(is),
                    Difference::Kind => {
                        gone(was);
                        set(is);
                    }
                },
                (was, is) => {
                    was.into_iter().for_each(&mut gone);
                    is.into_iter().for_each(&mut set);
                }
            }
        }
        News { deleted: list(deleted), new: list(new) }
    }

    fn differ(&self, was: &Piece, before: &Self, is: &Piece) -> Difference {
        let kind = |piece: &Piece, sight: &Self| (decision::kind(piece), sight.is_simulated(piece));
        if kind(was, before) != kind(is, self) {
            Difference::Kind
        } else if was.until(before.at) != is.until(self.at)
            || decision::scenario(was) != decision::scenario(is)
        {
            Difference::Words
        } else {
            Difference::None
        }
    }
}

enum Difference {
    None,
    Words,
    Kind,
}

fn list(decisions: Vec<Decision>) -> Option<Vec<Decision>> {
    (!decisions.is_empty()).then_some(decisions)
}

/// The cursors of all bouncers.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    board: Mutex<Arc<Board>>,
    told: Mutex<HashMap<usize, Sight>>,
}

impl Cursors {
    /// Returns what is in force.
    pub(super) fn look(&self, bulletin: &Bulletin, shadow: bool, at: u64) -> Sight {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if !board.is_current(bulletin) {
            *board = Arc::new(Board::read(bulletin));
        }
        Sight { board: Arc::clone(&board), shadow, at }
    }

    /// Returns what a bouncer has not been told yet. One that starts, or was never seen, is told all.
    pub(super) fn tell(&self, bouncer: usize, now: &Sight, filter: &Filter) -> News {
        let before = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.insert(bouncer, now.clone())
        };
        match before.filter(|_| !filter.startup) {
            Some(before) => now.since(&before, filter),
            None => News { deleted: None, new: now.decisions(filter) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proxy::share::tests::rule,
        rules::{Action, Rule},
    };

    /// What bouncer 0 is told at `at`, as `+` and `-` with type and value.
    fn told(cursors: &Cursors, bulletin: &Bulletin, query: &str, shadow: bool, at: u64) -> Vec<String> {
        let filter = Filter::parse(query).unwrap();
        let news = cursors.tell(0, &cursors.look(bulletin, shadow, at), &filter);
        let text = serde_json::to_value(&news).unwrap();
        let of = |list: &str, sign: &str| {
            let decisions = text[list].as_array().cloned().unwrap_or_default();
            let word = |name: &str, one: &serde_json::Value| one[name].as_str().unwrap().to_owned();
            decisions
                .iter()
                .map(|one| {
                    format!("{sign}{} {} {}", word("type", one), word("value", one), word("duration", one))
                })
                .collect::<Vec<_>>()
        };
        [of("deleted", "-"), of("new", "+")].concat()
    }

    #[test]
    fn a_bouncer_is_told_what_changed() {
        let (cursors, bulletin) = (Cursors::default(), Bulletin::default());
        let until = |until, prefix: &str| Rule { until: Some(until), ..rule(prefix, Action::Ban) };
        let (a, b) = (until(1_000, "192.0.2.1/32"), until(1_010, "192.0.2.2/32"));
        bulletin.post([&a, &b].into_iter());
        let all = ["+ban 192.0.2.1 10m0s", "+ban 192.0.2.2 10m10s"];
        assert_eq!(told(&cursors, &bulletin, "", false, 400), all, "never seen before");
        assert_eq!(told(&cursors, &bulletin, "", false, 410), [""; 0]);
        assert_eq!(told(&cursors, &bulletin, "startup=true", false, 400), all);
        // One ends by itself, whether or not the book knows yet; one is made longer.
        let longer = until(2_000, "192.0.2.2/32");
        bulletin.post([&a, &longer].into_iter());
        let news = ["-ban 192.0.2.1 0s", "+ban 192.0.2.2 16m40s"];
        assert_eq!(told(&cursors, &bulletin, "", false, 1_000), news);
        bulletin.post([&longer].into_iter());
        assert_eq!(told(&cursors, &bulletin, "", false, 1_002), [""; 0]);
        // It becomes a throttle, and is lifted.
        let slower = Rule { action: Action::Throttle, ..longer.clone() };
        bulletin.post([&slower].into_iter());
        let news = ["-ban 192.0.2.2 -1s", "+throttle 192.0.2.2 16m37s"];
        assert_eq!(told(&cursors, &bulletin, "", false, 1_003), news);
        bulletin.post(std::iter::empty());
        assert_eq!(told(&cursors, &bulletin, "", false, 1_004), ["-throttle 192.0.2.2 -1s"]);
        assert_eq!(told(&cursors, &bulletin, "startup=true", false, 1_004), [""; 0]);
        let news = cursors.tell(0, &cursors.look(&bulletin, false, 1_004), &Filter::default());
        assert_eq!(serde_json::to_string(&news).unwrap(), r#"{"deleted":null,"new":null}"#);
    }

    #[test]
    fn shadow_mode_lets_go() {
        let (cursors, bulletin) = (Cursors::default(), Bulletin::default());
        let ban = Rule { until: Some(1_000), ..rule("192.0.2.0/24", Action::Ban) };
        let shadow = Rule { shadow: true, ..ban.clone() };
        bulletin.post([&ban].into_iter());
        assert_eq!(told(&cursors, &bulletin, "", false, 940), ["+ban 192.0.2.0/24 1m0s"]);
        assert_eq!(told(&cursors, &bulletin, "", true, 940), ["-ban 192.0.2.0/24 -1s"]);
        assert_eq!(told(&cursors, &bulletin, "", false, 940), ["+ban 192.0.2.0/24 1m0s"]);
        bulletin.post([&shadow].into_iter());
        assert_eq!(told(&cursors, &bulletin, "", false, 940), ["-ban 192.0.2.0/24 -1s"]);
        let all = "simulated=true&startup=true";
        assert_eq!(told(&cursors, &bulletin, all, false, 940), ["+ban 192.0.2.0/24 1m0s"]);
    }
}
