use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Kind, Notifier};
use crate::rules::{Action, Author, Bulletin, bulletin::Change};

const WINDOW: Duration = Duration::from_mins(1);

/// Tells of many bans in a minute, for ever.
pub(super) async fn watch(notifier: &Notifier, bulletin: &Bulletin, most: u32) {
    let (mut number, _) = bulletin.all();
    let mut window = VecDeque::new();
    loop {
        bulletin.changed(number).await;
        let Some((last, changes)) = bulletin.since(number) else {
            number = bulletin.all().0;
            continue;
        };
        number = last;
        let bans = changes.iter().filter(|change| is_ban(change)).count();
        let bans = count(&mut window, bans, Instant::now());
        if bans >= most as usize {
            notifier.happened(Kind::ManyBans, format!("{bans} bans in a minute; the bound is {most}"));
        }
    }
}

/// The ladder of this gateway has made it. Of those of the fleet the gateway tells that has.
fn is_ban(change: &Change) -> bool {
    let Change::Set(rule) = change else { return false };
    rule.action == Action::Ban && !rule.shadow && rule.by == Author::Escalation
}

/// Adds what has come at `now`, and returns how many have within the window.
fn count(window: &mut VecDeque<(Instant, usize)>, new: usize, now: Instant) -> usize {
    while window.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
        window.pop_front();
    }
    if new > 0 {
        window.push_back((now, new));
    }
    window.iter().map(|(_, bans)| bans).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_looked_at() {
        let (mut window, start) = (VecDeque::new(), Instant::now());
        let mut at = |seconds, new| count(&mut window, new, start + Duration::from_secs(seconds));
        assert_eq!([at(0, 3), at(30, 2), at(59, 0), at(60, 0), at(90, 1)], [3, 5, 5, 2, 1]);
    }
}
