use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{
    Quiet,
    entry::{Ban, Entry, Word},
};
use crate::rules::{Author, Rule};

/// Seconds before its end in which a ban that is gone has ended, rather than been lifted: the book writes
/// ends down a second late.
const SLACK: u64 = 2;

/// What is to be done in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// To tell the others, and to note it in the hash.
    Tell(Entry),
    /// To take an own ban out of the hash that has ended.
    Forget(IpNet),
}

/// What Redis has been told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What the hash has of this gateway.
    published: BTreeMap<IpNet, Ban>,
    /// Bans of others that are in the book.
    foreign: BTreeMap<IpNet, (String, Ban)>,
}

impl Ledger {
    /// Takes what the hash has of this gateway for what has been published.
    pub(super) fn begin(&mut self, published: BTreeMap<IpNet, Ban>) {
        self.published = published;
    }

    /// Returns what is to be done, so that the fleet knows what the book says at `now`, in seconds since
    /// 1970. It stays to be done until [`done`](Self::done).
    pub(super) fn moves(&mut self, name: &str, rules: &[Rule], now: u64, quiet: &mut Quiet) -> Vec<Move> {
        let mut moves = self.lifted(name, rules, now, quiet);
        let is_own = |rule: &&Rule| matches!(rule.by, Author::Operator | Author::Escalation);
        let own: BTreeMap<IpNet, Ban> =
            rules.iter().filter(is_own).filter_map(|rule| Some((rule.prefix, Ban::of(rule)?))).collect();
        let entry = |word| Move::Tell(Entry { origin: name.to_owned(), by: name.to_owned(), word });
        for (prefix, ban) in &self.published {
            if own.contains_key(prefix) {
                continue;
            }
            let silent = quiet.own.remove(prefix) || ban.ends_by(now, SLACK);
            moves.push(if silent { Move::Forget(*prefix) } else { entry(Word::Lift(*prefix)) });
        }
        for (prefix, ban) in own {
            if self.published.get(&prefix) != Some(&ban) && !ban.ends_by(now, 0) {
                quiet.own.remove(&prefix);
                moves.push(entry(Word::Ban(prefix, ban)));
            }
        }
        moves
    }

    /// Bans of others that somebody has lifted here.
    fn lifted(&mut self, name: &str, rules: &[Rule], now: u64, quiet: &mut Quiet) -> Vec<Move> {
        let in_book: BTreeMap<IpNet, &Rule> = rules.iter().map(|rule| (rule.prefix, rule)).collect();
        let mut moves = Vec::new();
        self.foreign.retain(|prefix, (origin, ban)| {
            // What another rule has taken the place of is not lifted.
            if in_book.contains_key(prefix) || quiet.foreign.remove(prefix) || ban.ends_by(now, SLACK) {
                return false;
            }
            let (origin, by, word) = (origin.clone(), name.to_owned(), Word::Lift(*prefix));
            moves.push(Move::Tell(Entry { origin, by, word }));
            true
        });
        for rule in rules {
            if let (Author::Fleet(origin), Some(ban)) = (&rule.by, Ban::of(rule)) {
                self.foreign.insert(rule.prefix, (origin.clone(), ban));
            }
        }
        moves
    }

    /// Takes note of what has been done.
    pub(super) fn done(&mut self, name: &str, moved: Move) {
        match moved {
            Move::Tell(Entry { word: Word::Ban(prefix, ban), .. }) => _ = self.published.insert(prefix, ban),
            Move::Tell(Entry { origin, word: Word::Lift(prefix), .. }) if origin == name => {
                self.published.remove(&prefix);
            }
            Move::Tell(Entry { word: Word::Lift(prefix), .. }) => _ = self.foreign.remove(&prefix),
            Move::Tell(Entry { word: Word::All, .. }) => {}
            Move::Forget(prefix) => _ = self.published.remove(&prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Action;

    fn rule(prefix: &str, by: Author, until: u64) -> Rule {
        Rule {
            prefix: prefix.parse().unwrap(),
            action: Action::Ban,
            profile: None,
            shadow: false,
            since: 0,
            until: Some(until),
            note: String::new(),
            by,
            proxy_only: false,
        }
    }

    /// Does what is to be done, and returns it in words.
    fn step(ledger: &mut Ledger, rules: &[Rule], now: u64, quiet: &mut Quiet) -> Vec<String> {
        let moves = ledger.moves("a", rules, now, quiet);
        let words = moves.iter().map(|moved| match moved {
            Move::Tell(Entry { origin, by, word: Word::Ban(prefix, _) }) => {
                format!("{origin} {by} ban {prefix}")
            }
            Move::Tell(Entry { origin, by, word: Word::Lift(prefix) }) => {
                format!("{origin} {by} lift {prefix}")
            }
            Move::Tell(Entry { word: Word::All, .. }) => "all".to_owned(),
            Move::Forget(prefix) => format!("forget {prefix}"),
        });
        let words = words.collect();
        for moved in moves {
            ledger.done("a", moved);
        }
        words
    }

    #[test]
    fn own_bans_are_told_once_and_those_of_others_never() {
        let (mut ledger, mut quiet) = (Ledger::default(), Quiet::default());
        let shadow = Rule { shadow: true, ..rule("192.0.2.9/32", Author::Escalation, 100) };
        let own = rule("192.0.2.1/32", Author::Escalation, 100);
        let foreign = rule("192.0.2.2/32", Author::Fleet("b".to_owned()), 100);
        let rules = [own.clone(), foreign.clone(), shadow];
        assert_eq!(step(&mut ledger, &rules, 0, &mut quiet), ["a a ban 192.0.2.1/32"]);
        assert!(step(&mut ledger, &rules, 0, &mut quiet).is_empty());
        let longer = Rule { until: Some(200), ..own };
        assert_eq!(step(&mut ledger, &[longer, foreign], 0, &mut quiet), ["a a ban 192.0.2.1/32"]);
    }

    #[test]
    fn lifts_are_told_and_ends_are_not() {
        let (mut ledger, mut quiet) = (Ledger::default(), Quiet::default());
        let (own, ending) =
            (rule("192.0.2.1/32", Author::Operator, 100), rule("192.0.2.3/32", Author::Operator, 50));
        let foreign = rule("192.0.2.2/32", Author::Fleet("b".to_owned()), 100);
        let other = rule("192.0.2.4/32", Author::Fleet("b".to_owned()), 100);
        step(&mut ledger, &[own, ending, foreign, other], 0, &mut quiet);
        // One that b has lifted itself.
        quiet.foreign.insert("192.0.2.4/32".parse().unwrap());
        assert_eq!(
            step(&mut ledger, &[], 49, &mut quiet),
            ["b a lift 192.0.2.2/32", "a a lift 192.0.2.1/32", "forget 192.0.2.3/32"]
        );
        assert!(step(&mut ledger, &[], 49, &mut quiet).is_empty());
    }

    #[test]
    fn what_another_gateway_lifts_is_not_told_again() {
        let (mut ledger, mut quiet) = (Ledger::default(), Quiet::default());
        let own = rule("192.0.2.1/32", Author::Operator, 100);
        step(&mut ledger, std::slice::from_ref(&own), 0, &mut quiet);
        quiet.own.insert(own.prefix);
        assert!(step(&mut ledger, std::slice::from_ref(&own), 0, &mut quiet).is_empty(), "not lifted yet");
        assert_eq!(step(&mut ledger, &[], 0, &mut quiet), ["forget 192.0.2.1/32"]);
        assert_eq!(step(&mut ledger, &[own], 0, &mut quiet), ["a a ban 192.0.2.1/32"]);
    }

    #[test]
    fn what_redis_has_lost_is_told_anew_and_what_it_has_too_much_is_lifted() {
        let (mut ledger, mut quiet) = (Ledger::default(), Quiet::default());
        let own = rule("192.0.2.1/32", Author::Operator, 100);
        step(&mut ledger, std::slice::from_ref(&own), 0, &mut quiet);
        ledger.begin(BTreeMap::new());
        assert_eq!(step(&mut ledger, std::slice::from_ref(&own), 0, &mut quiet), ["a a ban 192.0.2.1/32"]);
        let ban = Ban { until: None, proxy_only: false, note: String::new() };
        ledger.begin([("192.0.2.8/32".parse().unwrap(), ban)].into());
        assert_eq!(
            step(&mut ledger, &[own], 0, &mut quiet),
            ["a a lift 192.0.2.8/32", "a a ban 192.0.2.1/32"]
        );
    }
}
