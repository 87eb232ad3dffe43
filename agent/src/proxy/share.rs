//! What others are given of the rules in force, who know neither the longest prefix nor an allowed
//! address in a banned range: prefixes that hold as they stand.

use std::{cmp::Reverse, sync::Arc};

use ipnet::IpNet;

use crate::rules::{Action, Bulletin, Rule};

/// A rule without an end is given out with one, in steps of so many seconds, and again before it
/// comes: whoever is given it must not keep it for ever.
const STEP_SECONDS: u64 = 7 * 24 * 3600;

/// A part of a rule, or all of it: what no narrower rule says otherwise about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose packets.
    pub prefix: IpNet,
    /// What is said of them: a ban or a throttle.
    pub rule: Arc<Rule>,
}

impl Piece {
    /// Returns until when it holds, in seconds since 1970, for whoever is told so at `now`: for one
    /// without an end one to two weeks.
    #[must_use]
    pub fn until(&self, now: u64) -> u64 {
        self.rule.until.unwrap_or((now / STEP_SECONDS + 2) * STEP_SECONDS)
    }

    /// Returns true where it is in force at `now`.
    #[must_use]
    pub fn is_live(&self, now: u64) -> bool {
        self.rule.until.is_none_or(|until| until > now)
    }

    /// Returns true for a ban that is enforced, unless the whole policy is in shadow mode.
    #[must_use]
    pub fn is_ban(&self) -> bool {
        self.rule.action == Action::Ban && !self.rule.shadow
    }
}

/// The pieces of all rules, as of a number of the bulletin, in the order of their prefixes.
#[derive(Debug, Default)]
pub struct Board {
    /// The number.
    pub number: u64,
    /// The pieces; each prefix is there once.
    pub pieces: Vec<Piece>,
}

impl Board {
    /// Reads the bulletin.
    #[must_use]
    pub fn read(bulletin: &Bulletin) -> Self {
        let (number, rules) = bulletin.all();
        Self { number, pieces: pieces(rules) }
    }

    /// Returns true where nothing has been posted since.
    #[must_use]
    pub fn is_current(&self, bulletin: &Bulletin) -> bool {
        bulletin.since(self.number).is_some_and(|(_, changes)| changes.is_empty())
    }

    /// Returns the prefixes of bans in force at `now`, as few as say the same.
    #[must_use]
    pub fn bans(&self, now: u64) -> Vec<IpNet> {
        let bans = self.pieces.iter().filter(|piece| piece.is_ban() && piece.is_live(now));
        let bans: Vec<IpNet> = bans.map(|piece| piece.prefix).collect();
        IpNet::aggregate(&bans)
    }
}

/// Cuts out of each ban and throttle what narrower rules say something else about.
fn pieces(rules: Vec<Rule>) -> Vec<Piece> {
    let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
    let mut holes: Vec<Vec<IpNet>> = vec![Vec::new(); rules.len()];
    // In the order of prefixes a wider one stands before those in it.
    let mut around: Vec<usize> = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        while around.last().is_some_and(|last| !rules[*last].prefix.contains(&rule.prefix)) {
            around.pop();
        }
        for wider in around.iter().filter(|wider| !same_kind(&rules[**wider], rule)) {
            holes[*wider].push(rule.prefix);
        }
        around.push(number);
    }
    let mut pieces = Vec::with_capacity(rules.len());
    for (rule, holes) in rules.iter().zip(&holes).filter(|(rule, _)| rule.action != Action::Allow) {
        carve(rule.prefix, holes, &mut |prefix| pieces.push(Piece { prefix, rule: Arc::clone(rule) }));
    }
    // What is left of a wide rule may be what a narrow one is about: that one is the one in force.
    pieces.sort_by_key(|piece| (piece.prefix, Reverse(piece.rule.prefix.prefix_len())));
    pieces.dedup_by_key(|piece| piece.prefix);
    pieces
}

fn same_kind(a: &Rule, b: &Rule) -> bool {
    (a.action, a.shadow) == (b.action, b.shadow)
}

/// Calls `keep` with the prefixes that are a prefix without the holes in it.
fn carve(prefix: IpNet, holes: &[IpNet], keep: &mut impl FnMut(IpNet)) {
    if holes.is_empty() {
        return keep(prefix);
    }
    if holes.iter().any(|hole| hole.contains(&prefix)) {
        return;
    }
    // There is a narrower one, so that there are halves.
    let Ok(halves) = prefix.subnets(prefix.prefix_len() + 1) else { return };
    for half in halves {
        let inside = |hole: &IpNet| half.contains(hole) || hole.contains(&half);
        let holes: Vec<IpNet> = holes.iter().copied().filter(inside).collect();
        carve(half, &holes, keep);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;
    use crate::rules::samples;

    pub(in crate::proxy) fn rule(prefix: &str, action: Action) -> Rule {
        Rule { action, note: String::new(), ..samples::rule(prefix) }
    }

    fn board(rules: &[Rule]) -> Board {
        let bulletin = Bulletin::default();
        bulletin.post(rules.iter());
        Board::read(&bulletin)
    }

    fn text(prefixes: &[IpNet]) -> Vec<String> {
        prefixes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_allowed_is_cut_out_of_a_ban() {
        let rules = [
            rule("192.0.2.0/29", Action::Ban),
            rule("192.0.2.6/32", Action::Allow),
            rule("192.0.2.0/31", Action::Throttle),
            rule("192.0.2.1/32", Action::Ban),
            Rule { shadow: true, ..rule("198.51.100.7/32", Action::Ban) },
            Rule { until: Some(9), ..rule("198.51.100.8/32", Action::Ban) },
            rule("2001:db8::/32", Action::Ban),
        ];
        let board = board(&rules);
        let bans = ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.7/32", "2001:db8::/32"];
        assert_eq!(text(&board.bans(9)), bans);
        assert!(text(&board.bans(8)).contains(&"198.51.100.8/32".to_owned()));
        let throttled = board.pieces.iter().filter(|piece| piece.rule.action == Action::Throttle);
        assert_eq!(throttled.map(|piece| piece.prefix.to_string()).collect::<Vec<_>>(), ["192.0.2.0/32"]);
    }

    #[test]
    fn what_has_no_end_is_given_one_in_time() {
        let piece =
            Piece { prefix: "192.0.2.1/32".parse().unwrap(), rule: rule("192.0.2.1/32", Action::Ban).into() };
        for now in [0, 1, STEP_SECONDS - 1, STEP_SECONDS, 1_700_000_000] {
            let left = piece.until(now) - now;
            assert!((STEP_SECONDS..=2 * STEP_SECONDS).contains(&left), "{left}");
        }
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_longest_prefix_says(
            given in proptest::collection::btree_map((0u8..16, 28u8..=32), 0u8..3, 0..12)
        ) {
            let net = |low: u8, length| Ipv4Net::new([192, 0, 2, low].into(), length).unwrap().trunc();
            let rules: Vec<Rule> = given.iter().map(|((low, length), action)| {
                rule(&net(*low, *length).to_string(), Action::ALL[usize::from(*action)])
            }).collect();
            let board = board(&rules);
            for low in 0..16 {
                let address = IpAddr::from([192, 0, 2, low]);
                // The bulletin keeps the last of several about one prefix.
                let longest = rules.iter().filter(|rule| rule.prefix.contains(&address))
                    .max_by_key(|rule| rule.prefix.prefix_len());
                let banned = longest.is_some_and(|rule| rule.action == Action::Ban);
                prop_assert_eq!(board.bans(0).iter().any(|ban| ban.contains(&address)), banned);
                for piece in board.pieces.iter().filter(|piece| piece.prefix.contains(&address)) {
                    prop_assert_eq!(Some(piece.rule.action), longest.map(|rule| rule.action));
                }
            }
        }
    }
}
