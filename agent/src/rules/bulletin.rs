//! The rules in force, for those who pass them on: to proxies, to other gateways, to people.
//!
//! The owner of the book posts every change here, and readers follow at their own pace: each
//! remembers the number up to which it has read, and asks what came since. Whoever was away for too
//! long takes all rules anew.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tokio::sync::watch;

use super::Rule;

/// Changes that are kept for readers who are behind.
const CHANGES_MAX: usize = 65_536;

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in force, new or changed.
    Set(Rule),
    /// It is no longer: lifted, or ended.
    Gone(Rule),
}

impl Change {
    /// Returns the rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        let (Self::Set(rule) | Self::Gone(rule)) = self;
        rule
    }
}

/// The rules in force, shared.
#[derive(Clone, Debug)]
pub struct Bulletin {
    board: Arc<Mutex<Board>>,
    news: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Board {
    /// Changes ever posted.
    number: u64,
    rules: BTreeMap<IpNet, Rule>,
    /// The last of them, the newest at the back.
    changes: VecDeque<Change>,
}

impl Default for Bulletin {
    fn default() -> Self {
        Self { board: Arc::default(), news: Arc::new(watch::Sender::new(0)) }
    }
}

impl Bulletin {
    /// Posts the book as it is: what is different since the last time becomes changes.
    pub fn post<'r>(&self, rules: impl Iterator<Item = &'r Rule>) {
        let mut board = self.board();
        let mut gone = std::mem::take(&mut board.rules);
        let mut set = Vec::new();
        for rule in rules {
            let known = gone.remove(&rule.prefix).filter(|known| known == rule).unwrap_or_else(|| {
                set.push(Change::Set(rule.clone()));
                rule.clone()
            });
            board.rules.insert(rule.prefix, known);
        }
        let changes: Vec<Change> = gone.into_values().map(Change::Gone).chain(set).collect();
        if changes.is_empty() {
            return;
        }
        board.number += changes.len() as u64;
        let kept = board.changes.len();
        // Room for all at once: grown as it goes, it would end up twice as large and fill for ever so long.
        board.changes.reserve_exact(CHANGES_MAX.saturating_sub(kept));
        let surplus = (kept + changes.len()).saturating_sub(CHANGES_MAX);
        board.changes.drain(..surplus.min(kept));
        board.changes.extend(changes.into_iter().skip(surplus.saturating_sub(kept)));
        let number = board.number;
        drop(board);
        self.news.send_replace(number);
    }

    /// Returns all rules in the order of their prefixes, and the number of the last change.
    #[must_use]
    pub fn all(&self) -> (u64, Vec<Rule>) {
        let board = self.board();
        (board.number, board.rules.values().cloned().collect())
    }

    /// Returns the changes after number `since` in their order, and the number of the last. Nothing
    /// where they are no longer known: then [`all`](Self::all) is what is left to ask.
    #[must_use]
    pub fn since(&self, since: u64) -> Option<(u64, Vec<Change>)> {
        let board = self.board();
        let behind = usize::try_from(board.number.checked_sub(since)?).ok()?;
        let known = board.changes.len().checked_sub(behind)?;
        Some((board.number, board.changes.iter().skip(known).cloned().collect()))
    }

    /// Waits until there is a change after number `since`. Never returns once nobody posts any more.
    pub async fn changed(&self, since: u64) {
        let mut news = self.news.subscribe();
        if news.wait_for(|number| *number > since).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::samples;

    fn rule(prefix: &str, note: &str) -> Rule {
        Rule { note: note.to_owned(), ..samples::rule(prefix) }
    }

    #[tokio::test]
    async fn readers_follow_at_their_own_pace() {
        let bulletin = Bulletin::default();
        let (one, two) = (rule("192.0.2.1/32", "a"), rule("192.0.2.2/32", "b"));
        bulletin.post([&one, &two].into_iter());
        let (number, all) = bulletin.all();
        assert_eq!((number, all), (2, vec![one.clone(), two.clone()]));
        assert_eq!(bulletin.since(2), Some((2, vec![])));
        let changed = rule("192.0.2.2/32", "c");
        bulletin.post(std::iter::once(&changed));
        bulletin.changed(2).await;
        assert_eq!(
            bulletin.since(2),
            Some((4, vec![Change::Gone(one.clone()), Change::Set(changed.clone())]))
        );
        assert_eq!(bulletin.since(3), Some((4, vec![Change::Set(changed.clone())])));
        assert_eq!(bulletin.since(5), None, "of another life");
        bulletin.post(std::iter::once(&changed));
        assert_eq!(bulletin.all().0, 4, "nothing has changed");
    }

    #[test]
    fn who_was_away_for_too_long_is_told() {
        let bulletin = Bulletin::default();
        let one = rule("192.0.2.1/32", "a");
        for _ in 0..=CHANGES_MAX / 2 {
            bulletin.post(std::iter::once(&one));
            bulletin.post(std::iter::empty());
        }
        assert_eq!(bulletin.since(0), None);
        assert!(bulletin.since(2).is_some());
    }
}
